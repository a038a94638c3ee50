// Timers of a process: itimers, alarm (setitimer(2)), POSIX timers (timer_create(2)) and the CPU
// clocks they may run on.
//
// How they run is in clock_timer.h.
// Threads: any.
#ifndef RINGFENCE_SENTRY_KERNEL_TIMERS_H_
#define RINGFENCE_SENTRY_KERNEL_TIMERS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"
#include "sentry/base/signal.h"
#include "sentry/kernel/clock_timer.h"

namespace ringfence::sentry {

class Task;
class ThreadGroup;

enum class ITimerKind : int32_t { kReal = 0, kVirtual = 1, kProf = 2 };

// What timer_create(2) accepts: CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
// CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID.
struct TimerEvent {
  enum class Notify : uint8_t { kNone, kSignal, kThreadId };
  Notify notify = Notify::kSignal;
  SigNo sig = SigNo::kAlrm;
  uint64_t value = 0;              // sigval
  bool value_is_timer_id = false;  // no sigevent was given
  int32_t tid = 0;                 // for kThreadId
};

class ProcessTimers {
 public:
  explicit ProcessTimers(ThreadGroup* group);
  ~ProcessTimers();

  TimerValue GetITimer(ITimerKind kind) const;
  TimerValue SetITimer(ITimerKind kind, const TimerValue& value);  // returns the old one

  // `task` is the caller. EINVAL, EAGAIN.
  Result<int32_t> Create(Task& task, int32_t clock, const TimerEvent& event);
  // TIMER_ABSTIME when `absolute`. EINVAL for an unknown id.
  Result<TimerValue> Set(int32_t id, bool absolute, const TimerValue& value);
  Result<TimerValue> Get(int32_t id) const;
  Result<int32_t> Overrun(int32_t id) const;
  Result<void> Delete(int32_t id);

  void DeletePosixTimers();  // execve
  void Shutdown();           // the process ends: nothing fires any more. No lock may be held.
  // RLIMIT_CPU was set: SIGXCPU every second after `soft_seconds`, SIGKILL after `hard_seconds`.
  void WatchCpuLimit(uint64_t soft_seconds, uint64_t hard_seconds);
  // A signal of timer `id` has been taken from the queue. Under task_tree_mutex.
  void SignalTaken(int32_t id, int32_t overrun);

 private:
  struct PosixTimer {
    std::atomic<int32_t> last_overrun{0};
    std::unique_ptr<ClockTimer> timer;
  };
  std::shared_ptr<PosixTimer> Find(int32_t id) const;
  std::shared_ptr<ClockTimer> MakeITimer(ITimerKind kind);
  Result<std::unique_ptr<ClockTimer>> MakeClock(int32_t clock, ClockTimer::Fire fire);
  std::shared_ptr<ClockTimer> FindITimer(ITimerKind kind) const;

  ThreadGroup* const group_;
  // Never held while a timer is called: their callbacks take task_tree_mutex, under which
  // SignalTaken takes this.
  mutable absl::Mutex mutex_;
  std::array<std::shared_ptr<ClockTimer>, 3> itimers_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<ClockTimer> cpu_limit_ ABSL_GUARDED_BY(mutex_);
  std::map<int32_t, std::shared_ptr<PosixTimer>> posix_ ABSL_GUARDED_BY(mutex_);
  int32_t next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_TIMERS_H_
