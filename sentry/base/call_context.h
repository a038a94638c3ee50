// CallContext: what a subsystem below the kernel needs to know of the call it works for. Passed
// explicitly everywhere; there is no thread-local current task, because a call may be served by a
// service thread.
#ifndef RINGFENCE_SENTRY_BASE_CALL_CONTEXT_H_
#define RINGFENCE_SENTRY_BASE_CALL_CONTEXT_H_

#include <cstdint>

#include "platform/base/result.h"
#include "sentry/base/credentials.h"

namespace ringfence::sentry {

struct CallContext {
  CredentialsRef creds;
  // False on a service thread: anything that may take long (an RPC to the gofer, disk I/O, a wait)
  // must not start; RequireBlocking() then sends the call to the task's own thread.
  bool may_block = true;
  // Who calls, as numbers of the root pid namespace: /proc/self, controlling terminals. 0: nobody
  // (boot, tests). The kernel finds its Task by them.
  int32_t tgid = 0, tid = 0;
  // RLIMIT_FSIZE of the caller: no write, truncate or fallocate of a regular file goes beyond it
  // (EFBIG; the system call layer adds SIGXFSZ).
  uint64_t file_size_limit = ~uint64_t{0};
  // RWF_APPEND: this write goes to the end of the file, wherever the caller said.
  bool append = false;

  // Call before the first side effect of anything that may take long.
  Result<void> RequireBlocking() const {
    if (!may_block) return Errno::kWOULDBLOCK_RETRY_ON_TASK;
    return Ok();
  }
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BASE_CALL_CONTEXT_H_
