// The sockets of the run directory (places.h), one for each running sandbox, as those who listen
// and those who ask agree on them:
//
// - A socket gets its name when somebody listens there already, so one that refuses is dead: its
//   process was killed and could not take it away.
// - Whoever removes a dead one takes it away from its name first, and asks it again there: a
//   sandbox of the same number (pids come again) may have put its own in the place meanwhile, which
//   then gets the name back.
//
// Threads: any; processes: any. Nothing here waits for another process.
#ifndef RINGFENCE_RUNTIME_SANDBOX_DEBUG_SOCKET_H_
#define RINGFENCE_RUNTIME_SANDBOX_DEBUG_SOCKET_H_

#include <string>

#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"

namespace ringfence::runtime {

// A socket that listens at `path`, in place of what was there.
absl::StatusOr<UniqueFd> ListenAt(const std::string& path);

// Unavailable: nobody listens there any more. DeadlineExceeded: so many ask already that connect(2)
// would wait, for ever if the CLI is stopped.
absl::StatusOr<UniqueFd> ConnectTo(const std::string& path);

// Removes the socket if nobody listens there.
void RemoveIfDead(const std::string& path);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_DEBUG_SOCKET_H_
