// `ringfence debug`: lists the running sandboxes of this user, or shows what the tasks of one do.
#ifndef RINGFENCE_RUNTIME_SANDBOX_DEBUG_COMMAND_H_
#define RINGFENCE_RUNTIME_SANDBOX_DEBUG_COMMAND_H_

#include "runtime/cli/command_line.h"

namespace ringfence::runtime {

// The exit status; a failure goes with one line on stderr.
int RunDebug(const DebugCommand& command);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_DEBUG_COMMAND_H_
