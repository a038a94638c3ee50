// TimePage: the page from which the vDSO computes clock_gettime without leaving ring 3, and the
// sentry's own clock that agrees with it.
//
// Model. Each clock is base + ((counter - counter_base) * mult >> shift). The sentry samples the
// host's clocks and its counter together and steers: a new segment starts where the old one is now
// (so that nothing steps back) and runs a little faster or slower to meet the host a second later.
// CLOCK_REALTIME follows the host's steps (settimeofday) at the next update.
// The page is written under a sequence count (odd while writing), read-only for guests. A segment
// starts at a counter value read while the count is odd: no guest can have used the old one later.
// A page older than 2 s, or a host whose counter is not reliable, sends guests to the system call.
//
// Now() is what the handlers of clock_gettime, gettimeofday and time use, so that calls and vDSO
// never disagree; it updates a page that is due.
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
  // Writes to the memory of `frame`, whose reference stays the caller's. `counter_offset` is
  // guest counter - host counter; khz 0 means "measure" (takes 5 ms).
  TimePage(platform::GuestMemory* memory, Frame frame, uint64_t khz, int64_t counter_offset);

  // Nanoseconds of CLOCK_REALTIME, MONOTONIC, MONOTONIC_RAW, BOOTTIME, TAI or a coarse one, as a
  // guest computes it. EINVAL for other clocks.
  Result<int64_t> Now(int clock);

  // Refreshes the page when that is due; a few ns otherwise. Call it whenever the sentry gets to
  // run (a task's exit, a timer), so that guests rarely find a page too old.
  void Update();

  Frame frame() const { return frame_; }
  // The page as a guest sees it, for tests.
  const VdsoTimeData& data() const { return *data_; }

 private:
  struct HostSample {
    uint64_t counter = 0;  // of the host
    int64_t monotonic = 0, raw = 0, realtime = 0, boottime = 0, tai = 0;
    int64_t uncertainty = 0;
  };
  // What a guest may compute with, and when.
  struct Segment {
    uint64_t base = 0;  // guest counter
    uint64_t mult = 0, raw_mult = 0;
    int64_t monotonic = 0, raw = 0;
  };
  static HostSample Sample();
  void Calibrate(const HostSample& first) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(const HostSample& now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t Steer(double rate, double error, uint64_t period) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Segment Continue(uint64_t counter) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  VdsoTimeData* const data_;
  const Frame frame_;
  const uint64_t counter_offset_;
  const bool reliable_;
  std::atomic<uint64_t> due_{0};  // host counter
  absl::Mutex mutex_;
  double ticks_per_second_ ABSL_GUARDED_BY(mutex_) = 0;
  double rate_ ABSL_GUARDED_BY(mutex_) = 0;  // ns of MONOTONIC per count, from the host
  double raw_rate_ ABSL_GUARDED_BY(mutex_) = 0;
  HostSample first_ ABSL_GUARDED_BY(mutex_), anchor_ ABSL_GUARDED_BY(mutex_);
  Segment segment_ ABSL_GUARDED_BY(mutex_);
  int64_t realtime_offset_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t boottime_offset_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t tai_offset_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_VDSO_TIME_PAGE_H_
