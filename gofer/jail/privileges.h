// Rights that a Ringfence process lays down for good: user, capabilities, keys, limits.
//
// Single thread: Linux keeps each of these per thread, and threads made later inherit them.
#ifndef RINGFENCE_GOFER_JAIL_PRIVILEGES_H_
#define RINGFENCE_GOFER_JAIL_PRIVILEGES_H_

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace ringfence::gofer {

// Changes all user and group ids, and leaves the supplementary groups where the namespace's map
// lets it (user_namespaces(7), /proc/PID/setgroups). Needs CAP_SETUID and CAP_SETGID.
absl::Status BecomeUser(uid_t uid, gid_t gid);

// A session keyring of its own instead of the caller's (keyctl(2)). Where the kernel has no keys
// or the user's quota is used up, nothing: no key can be reached without keyctl(2), either.
absl::Status LeaveSessionKeyring();

// Of the capabilities it has, keeps those named (CAP_*), and no other in any set:
// inheritable, ambient and bounding become empty, and the locked securebits see to it that neither
// a user id nor an exec brings one back (capabilities(7)). Needs CAP_SETPCAP.
absl::Status KeepOnlyCapabilities(std::span<const int> capabilities);

// RLIMIT_CORE, MSGQUEUE, NICE and RTPRIO 0, RLIMIT_NPROC `threads` (which since Linux 5.14 counts
// within the user namespace), RLIMIT_NOFILE as high as the hard limit allows.
absl::Status SetLimits(uint64_t threads);

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_JAIL_PRIVILEGES_H_
