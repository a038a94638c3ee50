// ClockTimer: a timer on a wall clock or on a CPU-time clock of the guest.
//
// Wall clocks: a Timer of the kernel's queue. CPU clocks are sampled: the queue looks again when
// the CPU time that is left could have been used up at the earliest (all host cores busy with it),
// but not more often than once a millisecond.
//
// Threads: any. `fire` and `cpu_clock` are called without a lock of the timer held; destroying the
// timer waits for a running `fire`.
#ifndef RINGFENCE_SENTRY_KERNEL_CLOCK_TIMER_H_
#define RINGFENCE_SENTRY_KERNEL_CLOCK_TIMER_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/kernel/timer_queue.h"

namespace ringfence::sentry {

struct TimerValue {
  int64_t value_ns = 0;  // until the next expiry (or its time), 0 = disarmed
  int64_t interval_ns = 0;
};

class ClockTimer {
 public:
  using Fire = std::function<void(uint64_t periods)>;
  using CpuClock = std::function<int64_t()>;  // ns used so far
  // On CLOCK_MONOTONIC or CLOCK_REALTIME.
  ClockTimer(TimerQueue* queue, Deadline::Clock clock, Fire fire);
  // On a CPU-time clock.
  ClockTimer(TimerQueue* queue, CpuClock clock, Fire fire);

  // Arms it `value` from now or, when absolute, at that time; returns what was left.
  TimerValue Set(bool absolute, const TimerValue& value);
  TimerValue Get() const;

 private:
  void Sample();
  void ArmSample(int64_t left);
  TimerValue SetWall(bool absolute, const TimerValue& value);
  TimerValue SetCpu(bool absolute, const TimerValue& value);

  const Deadline::Clock wall_clock_;
  const CpuClock cpu_clock_;  // null for wall clocks
  const Fire fire_;
  mutable absl::Mutex mutex_;
  int64_t expires_ ABSL_GUARDED_BY(mutex_) = 0;  // CPU clocks; 0 = disarmed
  int64_t interval_ ABSL_GUARDED_BY(mutex_) = 0;
  Timer timer_;  // last: its callback uses the rest
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_CLOCK_TIMER_H_
