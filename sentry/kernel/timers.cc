#include "sentry/kernel/timers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/signal_sender.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kMaxPosixTimers = 4096;

int64_t SecondsToNanos(uint64_t seconds) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max() / kNanosPerSecond;
  return static_cast<int64_t>(std::min(seconds, kMax)) * kNanosPerSecond;
}

SigInfo TimerInfo(const TimerEvent& event, int32_t id, uint64_t periods) {
  SigInfo info;
  info.signo = ToInt(event.sig);
  info.code = kSiTimer;
  const uint64_t overrun = std::min<uint64_t>(periods - 1, std::numeric_limits<int32_t>::max());
  const uint64_t value = event.value_is_timer_id ? static_cast<uint64_t>(id) : event.value;
  info.timer = {id, static_cast<int32_t>(overrun), value, 0};
  return info;
}

}  // namespace

ProcessTimers::ProcessTimers(ThreadGroup* group) : group_(group) {}

ProcessTimers::~ProcessTimers() = default;

// --- setitimer ---

std::shared_ptr<ClockTimer> ProcessTimers::MakeITimer(ITimerKind kind) {
  constexpr SigNo kSignals[] = {SigNo::kAlrm, SigNo::kVtalrm, SigNo::kProf};
  const SigNo sig = kSignals[static_cast<size_t>(kind)];
  ThreadGroup* group = group_;
  const auto fire = [group, sig](uint64_t) { SendToProcess(*group, SigInfo::Kernel(sig)); };
  TimerQueue* queue = &group->kernel().timers();
  switch (kind) {
    case ITimerKind::kReal:
      return std::make_shared<ClockTimer>(queue, Deadline::Clock::kMonotonic, fire);
    case ITimerKind::kVirtual:
      return std::make_shared<ClockTimer>(
          queue, [group] { return group->UserTimeNs(); }, fire);
    case ITimerKind::kProf:
      return std::make_shared<ClockTimer>(
          queue, [group] { return group->CpuTimeNs(); }, fire);
  }
  return nullptr;
}

std::shared_ptr<ClockTimer> ProcessTimers::FindITimer(ITimerKind kind) const {
  absl::MutexLock lock(&mutex_);
  return itimers_[static_cast<size_t>(kind)];
}

TimerValue ProcessTimers::GetITimer(ITimerKind kind) const {
  const std::shared_ptr<ClockTimer> timer = FindITimer(kind);
  return timer == nullptr ? TimerValue{} : timer->Get();
}

TimerValue ProcessTimers::SetITimer(ITimerKind kind, const TimerValue& value) {
  std::shared_ptr<ClockTimer> timer;
  {
    absl::MutexLock lock(&mutex_);
    if (shut_down_) return {};
    std::shared_ptr<ClockTimer>& slot = itimers_[static_cast<size_t>(kind)];
    if (slot == nullptr) slot = MakeITimer(kind);
    timer = slot;
  }
  return timer->Set(false, value);
}

// --- RLIMIT_CPU ---

void ProcessTimers::WatchCpuLimit(uint64_t soft_seconds, uint64_t hard_seconds) {
  ThreadGroup* group = group_;
  const int64_t hard = SecondsToNanos(hard_seconds);
  const auto fire = [group, hard](uint64_t) {
    const bool over = group->CpuTimeNs() >= hard;
    SendToProcess(*group, SigInfo::Kernel(over ? SigNo::kKill : SigNo::kXcpu));
  };
  std::shared_ptr<ClockTimer> timer;
  if (soft_seconds != kRlimInfinity || hard_seconds != kRlimInfinity) {
    timer = std::make_shared<ClockTimer>(
        &group->kernel().timers(), [group] { return group->CpuTimeNs(); }, fire);
  }
  std::shared_ptr<ClockTimer> old;
  {
    absl::MutexLock lock(&mutex_);
    if (shut_down_) return;
    old = std::exchange(cpu_limit_, timer);
  }
  if (timer == nullptr) return;
  const int64_t first = std::max<int64_t>(SecondsToNanos(std::min(soft_seconds, hard_seconds)), 1);
  timer->Set(true, {first, kNanosPerSecond});
}

// --- timer_create ---

std::shared_ptr<ProcessTimers::PosixTimer> ProcessTimers::Find(int32_t id) const {
  absl::MutexLock lock(&mutex_);
  const auto it = posix_.find(id);
  return it == posix_.end() ? nullptr : it->second;
}

