// TimerQueue and Timer: callbacks at a time, on one host thread that sleeps until the next
// deadline. While nothing is armed it sleeps for good. Used by itimers, POSIX timers, timerfd.
//
// Threads: any. Callbacks run on the timer thread with no lock of the queue held.
#ifndef RINGFENCE_SENTRY_KERNEL_TIMER_QUEUE_H_
#define RINGFENCE_SENTRY_KERNEL_TIMER_QUEUE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/kernel/deadline.h"
#include "sentry/kernel/sleeper.h"

namespace ringfence::sentry {

class TimerQueue;

// A timer. Owned by who uses it; the queue keeps no reference.
class Timer {
 public:
  // `expired(n)`: n >= 1 periods have passed since the last call. Must not block; may call Arm and
  // Disarm. The queue outlives the timer.
  using Expired = std::function<void(uint64_t n)>;
  Timer(TimerQueue* queue, Expired expired);
  ~Timer();  // waits for a running callback, unless called from it
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  struct Setting {
    Deadline next;            // Never = disarmed
    int64_t interval_ns = 0;  // 0 = once
  };
  // Replaces the setting and returns the old one. A callback that is running meanwhile finishes.
  Setting Arm(const Setting& setting);
  Setting Disarm() { return Arm({}); }
  Setting Get() const;

 private:
  friend class TimerQueue;
  TimerQueue* const queue_;
  const Expired expired_;
  Setting setting_;  // guarded by queue_->mutex_
};

class TimerQueue {
 public:
  TimerQueue();
  ~TimerQueue();  // stops the thread; no timer may be left

  // The wall clock was set: realtime deadlines are looked at again.
  void ClockWasSet();

 private:
  friend class Timer;
  using Ordered = std::set<std::pair<int64_t, Timer*>>;
  Timer::Setting Arm(Timer* timer, const Timer::Setting& setting);
  void Remove(Timer* timer);
  void Insert(Timer* timer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(Timer* timer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Ordered* ListOf(const Timer* timer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The next timer whose time has come, and how many periods have passed; it is armed again.
  Timer* TakeExpired(uint64_t* periods) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Deadline NextDeadline() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Loop();

  mutable absl::Mutex mutex_;
  Ordered monotonic_ ABSL_GUARDED_BY(mutex_);
  Ordered realtime_ ABSL_GUARDED_BY(mutex_);
  Timer* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  Sleeper sleeper_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_TIMER_QUEUE_H_
