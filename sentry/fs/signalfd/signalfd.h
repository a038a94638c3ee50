// SignalFd: reads signals instead of having them delivered (signalfd(2)).
//
// The signals are those of whoever reads: its own and its process's. poll(2) and select(2) ask for
// the caller, too (PollFor); epoll has no caller and watches the process that made the file, as
// Linux does with its wait queue.
//
// Threads: any.
#ifndef RINGFENCE_SENTRY_FS_SIGNALFD_SIGNALFD_H_
#define RINGFENCE_SENTRY_FS_SIGNALFD_SIGNALFD_H_

#include <atomic>
#include <string>

#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class SignalFd final : public File {
 public:
  // `owner`: the process that makes it. `flags`: O_NONBLOCK or 0.
  SignalFd(ThreadGroupRef owner, SigSet mask, uint32_t flags);

  void SetMask(SigSet mask);

  // As many signals as are pending and fit; EINVAL for room for none, EAGAIN for none pending.
  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kINVAL;
  }
  // As on Linux, seeking does nothing (noop_llseek).
  Result<int64_t> Seek(const CallContext&, int64_t, int) override { return int64_t{0}; }
  EventMask Poll() override;
  EventMask PollFor(Task& task) const;
  WaitQueue* wait_queue() override;
  SignalFd* AsSignal() override { return this; }
  std::string AnonymousName() const override { return "anon_inode:[signalfd]"; }

 private:
  SigSet mask() const { return {mask_.load(std::memory_order_relaxed)}; }
  const ThreadGroupRef owner_;
  std::atomic<uint64_t> mask_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_SIGNALFD_SIGNALFD_H_
