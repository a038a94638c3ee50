// Eventfd: a counter to wait for (eventfd(2)). Threads: any.
#ifndef RINGFENCE_SENTRY_FS_EVENTFD_EVENTFD_H_
#define RINGFENCE_SENTRY_FS_EVENTFD_EVENTFD_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/base/wait_queue.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class EventFd final : public File {
 public:
  // `flags`: O_NONBLOCK or 0. `semaphore`: a read takes 1.
  EventFd(uint64_t count, bool semaphore, uint32_t flags);

  // EINVAL for fewer than 8 bytes, EAGAIN while the counter is 0.
  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  // EINVAL for fewer than 8 bytes or the value ~0, EAGAIN when the counter would overflow.
  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  // As on Linux, seeking does nothing (noop_llseek).
  Result<int64_t> Seek(const CallContext&, int64_t, int) override { return int64_t{0}; }
  EventMask Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  std::string AnonymousName() const override { return "anon_inode:[eventfd]"; }

 private:
  static constexpr uint64_t kMax = ~uint64_t{0} - 1;
  const bool semaphore_;
  absl::Mutex mutex_;
  uint64_t count_ ABSL_GUARDED_BY(mutex_);
  WaitQueue queue_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_EVENTFD_EVENTFD_H_
