// Counters of a platform, bumped by vCPU and service threads.
#ifndef RINGFENCE_PLATFORM_KVM_STATS_H_
#define RINGFENCE_PLATFORM_KVM_STATS_H_

#include <atomic>
#include <cstdint>

namespace ringfence::kvm {

// Each return of KVM_RUN is counted in one of exits_*. (An interrupt that was there before KVM_RUN
// was called is in exits_interrupt, too.)
struct Stats {
  std::atomic<uint64_t> exits_syscall{0};
  std::atomic<uint64_t> exits_fault{0};
  std::atomic<uint64_t> exits_exception{0};
  std::atomic<uint64_t> exits_interrupt{0};
  std::atomic<uint64_t> exits_other{
      0};  // fatal, or nothing for the sentry: a late answer, a stray kick
  std::atomic<uint64_t> exitless_calls{0};
  std::atomic<uint64_t> exitless_punts{0};
  std::atomic<uint64_t> trapped_calls{0};
  std::atomic<uint64_t> kicks{0};
  std::atomic<uint64_t> spin_ns{0};
};

inline void Count(std::atomic<uint64_t>& counter, uint64_t n = 1) {
  counter.fetch_add(n, std::memory_order_relaxed);
}
// For a counter that only the calling thread changes.
inline void CountAlone(std::atomic<uint64_t>& counter, uint64_t n = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_STATS_H_
