// ProcessFd: a descriptor of a process (pidfd_open(2)): readable once the process has ended.
// Threads: any.
#ifndef RINGFENCE_SENTRY_FS_PIDFD_PIDFD_H_
#define RINGFENCE_SENTRY_FS_PIDFD_PIDFD_H_

#include <fcntl.h>

#include <string>

#include "sentry/kernel/thread_group.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class ProcessFd final : public File {
 public:
  // `flags`: O_NONBLOCK or 0.
  ProcessFd(ThreadGroupRef process, uint32_t flags)
      : File(O_RDWR | flags), process_(std::move(process)) {}

  const ThreadGroupRef& process() const { return process_; }

  Result<size_t> Read(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kINVAL;
  }
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kINVAL;
  }
  EventMask Poll() override {
    if (!process_->PgidOrGone().ok()) return kEventIn | kEventHup;
    return process_->IsZombie() ? kEventIn : 0;
  }
  WaitQueue* wait_queue() override { return &process_->exit_queue(); }
  ProcessFd* AsProcess() override { return this; }
  std::string AnonymousName() const override { return "anon_inode:[pidfd]"; }

 private:
  const ThreadGroupRef process_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_PIDFD_PIDFD_H_
