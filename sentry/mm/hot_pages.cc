#include "sentry/mm/hot_pages.h"

#include <algorithm>

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMostAtATime = 32;

}  // namespace

void HotPages::Note(VirtAddr addr) {
  const uint64_t page = addr.value() >> kPageShift;
  absl::MutexLock lock(&mutex_);
  uint64_t before = 0;
  while (before < kMostAtATime && pages_.contains(page - before - 1)) ++before;
  // Those of another phase of the program: it is learnt anew.
  if (pages_.size() + 1 + before > kMost) pages_.clear();
  for (uint64_t i = 0; i <= before; ++i) pages_.insert(page + i);
}

std::vector<VirtAddr> HotPages::Get() const {
  absl::MutexLock lock(&mutex_);
  std::vector<VirtAddr> all;
  all.reserve(pages_.size());
  for (const uint64_t page : pages_) all.push_back(VirtAddr(page << kPageShift));
  return all;
}

}  // namespace ringfence::sentry
