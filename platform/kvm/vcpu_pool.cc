#include "platform/kvm/vcpu_pool.h"

#include <algorithm>
#include <ctime>

namespace ringfence::kvm {
namespace {

int64_t NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

constexpr int64_t kSliceNanos = VcpuPool::kSliceMillis * int64_t{1000000};
constexpr int64_t kStuckNanos = VcpuPool::kStuckMillis * int64_t{1000000};
// How far a client that slept may be ahead of the others, and how far it has to be to stop one.
constexpr int64_t kSleeperCredit = 2 * kSliceNanos;
constexpr int64_t kPreemption = kSliceNanos / 5;
const absl::Duration kSlice = absl::Milliseconds(VcpuPool::kSliceMillis);

}  // namespace

VcpuPool::VcpuPool(unsigned max_vcpus, Factory factory)
    : max_vcpus_(max_vcpus), factory_(std::move(factory)) {}

VcpuPool::~VcpuPool() = default;

VcpuPool::Slot* VcpuPool::FindFree(VcpuClient* client) {
  Slot* any = nullptr;
  for (auto& slot : slots_) {
    if (slot->client != nullptr) continue;
    if (slot->last_client == client) return slot.get();
    if (any == nullptr) any = slot.get();
  }
  return any;
}

Result<VcpuPool::Slot*> VcpuPool::Grow() {
  auto slot = std::make_unique<Slot>();
  slot->vcpu = TRY(factory_(static_cast<unsigned>(slots_.size())));
  slots_.push_back(std::move(slot));
  return slots_.back().get();
}

PooledVcpu* VcpuPool::Lend(Slot* slot, VcpuClient* client) {
  if (slot->last_client != nullptr && slot->last_client != client) {
    handovers_.fetch_add(1, std::memory_order_relaxed);
  }
  slot->client = client;
  slot->last_client = client;
  slot->asked_ns = 0;
  slot->vcpu->slice_start_.store(NowNanos(), std::memory_order_relaxed);
  return slot->vcpu.get();
}

Result<PooledVcpu*> VcpuPool::Acquire(VcpuClient* client) {
  absl::MutexLock lock(&mu_);
  if (client->first_period_ == 0) client->first_period_ = period_;
  if (waiters_.empty()) {
    if (Slot* slot = FindFree(client)) return Lend(slot, client);
    if (slots_.size() < max_vcpus_) {
      Result<Slot*> grown = Grow();
      if (grown.ok()) return Lend(*grown, client);
      // With at least one vCPU everybody gets a turn.
      if (slots_.empty()) return grown.error();
    }
  }
  return Wait(client);
}

void VcpuPool::Charge(VcpuClient* client) {
  const int64_t cpu = client->CpuNanos();
  if (client->period_ == period_) {
    client->share_ = std::max(client->share_ + cpu - client->counted_, floor_ - kSleeperCredit);
  } else {
    // What happened while there was enough for everybody does not count.
    client->share_ = floor_ + (client->first_period_ == period_ ? kSliceNanos : 0);
    client->period_ = period_;
  }
  client->counted_ = cpu;
}

void VcpuPool::Inherit(const VcpuClient& parent, VcpuClient* child) {
  if (!Contended()) return;
  absl::MutexLock lock(&mu_);
  if (parent.period_ != period_) return;
  child->period_ = period_;
  child->share_ = std::max(parent.share_, floor_ - kSleeperCredit) + kSliceNanos;
}

Result<PooledVcpu*> VcpuPool::Wait(VcpuClient* client) {
  if (waiters_.empty()) ++period_;
  Charge(client);
  Waiter self{client, nullptr, {}};
  waiters_.insert(std::upper_bound(waiters_.begin(), waiters_.end(), &self,
                                   [](const Waiter* a, const Waiter* b) {
                                     return a->client->share_ < b->client->share_;
                                   }),
                  &self);
  // Before the client's flag is read: StopWaiting reads them in the other order.
  waiting_.store(static_cast<uint32_t>(waiters_.size()), std::memory_order_seq_cst);
  while (self.granted == nullptr) {
    Slot* slot = nullptr;
    const bool stop = client->ShouldStopWaiting();
    if (!stop && waiters_.front() == &self) slot = Reclaim(*client);
    if (stop || slot != nullptr) {
      waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &self));
      waiting_.store(static_cast<uint32_t>(waiters_.size()), std::memory_order_relaxed);
      if (!waiters_.empty()) waiters_.front()->cv.Signal();
      if (stop) return Errno::kINTR;
      floor_ = std::max(floor_, client->share_);
      return Lend(slot, client);
    }
    if (waiters_.front() == &self) {
      self.cv.WaitWithTimeout(&mu_, kSlice / 4);
    } else {
      self.cv.Wait(&mu_);
    }
  }
  return self.granted;
}

bool VcpuPool::MustMakeRoom(const Slot& slot, const VcpuClient& client, int64_t now) const {
  const int64_t used = now - slot.vcpu->slice_start_.load(std::memory_order_relaxed);
  if (used >= kSliceNanos) return true;
  const int64_t share = slot.client->period_ == period_ ? slot.client->share_ : floor_;
  return share + used - client.share_ >= kPreemption;
}

VcpuPool::Slot* VcpuPool::Reclaim(const VcpuClient& client) {
  if (Slot* slot = FindFree(nullptr)) return slot;
  const int64_t now = NowNanos();
  size_t asked = 0;
  for (auto& slot : slots_) {
    const bool ends = MustMakeRoom(*slot, client, now);
    const bool stuck =
        now - slot->vcpu->slice_start_.load(std::memory_order_relaxed) >= kStuckNanos;
    if ((stuck || slot->client->IsReleased()) && slot->client->TryLose()) {
      slot->client = nullptr;
      return slot.get();
    }
    // Who was asked needs a turn on a CPU of the host to answer. Asked again, should it have missed
    // the question.
    if (!ends || asked >= waiters_.size()) continue;
    ++asked;
    if (slot->asked_ns != 0 && now - slot->asked_ns < kSliceNanos) continue;
    slot->asked_ns = now;
    slot->client->AskToYield();
  }
  return nullptr;
}

void VcpuPool::Yield(VcpuClient* client, PooledVcpu* vcpu) {
  absl::MutexLock lock(&mu_);
  Slot* slot = slots_[vcpu->index()].get();
  if (slot->client != client) return;
  slot->client = nullptr;
  if (waiters_.empty()) return;
  Waiter* next = waiters_.front();
  waiters_.pop_front();
  waiting_.store(static_cast<uint32_t>(waiters_.size()), std::memory_order_relaxed);
  floor_ = std::max(floor_, next->client->share_);
  next->granted = Lend(slot, next->client);
  next->cv.Signal();
  if (!waiters_.empty()) waiters_.front()->cv.Signal();
}

void VcpuPool::StopWaiting(VcpuClient* client) {
  if (waiting_.load(std::memory_order_seq_cst) == 0) return;
  absl::MutexLock lock(&mu_);
  for (Waiter* waiter : waiters_) {
    if (waiter->client == client) waiter->cv.Signal();
  }
}

void VcpuPool::StartSlice(PooledVcpu* vcpu) {
  vcpu->slice_start_.store(NowNanos(), std::memory_order_relaxed);
}

void VcpuPool::Synchronize() { absl::MutexLock lock(&mu_); }

void VcpuPool::ForEach(const std::function<void(PooledVcpu*)>& fn) {
  absl::MutexLock lock(&mu_);
  for (auto& slot : slots_) fn(slot->vcpu.get());
}

}  // namespace ringfence::kvm
