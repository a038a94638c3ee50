// Reference counts of frames: 32 bits, zero means free, and they do not wrap. A count that passes
// 2^31 is stuck: it stays far from zero and its frame is never freed again (as Linux's
// refcount_t). Threads: any.
#ifndef RINGFENCE_PLATFORM_MEM_REF_COUNT_H_
#define RINGFENCE_PLATFORM_MEM_REF_COUNT_H_

#include <atomic>
#include <cstdint>

#include "platform/base/check.h"

namespace ringfence::platform {

using RefCountWord = std::atomic<uint32_t>;

inline constexpr uint32_t kStuckFrom = 0x80000000;
// Where a stuck count is put back to: 2^30 racing calls away from either end.
inline constexpr uint32_t kStuckAt = 0xc0000000;

// The count must not be zero.
inline void AddReference(RefCountWord& count) {
  const uint32_t old = count.fetch_add(1, std::memory_order_relaxed);
  if (old == 0) Fatal("a free frame gets a reference");
  if (old >= kStuckFrom) [[unlikely]] {
    count.store(kStuckAt, std::memory_order_relaxed);
  }
}

// The count must not be zero. True when it now is.
inline bool DropReference(RefCountWord& count) {
  const uint32_t old = count.fetch_sub(1, std::memory_order_acq_rel);
  if (old == 0) Fatal("a free frame loses a reference");
  if (old >= kStuckFrom) [[unlikely]] {
    count.store(kStuckAt, std::memory_order_relaxed);
    return false;
  }
  return old == 1;
}

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_REF_COUNT_H_
