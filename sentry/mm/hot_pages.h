// HotPages: private pages that are written soon after a fork, by the parent or by the child, learnt
// from the copy-on-write faults of forks before. On hosts where a fault costs as much as copying
// 100 pages, the next fork copies them at once.
//
// Threads: any.
#ifndef RINGFENCE_SENTRY_MM_HOT_PAGES_H_
#define RINGFENCE_SENTRY_MM_HOT_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/addr.h"

namespace ringfence::sentry {

class HotPages {
 public:
  // As many as cost about as much as one fault.
  static constexpr size_t kMost = 128;

  // A write to the page of `addr` took a fault. A page behind others that are known brings as many
  // more: what is written from one end to the other is learnt in few forks.
  void Note(VirtAddr addr);
  // Addresses of pages, ascending.
  std::vector<VirtAddr> Get() const;

 private:
  mutable absl::Mutex mutex_;
  std::set<uint64_t> pages_ ABSL_GUARDED_BY(mutex_);  // page numbers
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_HOT_PAGES_H_
