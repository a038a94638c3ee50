// What ppoll(2), pselect6(2) and epoll_pwait(2) share: a timeout and a signal mask for the time of
// the call.
#ifndef RINGFENCE_SENTRY_SYSCALLS_TIMED_WAIT_H_
#define RINGFENCE_SENTRY_SYSCALLS_TIMED_WAIT_H_

#include "sentry/syscalls/syscall_context.h"

namespace ringfence::sentry {

// The timespec that argument `arg` points to, from now on; never when it is null. EINVAL, EFAULT.
Result<Deadline> LoadTimeout(SyscallContext& ctx, int arg);

// Linux stores what is left of the timeout; a failure to store is ignored.
void StoreRemaining(SyscallContext& ctx, int arg, const Deadline& deadline);

// Installs a signal mask for a call. Set does nothing for a null pointer.
class SignalMaskScope {
 public:
  explicit SignalMaskScope(SyscallContext& ctx) : ctx_(ctx) {}
  // EINVAL unless size is that of the kernel's sigset_t; kWOULDBLOCK_RETRY_ON_TASK on a service
  // thread, since signals that become unblocked must be delivered.
  Result<void> Set(VirtAddr set, uint64_t size);
  // An interrupted call keeps the mask until its signal has been delivered; any other outcome
  // brings back the old one.
  void Finish(const Result<int64_t>& result);

 private:
  SyscallContext& ctx_;
  bool set_ = false;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_TIMED_WAIT_H_
