// `ringfence do`: starts a gofer and a sentry, and stays until the program has ended.
#ifndef RINGFENCE_RUNTIME_SANDBOX_LAUNCH_H_
#define RINGFENCE_RUNTIME_SANDBOX_LAUNCH_H_

#include <cstdint>

#include "runtime/cli/command_line.h"

namespace ringfence::runtime {

// The exit status of the CLI: the program's own, 128 + the signal that killed it, 127 and 126 for a
// command that is not there or cannot be executed, kFailureStatus for a sandbox that cannot be made
// or broke. Each but the program's own goes with one line on stderr.
// `closed_streams`: see FillClosedStreams. Call from the main thread, before there are others.
int RunDo(const DoCommand& command, uint32_t closed_streams);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_LAUNCH_H_
