#include "sentry/mm/call_sites.h"

#include <algorithm>

#include "absl/hash/hash.h"
#include "absl/types/span.h"

namespace ringfence::sentry {
namespace {

// Far from any text, as all slots are: what refers to a place near by would count as its use.
constexpr uint32_t kSomeSlot = 0x80cd0000;

constexpr uint64_t Tag(VirtAddr after) { return after.value() << 8; }
constexpr bool IsOf(uint64_t entry, VirtAddr after) {
  return entry >> 8 == after.value() && entry != 0;
}

}  // namespace

size_t TrapCounter::SetOf(VirtAddr after) {
  return (after.value() * 0x9e3779b97f4a7c15) >> 32 & (kSets - 1);
}

bool TrapCounter::Count(VirtAddr after) {
  auto& set = sets_[SetOf(after)];
  Entry* least = nullptr;
  unsigned least_count = kNever;
  for (Entry& entry : set) {
    const uint64_t value = entry.load(std::memory_order_relaxed);
    const unsigned count = value & kCountMask;
    if (IsOf(value, after)) {
      if (count == kNever) return false;
      if (count < kWorthIt) entry.store(value + 1, std::memory_order_relaxed);
      return count + 1 >= kWorthIt;
    }
    if (count < least_count) {
      least = &entry;
      least_count = count;
    }
  }
  // Every way is taken by an instruction that cannot be rewritten.
  if (least == nullptr) return false;
  // The least used one gives way only when it has not been used for as long as it was.
  const uint64_t value = least->load(std::memory_order_relaxed);
  least->store(least_count == 0 ? Tag(after) + 1 : value - 1, std::memory_order_relaxed);
  return false;
}

void TrapCounter::Done(VirtAddr after, bool forever) {
  for (Entry& entry : sets_[SetOf(after)]) {
    if (!IsOf(entry.load(std::memory_order_relaxed), after)) continue;
    entry.store(forever ? Tag(after) | kNever : 0, std::memory_order_relaxed);
    return;
  }
}

void KnownCallSites::Add(uint64_t offset, unsigned traps) {
  absl::MutexLock lock(&mutex_);
  const auto it = traps_.find(offset);
  if (it == traps_.end()) {
    if (traps_.size() < kMax) traps_[offset] = std::min(traps, TrapCounter::kWorthIt);
  } else if (it->second >= TrapCounter::kWorthIt) {
    return;
  } else {
    it->second = std::min(it->second + traps, TrapCounter::kWorthIt);
  }
  plans_.erase(offset >> kPageShift);
}

std::vector<uint64_t> KnownCallSites::PagesIn(uint64_t page, uint64_t count) const {
  std::vector<uint64_t> pages;
  absl::MutexLock lock(&mutex_);
  const auto end = traps_.lower_bound((page + count) << kPageShift);
  for (auto it = traps_.lower_bound(page << kPageShift); it != end; ++it) {
    const uint64_t at = it->first >> kPageShift;
    if (it->second < TrapCounter::kWorthIt || (!pages.empty() && pages.back() == at)) continue;
    pages.push_back(at);
  }
  return pages;
}

std::vector<CallSite> KnownCallSites::SitesIn(uint64_t page, const TextPage& text) {
  const uint64_t hash = absl::HashOf(absl::MakeConstSpan(text));
  absl::MutexLock lock(&mutex_);
  Plan& plan = plans_[page];
  if (plan.text_hash == hash) return plan.sites;
  plan = {hash, {}};
  // Each takes the padding it needs from the ones that follow.
  TextPage rewritten = text;
  const auto end = traps_.lower_bound((page + 1) << kPageShift);
  for (auto it = traps_.lower_bound(page << kPageShift); it != end; ++it) {
    if (it->second < TrapCounter::kWorthIt) continue;
    const std::optional<CallSite> site = FindCallSite(rewritten, it->first % kPageSize);
    if (!site.has_value()) continue;
    Rewrite(*site, kSomeSlot, &rewritten);
    plan.sites.push_back(*site);
  }
  return plan.sites;
}

}  // namespace ringfence::sentry
