// TimePage: the page from which the vDSO computes clock_gettime without leaving ring 3, and the
// sentry's own clock that agrees with it.
//
// Model. Each clock is base + ((tsc - tsc_base) * mult >> shift). The sentry samples the host's
// clocks and the TSC together and steers: a new segment starts where the old one is now (so that
// nothing steps back) and runs a little faster or slower to meet the host a second later. Only
// CLOCK_REALTIME follows the host's steps (settimeofday, leap seconds) at once.
// The page is written under a sequence count (odd while writing), read-only for guests.
//
// Now() is what the syscall handlers of clock_gettime, gettimeofday and time use, so that calls
// and vDSO never disagree.
//
// Threads: any; updates are serialised by a leaf mutex, readers use the sequence count.
#ifndef RINGFENCE_SENTRY_LOADER_VDSO_TIME_PAGE_H_
#define RINGFENCE_SENTRY_LOADER_VDSO_TIME_PAGE_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "platform/mem/guest_memory.h"
#include "sentry/loader/vdso/time_data.h"

namespace ringfence::sentry {

class TimePage {
 public:
  // Writes to the memory of `frame`, whose reference stays the caller's. `tsc_offset` is
  // guest_tsc - host_tsc; tsc_khz 0 means "measure".
  TimePage(platform::GuestMemory* memory, Frame frame, uint64_t tsc_khz, int64_t tsc_offset);

  // Nanoseconds of CLOCK_REALTIME, MONOTONIC, MONOTONIC_RAW, BOOTTIME, TAI or a coarse one, from
  // the page as a guest would compute it. EINVAL for other clocks.
  Result<int64_t> Now(int clock) const;

  // Refreshes the page when it is older than the update interval; a few ns otherwise. Call it
  // whenever the sentry gets to run (task entry, timer); coarse clocks are as old as the last one.
  void Update();
  void ForceUpdate();

  Frame frame() const { return frame_; }

 private:
  struct HostSample {
    uint64_t tsc;
    int64_t realtime, monotonic, raw, boottime, tai;
  };
  static HostSample Sample();
  void Publish(const HostSample& sample) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  VdsoTimeData* const data_;
  const Frame frame_;
  const int64_t tsc_offset_;
  std::atomic<uint64_t> next_update_tsc_{0};  // host TSC
  absl::Mutex mutex_;
  uint64_t tsc_khz_ ABSL_GUARDED_BY(mutex_);
  HostSample last_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_VDSO_TIME_PAGE_H_
