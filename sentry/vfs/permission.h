// Who may do what: the permission checks of path_resolution(7), capabilities(7), inode(7).
#ifndef RINGFENCE_SENTRY_VFS_PERMISSION_H_
#define RINGFENCE_SENTRY_VFS_PERMISSION_H_

#include "sentry/vfs/inode.h"
#include "sentry/vfs/mount.h"

namespace ringfence::sentry {

// Bits of access(2).
inline constexpr uint32_t kMayExec = 1, kMayWrite = 2, kMayRead = 4;

// Capability numbers of linux/capability.h.
inline constexpr int kCapChown = 0, kCapDacOverride = 1, kCapDacReadSearch = 2, kCapFowner = 3,
                     kCapFsetid = 4, kCapMknod = 27;

// Mode bits, owner and capabilities only. EACCES.
Result<void> CheckMode(const Credentials& creds, const Attributes& attributes, uint32_t mask);
// What inode_permission() checks: EROFS for writes to files and directories of a read-only mount,
// then CheckMode.
Result<void> CheckPermission(const CallContext& ctx, const Path& path, uint32_t mask);
// Search permission of a directory that a path goes through. ENOTDIR, EACCES.
Result<void> CheckSearch(const CallContext& ctx, const Inode& inode);

bool IsOwnerOrCapable(const Credentials& creds, const Attributes& attributes);
// EPERM when the sticky bit of `directory` protects `victim` (unlink(2)).
Result<void> CheckSticky(const CallContext& ctx, Inode& directory, Inode& victim);

// Owner and mode of a new inode in `directory` (inode_init_owner): set-group-ID directories hand
// on their group. For file systems.
struct NewInode {
  Uid uid;
  Gid gid;
  uint32_t mode;
};
NewInode InitOwner(const Credentials& creds, const Attributes& directory, uint32_t mode);
// Does a write or truncation by `creds` take set-user-ID and set-group-ID away, and what is left?
uint32_t ModeAfterWrite(const Credentials& creds, uint32_t mode);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_PERMISSION_H_
