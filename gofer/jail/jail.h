// What a Ringfence process gives up when it starts, before it reads anything that is not its own.
//
// This is the part that needs no namespace: no new privileges (PR_SET_NO_NEW_PRIVS), no descriptors
// but the named ones, as many descriptors as the hard limit allows, no core dump with guest data,
// death with the parent.
#ifndef RINGFENCE_GOFER_JAIL_JAIL_H_
#define RINGFENCE_GOFER_JAIL_JAIL_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringfence::gofer {

// Closes every descriptor but `keep` and 0, 1, 2 (close_range(2)).
absl::Status CloseAllBut(std::vector<int> keep);

// Asks for SIGKILL when the parent thread ends (prctl(2), PR_SET_PDEATHSIG); Aborted if it has
// ended already: then the other end of `channel`, a socket that only the parent has, is closed.
// Call from the main thread; a change of credentials undoes it.
absl::Status DieWithParent(int channel);

// PR_SET_NO_NEW_PRIVS and PR_SET_DUMPABLE 0.
absl::Status DropPrivilegeGains();

// Raises RLIMIT_NOFILE to the hard limit; the limit that holds now.
absl::StatusOr<uint64_t> RaiseDescriptorLimit();

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_JAIL_JAIL_H_
