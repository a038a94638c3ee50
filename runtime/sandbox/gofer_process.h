// The gofer process: `ringfence gofer ...`, started by launch.cc.
#ifndef RINGFENCE_RUNTIME_SANDBOX_GOFER_PROCESS_H_
#define RINGFENCE_RUNTIME_SANDBOX_GOFER_PROCESS_H_

#include "runtime/sandbox/child.h"

namespace ringfence::runtime {

// Serves the sentry until that has gone; ends the process. Failures go to the CLI.
// Descriptors: control, those of trees.h, rpc, fds.
[[noreturn]] void RunGoferProcess(ChildArguments arguments);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_GOFER_PROCESS_H_
