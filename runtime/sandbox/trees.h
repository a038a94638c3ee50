// The trees that a gofer serves: opened by the CLI, which alone decides what may be written, and
// handed to the gofer as descriptors whose names say so. The sentry only learns their numbers.
//
// Tree 0 is the root, then come the volumes in order of the spec, last the overlay's upper layer if
// that is a directory of the host.
#ifndef RINGFENCE_RUNTIME_SANDBOX_TREES_H_
#define RINGFENCE_RUNTIME_SANDBOX_TREES_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/server/tree.h"
#include "runtime/cli/command_line.h"
#include "runtime/sandbox/child.h"
#include "runtime/sandbox/spec.h"

namespace ringfence::runtime {

struct SandboxTrees {
  std::vector<gofer::Export> trees;
  std::vector<VolumeSpec> volumes;
};

// Errors name the flag and the path: what is not there, is neither a directory nor a regular file,
// cannot be mounted on, or is asked for twice.
absl::StatusOr<SandboxTrees> OpenTrees(const DoCommand& command);

// On the gofer's command line, and back.
std::vector<InheritedFd> NameTrees(const std::vector<gofer::Export>& trees);
std::vector<gofer::Export> TakeTrees(ChildArguments* arguments);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_TREES_H_
