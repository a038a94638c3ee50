// Timers of a process: itimers, alarm (setitimer(2)), POSIX timers (timer_create(2)) and the CPU
// clocks they may run on.
//
// Wall-clock timers sit on the kernel's TimerQueue. CPU-time timers are sampled: the queue looks
// again no earlier than the CPU time that is left could have been used up, and not more often than
// once a millisecond.
// Threads: any.
#ifndef RINGFENCE_SENTRY_KERNEL_TIMERS_H_
#define RINGFENCE_SENTRY_KERNEL_TIMERS_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"
#include "sentry/base/signal.h"
#include "sentry/kernel/timer_queue.h"

namespace ringfence::sentry {

class Kernel;
class ThreadGroup;

enum class ITimerKind : int32_t { kReal = 0, kVirtual = 1, kProf = 2 };

struct TimerValue {
  int64_t value_ns = 0;     // until the next expiry, 0 = disarmed
  int64_t interval_ns = 0;
};

// What timer_create(2) accepts: CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
// CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID.
struct TimerEvent {
  enum class Notify : uint8_t { kNone, kSignal, kThreadId };
  Notify notify = Notify::kSignal;
  SigNo sig = SigNo::kAlrm;
  uint64_t value = 0;       // sigval
  bool value_is_timer_id = false;  // no sigevent was given
  int32_t tid = 0;          // for kThreadId
};

class ProcessTimers {
 public:
  explicit ProcessTimers(ThreadGroup* group);
  ~ProcessTimers();

  TimerValue GetITimer(ITimerKind kind) const;
  TimerValue SetITimer(ITimerKind kind, const TimerValue& value);  // returns the old one

  Result<int32_t> Create(int32_t clock, const TimerEvent& event);  // EINVAL, EAGAIN
  // TIMER_ABSTIME when `absolute`. EINVAL for an unknown id.
  Result<TimerValue> Set(int32_t id, bool absolute, const TimerValue& value);
  Result<TimerValue> Get(int32_t id) const;
  Result<int32_t> Overrun(int32_t id) const;
  Result<void> Delete(int32_t id);

  void DeletePosixTimers();  // execve
  void Shutdown();           // the process ends: nothing fires any more. No lock may be held.
  // RLIMIT_CPU was set: watches the process's CPU time (SIGXCPU, SIGKILL).
  void WatchCpuLimit(uint64_t soft_seconds, uint64_t hard_seconds);

 private:
  struct CpuTimer;
  struct PosixTimer;
  ThreadGroup* const group_;
  mutable absl::Mutex mutex_;
  std::unique_ptr<Timer> real_;
  std::array<std::unique_ptr<CpuTimer>, 2> cpu_itimers_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<CpuTimer> cpu_limit_ ABSL_GUARDED_BY(mutex_);
  std::map<int32_t, std::shared_ptr<PosixTimer>> posix_ ABSL_GUARDED_BY(mutex_);
  int32_t next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_TIMERS_H_
