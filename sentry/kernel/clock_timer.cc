#include "sentry/kernel/clock_timer.h"

#include <algorithm>
#include <limits>

#include "platform/base/host_cpus.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kMinSampleNs = 1'000'000;

int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

TimerValue Describe(const Timer::Setting& setting) {
  if (setting.next.never()) return {};
  // An armed timer never looks disarmed.
  return {std::max<int64_t>(setting.next.Remaining(), 1), setting.interval_ns};
}

}  // namespace

ClockTimer::ClockTimer(TimerQueue* queue, Deadline::Clock clock, Fire fire)
    : wall_clock_(clock), fire_(std::move(fire)), timer_(queue, fire_) {}

ClockTimer::ClockTimer(TimerQueue* queue, CpuClock clock, Fire fire)
    : wall_clock_(Deadline::Clock::kNever),
      cpu_clock_(std::move(clock)),
      fire_(std::move(fire)),
      timer_(queue, [this](uint64_t) { Sample(); }) {}

TimerValue ClockTimer::Set(bool absolute, const TimerValue& value) {
  return cpu_clock_ == nullptr ? SetWall(absolute, value) : SetCpu(absolute, value);
}

TimerValue ClockTimer::Get() const {
  if (cpu_clock_ == nullptr) return Describe(timer_.Get());
  const int64_t now = cpu_clock_();
  absl::MutexLock lock(&mutex_);
  if (expires_ == 0) return {};
  return {std::max<int64_t>(expires_ - now, 1), interval_};
}

TimerValue ClockTimer::SetWall(bool absolute, const TimerValue& value) {
  Timer::Setting setting;
  if (value.value_ns != 0) {
    // A relative time passes also while the wall clock is being set.
    setting.next =
        absolute ? Deadline{wall_clock_, value.value_ns} : Deadline::After(value.value_ns);
    setting.interval_ns = value.interval_ns;
  }
  return Describe(timer_.Arm(setting));
}

TimerValue ClockTimer::SetCpu(bool absolute, const TimerValue& value) {
  const int64_t now = cpu_clock_();
  TimerValue old;
  int64_t expires = 0;
  if (value.value_ns != 0) {
    expires = absolute ? value.value_ns : SaturatingAdd(now, value.value_ns);
  }
  {
    absl::MutexLock lock(&mutex_);
    if (expires_ != 0) old = {std::max<int64_t>(expires_ - now, 1), interval_};
    expires_ = expires;
    interval_ = value.interval_ns;
  }
  if (expires == 0) {
    timer_.Disarm();
  } else {
    ArmSample(expires - now);
  }
  return old;
}

void ClockTimer::ArmSample(int64_t left) {
  timer_.Arm({Deadline::After(std::max(left / OnlineHostCpus(), kMinSampleNs)), 0});
}

void ClockTimer::Sample() {
  const int64_t now = cpu_clock_();
  uint64_t periods = 0;
  int64_t left = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (expires_ == 0) return;
    if (now >= expires_) {
      periods = 1;
      if (interval_ > 0) periods += static_cast<uint64_t>((now - expires_) / interval_);
      expires_ =
          interval_ > 0 ? SaturatingAdd(expires_, static_cast<int64_t>(periods) * interval_) : 0;
    }
    if (expires_ != 0) left = expires_ - now;
  }
  if (periods != 0) fire_(periods);
  if (left != 0) ArmSample(left);
}

}  // namespace ringfence::sentry