Result<std::unique_ptr<ClockTimer>> ProcessTimers::MakeClock(int32_t clock, ClockTimer::Fire fire) {
  TimerQueue* queue = &group_->kernel().timers();
  ThreadGroup* group = group_;
  switch (clock) {
    case CLOCK_REALTIME:
      return std::make_unique<ClockTimer>(queue, Deadline::Clock::kRealtime, std::move(fire));
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
      return std::make_unique<ClockTimer>(queue, Deadline::Clock::kMonotonic, std::move(fire));
    case CLOCK_PROCESS_CPUTIME_ID:
      return std::make_unique<ClockTimer>(
          queue, [group] { return group->CpuTimeNs(); }, std::move(fire));
    default:
      return Errno::kINVAL;
  }
}

Result<int32_t> ProcessTimers::Create(Task& task, int32_t clock, const TimerEvent& event) {
  if (event.notify != TimerEvent::Notify::kNone && !IsValid(event.sig)) return Errno::kINVAL;
  int32_t id;
  {
    absl::MutexLock lock(&mutex_);
    if (posix_.size() >= kMaxPosixTimers) return Errno::kAGAIN;
    while (posix_.contains(next_id_)) next_id_ = (next_id_ + 1) & 0x7fffffff;
    id = next_id_;
    next_id_ = (next_id_ + 1) & 0x7fffffff;
  }
  ThreadGroup* group = group_;
  const auto fire = [group, id, event](uint64_t periods) {
    SignalSender::SendTimer(*group, event.notify == TimerEvent::Notify::kThreadId ? event.tid : 0,
                            TimerInfo(event, id, periods));
  };
  ClockTimer::Fire callback = fire;
  if (event.notify == TimerEvent::Notify::kNone) callback = [](uint64_t) {};
  auto timer = std::make_shared<PosixTimer>();
  if (clock == CLOCK_THREAD_CPUTIME_ID) {
    const TaskRef thread = task.shared_from_this();
    timer->timer = std::make_unique<ClockTimer>(
        &group->kernel().timers(), [thread] { return thread->CpuTimeNs(); }, std::move(callback));
  } else {
    timer->timer = TRY(MakeClock(clock, std::move(callback)));
  }
  absl::MutexLock lock(&mutex_);
  if (!shut_down_) posix_[id] = std::move(timer);
  return id;
}

Result<TimerValue> ProcessTimers::Set(int32_t id, bool absolute, const TimerValue& value) {
  const std::shared_ptr<PosixTimer> timer = Find(id);
  if (timer == nullptr) return Errno::kINVAL;
  return timer->timer->Set(absolute, value);
}

Result<TimerValue> ProcessTimers::Get(int32_t id) const {
  const std::shared_ptr<PosixTimer> timer = Find(id);
  if (timer == nullptr) return Errno::kINVAL;
  return timer->timer->Get();
}

Result<int32_t> ProcessTimers::Overrun(int32_t id) const {
  const std::shared_ptr<PosixTimer> timer = Find(id);
  if (timer == nullptr) return Errno::kINVAL;
  return timer->last_overrun.load();
}

Result<void> ProcessTimers::Delete(int32_t id) {
  std::shared_ptr<PosixTimer> timer;
  absl::MutexLock lock(&mutex_);
  const auto it = posix_.find(id);
  if (it == posix_.end()) return Errno::kINVAL;
  timer = std::move(it->second);
  posix_.erase(it);
  return Ok();
}

void ProcessTimers::SignalTaken(int32_t id, int32_t overrun) {
  // No reference is taken: the last one must not go under task_tree_mutex.
  absl::MutexLock lock(&mutex_);
  const auto it = posix_.find(id);
  if (it != posix_.end()) it->second->last_overrun.store(overrun);
}

// --- the end; timers are destroyed outside the lock, since that waits for their callbacks ---

void ProcessTimers::DeletePosixTimers() {
  std::map<int32_t, std::shared_ptr<PosixTimer>> timers;
  absl::MutexLock lock(&mutex_);
  timers.swap(posix_);
}

void ProcessTimers::Shutdown() {
  std::map<int32_t, std::shared_ptr<PosixTimer>> posix;
  std::array<std::shared_ptr<ClockTimer>, 3> itimers;
  std::shared_ptr<ClockTimer> cpu_limit;
  absl::MutexLock lock(&mutex_);
  shut_down_ = true;
  posix.swap(posix_);
  itimers.swap(itimers_);
  cpu_limit.swap(cpu_limit_);
}

}  // namespace ringfence::sentry
