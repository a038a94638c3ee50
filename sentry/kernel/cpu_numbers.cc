#include "sentry/kernel/cpu_numbers.h"

#include <algorithm>

#include "sentry/kernel/deadline.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kSliceNs = CpuNumbers::kSliceMillis * 1'000'000;
constexpr uint64_t kInGuest = 1;

bool Overlap(const CpuMask& a, const CpuMask& b, uint32_t cpus) {
  for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
    if (Allows(a, cpu) && Allows(b, cpu)) return true;
  }
  return false;
}

}  // namespace

bool Allows(const CpuMask& mask, uint32_t cpu) {
  if (mask.empty()) return true;
  return cpu / 8 < mask.size() && (mask[cpu / 8] >> cpu % 8 & 1) != 0;
}

CpuNumbers::CpuNumbers(uint32_t cpus) : slots_(std::max(cpus, 1u)) {}

CpuNumbers::~CpuNumbers() = default;

bool CpuNumbers::IsOver(const Slot& slot) {
  return MonotonicNow() - slot.since.load(std::memory_order_relaxed) >= kSliceNs;
}

bool CpuNumbers::Resume(const Turn& turn) {
  if (turn.serial == 0) return false;
  Slot& slot = slots_[turn.number];
  if (waiting_.load(std::memory_order_relaxed) != 0 && IsOver(slot)) return false;
  uint64_t outside = turn.serial << 1;
  return slot.state.compare_exchange_strong(outside, outside | kInGuest);
}

void CpuNumbers::Leave(const Turn& turn) {
  slots_[turn.number].state.store(turn.serial << 1);
  if (waiting_.load() == 0) return;
  absl::MutexLock lock(&mutex_);
  WakeFirstLocked();
}

void CpuNumbers::Drop(const Turn& turn) {
  if (turn.serial == 0) return;
  absl::MutexLock lock(&mutex_);
  DropLocked(turn);
}

void CpuNumbers::DropLocked(const Turn& turn) {
  Slot& slot = slots_[turn.number];
  if (turn.serial == 0 || slot.state.load() >> 1 != turn.serial) return;
  slot.state.store((turn.serial + 1) << 1);
  slot.user = nullptr;
  WakeFirstLocked();
}

// The number, if nobody is in the guest with it.
std::optional<CpuNumbers::Turn> CpuNumbers::TryLocked(const Waiter& waiter, uint32_t number) {
  Slot& slot = slots_[number];
  uint64_t state = slot.state.load();
  const uint64_t serial = (state >> 1) + 1;
  if ((state & kInGuest) != 0 || !Allows(*waiter.allowed, number) ||
      !slot.state.compare_exchange_strong(state, serial << 1 | kInGuest)) {
    return std::nullopt;
  }
  slot.user = waiter.user;
  slot.since.store(MonotonicNow(), std::memory_order_relaxed);
  return Turn{number, serial};
}

std::optional<CpuNumbers::Turn> CpuNumbers::TakeIdleLocked(const Waiter& waiter) {
  const auto count = static_cast<uint32_t>(slots_.size());
  const uint32_t first = waiter.best < count ? waiter.best : 0;
  for (const bool free_only : {true, false}) {
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t number = (first + i) % count;
      if (free_only && slots_[number].user != nullptr) continue;
      if (std::optional<Turn> turn = TryLocked(waiter, number)) return turn;
    }
  }
  return std::nullopt;
}

Result<CpuNumbers::Turn> CpuNumbers::Take(CpuUser* user, const Turn& old, uint32_t best,
                                          const CpuMask& allowed) {
  const Waiter waiter{user, best, &allowed};
  absl::MutexLock lock(&mutex_);
  DropLocked(old);
  if (waiters_.empty()) {
    if (const std::optional<Turn> turn = TakeIdleLocked(waiter)) return *turn;
  }
  return WaitLocked(waiter);
}

Result<CpuNumbers::Turn> CpuNumbers::WaitLocked(const Waiter& waiter) {
  waiters_.push_back(&waiter);
  waiting_.store(static_cast<uint32_t>(waiters_.size()));
  std::optional<Turn> turn;
  while (!turn.has_value() && !waiter.user->MustNotWait()) {
    const bool first = IsFirstLocked(waiter);
    if (first && (turn = TakeIdleLocked(waiter)).has_value()) break;
    if (first) AskOldestLocked(*waiter.allowed);
    mutex_.Unlock();
    waiter.user->Doze(first ? kSliceNs / 4 : 0);
    mutex_.Lock();
  }
  waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
  waiting_.store(static_cast<uint32_t>(waiters_.size()));
  WakeFirstLocked();
  if (!turn.has_value()) return Errno::kINTR;
  return *turn;
}

// Nobody who came before could use the same numbers.
bool CpuNumbers::IsFirstLocked(const Waiter& waiter) const {
  const auto count = static_cast<uint32_t>(slots_.size());
  for (const Waiter* earlier : waiters_) {
    if (earlier == &waiter) return true;
    if (Overlap(*earlier->allowed, *waiter.allowed, count)) return false;
  }
  return true;
}

// Only those who are first do anything when they wake.
void CpuNumbers::WakeFirstLocked() {
  constexpr size_t kLooked = 64;  // whoever is farther behind comes nearer
  for (size_t i = 0; i < std::min(waiters_.size(), kLooked); ++i) {
    if (IsFirstLocked(*waiters_[i])) waiters_[i]->user->WakeUp();
    if (waiters_[i]->allowed->empty()) break;  // all others come after this one
  }
}

void CpuNumbers::AskOldestLocked(const CpuMask& allowed) {
  Slot* oldest = nullptr;
  for (uint32_t number = 0; number < slots_.size(); ++number) {
    Slot& slot = slots_[number];
    if (slot.user == nullptr || !Allows(allowed, number) || !IsOver(slot)) continue;
    if (oldest == nullptr || slot.since.load() < oldest->since.load()) oldest = &slot;
  }
  if (oldest != nullptr) oldest->user->LeaveGuest();
}

}  // namespace ringfence::sentry
