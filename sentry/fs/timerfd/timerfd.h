// TimerFd: a timer to wait for (timerfd_create(2)).
//
// Threads: any. Lock order: setting_mutex_, then those of ClockTimer; mutex_ is a leaf, which the
// timer thread takes.
#ifndef RINGFENCE_SENTRY_FS_TIMERFD_TIMERFD_H_
#define RINGFENCE_SENTRY_FS_TIMERFD_TIMERFD_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/base/wait_queue.h"
#include "sentry/kernel/clock_timer.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class TimerFd final : public File {
 public:
  // `queue` outlives the file. `boottime`: absolute times are of CLOCK_BOOTTIME. `flags`:
  // O_NONBLOCK or 0.
  TimerFd(TimerQueue* queue, Deadline::Clock clock, bool boottime, uint32_t flags);

  // Arms it, or disarms it with value_ns 0; expiries that were not read are forgotten. Returns what
  // was left of the old setting.
  TimerValue Set(bool absolute, const TimerValue& value);
  TimerValue Get() const;

  // The number of expiries since the last read. EINVAL for fewer than 8 bytes, EAGAIN for none.
  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kINVAL;
  }
  // As on Linux, seeking does nothing (noop_llseek).
  Result<int64_t> Seek(const CallContext&, int64_t, int) override { return int64_t{0}; }
  EventMask Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  TimerFd* AsTimer() override { return this; }
  std::string AnonymousName() const override { return "anon_inode:[timerfd]"; }

 private:
  void Expired(uint64_t periods);

  TimerQueue* const timers_;
  const Deadline::Clock clock_;
  const bool boottime_;
  WaitQueue queue_;
  absl::Mutex mutex_;
  uint64_t expiries_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable absl::Mutex setting_mutex_;
  // A new one for each setting: the old one's end waits for a callback that is under way.
  std::unique_ptr<ClockTimer> timer_ ABSL_GUARDED_BY(setting_mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TIMERFD_TIMERFD_H_
