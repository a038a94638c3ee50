// CallContext: what a subsystem below the kernel needs to know of the call it works for. Passed
// explicitly everywhere; there is no thread-local current task, because a call may be served by a
// service thread.
#ifndef RINGFENCE_SENTRY_BASE_CALL_CONTEXT_H_
#define RINGFENCE_SENTRY_BASE_CALL_CONTEXT_H_

#include "platform/base/result.h"
#include "sentry/base/credentials.h"

namespace ringfence::sentry {

struct CallContext {
  CredentialsRef creds;
  // False on a service thread: anything that may take long (an RPC to the gofer, disk I/O, a wait)
  // must not start; RequireBlocking() then sends the call to the task's own thread.
  bool may_block = true;

  // Call before the first side effect of anything that may take long.
  Result<void> RequireBlocking() const {
    if (!may_block) return Errno::kWOULDBLOCK_RETRY_ON_TASK;
    return Ok();
  }
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BASE_CALL_CONTEXT_H_
