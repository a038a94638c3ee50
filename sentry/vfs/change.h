// Helpers of the calls that change directories.
#ifndef RINGFENCE_SENTRY_VFS_CHANGE_H_
#define RINGFENCE_SENTRY_VFS_CHANGE_H_

#include <string_view>

#include "sentry/vfs/mount.h"

namespace ringfence::sentry {

// May the caller add names to `directory`? EROFS, ENOENT when it was removed, EACCES.
Result<void> CheckMayCreate(const CallContext& ctx, const Path& directory);
// May the caller remove `victim` from `directory` as a directory or as something else (may_delete)?
enum class VictimKind { kDirectory, kOther };
Result<void> CheckMayDelete(const CallContext& ctx, const Path& directory, const NodeRef& victim,
                            VictimKind kind);
// EBUSY when something is mounted on the node in any namespace.
Result<void> CheckNotMountPoint(const NodeRef& node);
// Is there such a child? Its node, or null for ENOENT.
Result<NodeRef> LookupOrNull(const CallContext& ctx, const Path& directory, std::string_view name,
                             LookupUse use);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_CHANGE_H_
