// SyscallDispatcher: how the kernel reaches the system call table, which lies above it
// (sentry/syscalls implements it).
#ifndef RINGFENCE_SENTRY_KERNEL_SYSCALL_DISPATCHER_H_
#define RINGFENCE_SENTRY_KERNEL_SYSCALL_DISPATCHER_H_

#include <cstdint>

#include "platform/api/platform.h"

namespace ringfence::sentry {

class Task;

class SyscallDispatcher {
 public:
  virtual ~SyscallDispatcher() = default;

  // Serves a call on the task's own thread; may block. Returns what goes into rax: a value or
  // -errno, also the internal -ERESTART* values, which Task resolves. A call that replaces the
  // registers (execve, rt_sigreturn) goes through Task::Exec or Task::SignalReturn, after which
  // Task ignores the value. A call that ends the task (exit) calls Task::Exit and returns.
  virtual int64_t Dispatch(Task& task, const platform::SyscallRequest& request) = 0;

  // May a service thread try this call at all? Cheap; a table look-up.
  virtual bool IsExitless(uint64_t number) const = 0;

  // Serves a call on a service thread with CallContext::may_block = false. False: nothing was
  // done, the task's own thread must serve it (the handler said kWOULDBLOCK_RETRY_ON_TASK or would
  // have to block).
  virtual bool ServeNonBlocking(Task& task, const platform::SyscallRequest& request,
                                int64_t* result) = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_SYSCALL_DISPATCHER_H_
