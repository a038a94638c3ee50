#include "sentry/fs/timerfd/timerfd.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

namespace ringfence::sentry {

TimerFd::TimerFd(TimerQueue* queue, Deadline::Clock clock, bool boottime, uint32_t flags)
    : File(O_RDWR | flags), timers_(queue), clock_(clock), boottime_(boottime) {}

TimerValue TimerFd::Set(bool absolute, const TimerValue& wanted) {
  TimerValue value = wanted;
  // The two clocks differ by the time that the host was asleep; long ago is 1, not "disarmed".
  if (absolute && boottime_ && value.value_ns != 0) {
    value.value_ns = std::max<int64_t>(1, value.value_ns - (BoottimeNow() - MonotonicNow()));
  }
  absl::MutexLock setting(&setting_mutex_);
  const TimerValue old = timer_ == nullptr ? TimerValue{} : timer_->Get();
  timer_.reset();
  {
    absl::MutexLock lock(&mutex_);
    expiries_ = 0;
  }
  if (value.value_ns == 0) return old;
  timer_ = std::make_unique<ClockTimer>(timers_, clock_, [this](uint64_t n) { Expired(n); });
  timer_->Set(absolute, value);
  return old;
}

TimerValue TimerFd::Get() const {
  absl::MutexLock setting(&setting_mutex_);
  return timer_ == nullptr ? TimerValue{} : timer_->Get();
}

void TimerFd::Expired(uint64_t periods) {
  {
    absl::MutexLock lock(&mutex_);
    expiries_ += periods;
  }
  queue_.Notify(kEventIn);
}

Result<size_t> TimerFd::Read(const CallContext&, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  if (io.remaining() < sizeof(uint64_t)) return Errno::kINVAL;
  uint64_t expiries;
  {
    absl::MutexLock lock(&mutex_);
    if (expiries_ == 0) return Errno::kAGAIN;
    expiries = std::exchange(expiries_, 0);
  }
  // As on Linux they are taken even when they cannot be stored.
  if (TRY(io.Write(&expiries, sizeof(expiries))) != sizeof(expiries)) return Errno::kFAULT;
  return sizeof(expiries);
}

EventMask TimerFd::Poll() {
  absl::MutexLock lock(&mutex_);
  return expiries_ != 0 ? kEventIn : 0;
}

}  // namespace ringfence::sentry
