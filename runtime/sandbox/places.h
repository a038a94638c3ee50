// Where `ringfence` keeps what belongs to no sandbox's files: sockets of running sandboxes, the
// log.
//
//                     root             others
//   run directory     /run/ringfence   $XDG_RUNTIME_DIR/ringfence, else /tmp/ringfence-UID
//   log               /var/log/ringfence/ringfence.log
//                                      $XDG_STATE_HOME/ringfence/ringfence.log, else
//                                      $HOME/.local/state/ringfence/ringfence.log
#ifndef RINGFENCE_RUNTIME_SANDBOX_PLACES_H_
#define RINGFENCE_RUNTIME_SANDBOX_PLACES_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringfence::runtime {

// The name of a sandbox by the pid of its CLI: "do-1234".
std::string SandboxId(pid_t pid);

std::string RunDirectory();
// Makes it (mode 0700) if it is not there. FailedPrecondition: it is not this user's alone.
absl::Status MakeRunDirectory(const std::string& path);

// Empty: there is no place (no HOME).
std::string DefaultLogPath();

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_PLACES_H_
