// What a Ringfence process gives up when it starts, before it reads anything that is not its own.
//
// This is the part that holds for the sentry and the gofer alike and needs no namespace: no new
// privileges (PR_SET_NO_NEW_PRIVS), no descriptors but the named ones, as many descriptors as the
// hard limit allows, no core dump with guest data, death with the parent.
#ifndef RINGFENCE_GOFER_JAIL_JAIL_H_
#define RINGFENCE_GOFER_JAIL_JAIL_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringfence::gofer {

// Closes every descriptor but `keep` (close_range(2)).
absl::Status CloseAllBut(std::vector<int> keep);

// Asks for SIGKILL when the parent thread ends, and ends this process at once if `parent` is
// already gone (prctl(2), PR_SET_PDEATHSIG). Call from the main thread.
absl::Status DieWithParent(pid_t parent);

// PR_SET_NO_NEW_PRIVS and PR_SET_DUMPABLE 0.
absl::Status DropPrivilegeGains();

// Raises RLIMIT_NOFILE to the hard limit; the limit that holds now.
absl::StatusOr<uint64_t> RaiseDescriptorLimit();

// All of the above, and the working directory becomes the root.
struct JailOptions {
  pid_t parent;
  std::vector<int> keep_fds;  // besides 0, 1, 2
};
absl::Status EnterJail(const JailOptions& options);

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_JAIL_JAIL_H_
