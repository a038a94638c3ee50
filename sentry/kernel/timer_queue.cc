#include "sentry/kernel/timer_queue.h"

namespace ringfence::sentry {
namespace {

// The host thread of a queue while it runs callbacks: lets ~Timer know that it is called from one.
thread_local const TimerQueue* running_queue = nullptr;

int64_t Now(Deadline::Clock clock) {
  return clock == Deadline::Clock::kRealtime ? RealtimeNow() : MonotonicNow();
}

}  // namespace

Timer::Timer(TimerQueue* queue, Expired expired) : queue_(queue), expired_(std::move(expired)) {}

Timer::~Timer() { queue_->Remove(this); }

Timer::Setting Timer::Arm(const Setting& setting) { return queue_->Arm(this, setting); }

Timer::Setting Timer::Get() const {
  absl::MutexLock lock(&queue_->mutex_);
  return setting_;
}

TimerQueue::TimerQueue() : thread_([this] { Loop(); }) {}

TimerQueue::~TimerQueue() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  sleeper_.Wake();
  thread_.join();
}

void TimerQueue::ClockWasSet() { sleeper_.Wake(); }

TimerQueue::Ordered* TimerQueue::ListOf(const Timer* timer) {
  switch (timer->setting_.next.clock) {
    case Deadline::Clock::kNever:
      return nullptr;
    case Deadline::Clock::kMonotonic:
      return &monotonic_;
    case Deadline::Clock::kRealtime:
      return &realtime_;
  }
  return nullptr;
}

void TimerQueue::Insert(Timer* timer) {
  Ordered* list = ListOf(timer);
  if (list == nullptr) return;
  const auto it = list->insert({timer->setting_.next.ns, timer}).first;
  if (it == list->begin()) sleeper_.Wake();
}

void TimerQueue::Erase(Timer* timer) {
  if (Ordered* list = ListOf(timer)) list->erase({timer->setting_.next.ns, timer});
}

Timer::Setting TimerQueue::Arm(Timer* timer, const Timer::Setting& setting) {
  absl::MutexLock lock(&mutex_);
  Erase(timer);
  const Timer::Setting old = std::exchange(timer->setting_, setting);
  Insert(timer);
  return old;
}

void TimerQueue::Remove(Timer* timer) {
  absl::MutexLock lock(&mutex_);
  Erase(timer);
  timer->setting_ = {};
  if (running_queue == this) return;
  const auto idle = [this, timer]()
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return running_ != timer; };
  mutex_.Await(absl::Condition(&idle));
}

Timer* TimerQueue::TakeExpired(uint64_t* periods) {
  for (Ordered* list : {&monotonic_, &realtime_}) {
    if (list->empty()) continue;
    Timer* timer = list->begin()->second;
    Timer::Setting& setting = timer->setting_;
    const int64_t late = Now(setting.next.clock) - setting.next.ns;
    if (late < 0) continue;
    Erase(timer);
    *periods = 1;
    if (setting.interval_ns > 0) {
      *periods += static_cast<uint64_t>(late / setting.interval_ns);
      setting.next.ns += static_cast<int64_t>(*periods) * setting.interval_ns;
    } else {
      setting.next = Deadline::Never();
    }
    Insert(timer);
    return timer;
  }
  return nullptr;
}

Deadline TimerQueue::NextDeadline() {
  Deadline next;
  if (!monotonic_.empty()) next = Deadline::AtMonotonic(monotonic_.begin()->first);
  if (!realtime_.empty()) {
    const Deadline wall = Deadline::AtRealtime(realtime_.begin()->first);
    if (next.never() || wall.Remaining() < next.Remaining()) next = wall;
  }
  return next;
}

void TimerQueue::Loop() {
  running_queue = this;
  while (true) {
    Timer* timer;
    uint64_t periods = 0;
    Deadline next;
    {
      absl::MutexLock lock(&mutex_);
      running_ = nullptr;
      if (stop_) return;
      timer = running_ = TakeExpired(&periods);
      if (timer == nullptr) next = NextDeadline();
    }
    if (timer != nullptr) {
      timer->expired_(periods);
    } else {
      sleeper_.Sleep(next);
    }
  }
}

}  // namespace ringfence::sentry
