// The sentry process: `ringfence sentry ...`, started by launch.cc.
#ifndef RINGFENCE_RUNTIME_SANDBOX_SENTRY_PROCESS_H_
#define RINGFENCE_RUNTIME_SANDBOX_SENTRY_PROCESS_H_

#include "runtime/sandbox/child.h"

namespace ringfence::runtime {

// Makes the sandbox, runs the program, reports how it ended; ends the process. Failures go to the
// CLI. Descriptors: control, spec, kvm, rpc, fds, log and stats where there is a --debug-log or
// --stats.
[[noreturn]] void RunSentryProcess(ChildArguments arguments);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_SENTRY_PROCESS_H_
