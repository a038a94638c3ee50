// What a Ringfence process sees of the host's files: nothing, or trees that cannot be left.
//
// Needs a mount namespace of its own and CAP_SYS_ADMIN in the user namespace that owns it. Single
// thread: the root and the working directory are the process's. Linux 5.12 (open_tree(2),
// mount_setattr(2)).
#ifndef RINGFENCE_GOFER_JAIL_MOUNTS_H_
#define RINGFENCE_GOFER_JAIL_MOUNTS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

enum class TreeAccess { kRead, kReadWrite };

// A private copy of the mounts at and below `directory`, attached nowhere: the descriptor is the
// tree's root, `..` stays there, and mounts of the host made later do not appear. set-user-ID bits,
// device nodes and executing are off, with kRead writing too, in each of the mounts.
//
// `directory`, which may be of another mount namespace, is looked up by its path here, and the
// result compared with it. The tree lasts until the descriptor returned is closed, whoever else has
// something of it open: keep it.
absl::StatusOr<UniqueFd> DetachTree(int directory, TreeAccess access);

// /proc/self/fd alone, attached nowhere: not even this process's other files of /proc are in reach.
// What opens an inode again without its name (gofer/server/beneath.h) needs it.
absl::StatusOr<UniqueFd> DetachSelfFd();

// The root and the working directory become an empty, read-only directory, and this namespace has
// no other mount.
absl::Status EnterEmptyRoot();

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_JAIL_MOUNTS_H_
