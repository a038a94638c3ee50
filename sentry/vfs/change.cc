// mkdir, mknod, symlink, link, unlink, rmdir.
#include "sentry/vfs/change.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "sentry/vfs/permission.h"
#include "sentry/vfs/walker.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {

Result<void> CheckMayCreate(const CallContext& ctx, const Path& directory) {
  if (directory.mount->read_only()) return Errno::kROFS;
  if (directory.mount->superblock().IsUnlinked(*directory.node)) return Errno::kNOENT;
  return CheckPermission(ctx, directory, kMayWrite | kMayExec);
}

Result<void> CheckMayDelete(const CallContext& ctx, const Path& directory, const NodeRef& victim,
                            VictimKind kind) {
  TRY(CheckPermission(ctx, directory, kMayWrite | kMayExec));
  TRY(CheckSticky(ctx, *directory.node->inode(), *victim->inode()));
  if (kind == VictimKind::kDirectory && !victim->is_directory()) return Errno::kNOTDIR;
  if (kind == VictimKind::kOther && victim->is_directory()) return Errno::kISDIR;
  if (directory.mount->superblock().IsUnlinked(*directory.node)) return Errno::kNOENT;
  return Ok();
}

Result<void> CheckNotMountPoint(const NodeRef& node) {
  if (node->mounts_here().load(std::memory_order_acquire) != 0) return Errno::kBUSY;
  return Ok();
}

Result<NodeRef> LookupOrNull(const CallContext& ctx, const Path& directory, std::string_view name,
                             LookupUse use) {
  Result<NodeRef> found = directory.mount->superblock().Lookup(ctx, directory.node, name, use);
  if (!found.ok() && found.error() == Errno::kNOENT) return NodeRef();
  return found;
}

namespace {

// Makes a name: the common frame of mkdir, mknod, symlink and link (filename_create of Linux).
// `make` gets the parent and returns the inode behind the new name.
using MakeFn = absl::FunctionRef<Result<InodeRef>(const Path& parent, const std::string& name)>;
enum class TrailingSlash { kAllowed, kRefused };

Result<Path> MakeNode(const CallContext& ctx, const PathBase& base, std::string_view path,
                      TrailingSlash slash, MakeFn make) {
  Walker walker(ctx, base, 0);
  TRY(walker.Start(path));
  TRY(walker.ToParent());
  if (walker.kind() != Walker::LastKind::kName) return Errno::kEXIST;
  const Path& parent = walker.parent();
  DirectoryLock lock;
  TRY(lock.Acquire(ctx, parent.node));
  if (TRY(LookupOrNull(ctx, parent, walker.name(), LookupUse::kCreate)) != nullptr)
    return Errno::kEXIST;
  if (walker.trailing_slash() && slash == TrailingSlash::kRefused) return Errno::kNOENT;
  TRY(CheckMayCreate(ctx, parent));
  InodeRef inode = TRY(make(parent, walker.name()));
  Path made{parent.mount, parent.mount->superblock().Added(parent.node, walker.name(), inode)};
  Watches::OnCreate(parent.node, walker.name(), inode);
  return made;
}

Result<void> MakeName(const CallContext& ctx, const PathBase& base, std::string_view path,
                      TrailingSlash slash, MakeFn make) {
  TRY(MakeNode(ctx, base, path, slash, make));
  return Ok();
}

Result<void> CheckNodeKind(const CallContext& ctx, uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      return Ok();
    case S_IFCHR:
    case S_IFBLK:
      if (!ctx.creds->HasCapability(kCapMknod)) return Errno::kPERM;
      return Ok();
    case S_IFDIR:
      return Errno::kPERM;
    default:
      return Errno::kINVAL;
  }
}

}  // namespace

Result<void> Vfs::Mkdir(const CallContext& ctx, const PathBase& base, std::string_view path,
                        uint32_t mode) {
  mode = (mode & 01777) & ~base.fs->umask();
  return MakeName(ctx, base, path, TrailingSlash::kAllowed,
                  [&](const Path& parent, const std::string& name) {
                    return parent.node->inode()->Mkdir(ctx, name, mode);
                  });
}

Result<void> Vfs::Mknod(const CallContext& ctx, const PathBase& base, std::string_view path,
                        uint32_t mode, uint64_t rdev) {
  if ((mode & S_IFMT) == 0) mode |= S_IFREG;
  TRY(CheckNodeKind(ctx, mode));
  mode = (mode & S_IFMT) | ((mode & 07777) & ~base.fs->umask());
  return MakeName(ctx, base, path, TrailingSlash::kRefused,
                  [&](const Path& parent, const std::string& name) {
                    return parent.node->inode()->Create(ctx, name, mode, rdev);
                  });
}

Result<DentryRef> Vfs::MakeSocket(const CallContext& ctx, const PathBase& base,
                                  std::string_view path, uint32_t mode) {
  mode = S_IFSOCK | ((mode & 07777) & ~base.fs->umask());
  return MakeDentry(TRY(MakeNode(ctx, base, path, TrailingSlash::kRefused,
                                 [&](const Path& parent, const std::string& name) {
                                   return parent.node->inode()->Create(ctx, name, mode, 0);
                                 })));
}

Result<void> Vfs::Symlink(const CallContext& ctx, std::string_view target, const PathBase& base,
                          std::string_view path) {
  if (target.empty()) return Errno::kNOENT;
  if (target.size() >= PATH_MAX) return Errno::kNAMETOOLONG;
  return MakeName(ctx, base, path, TrailingSlash::kRefused,
                  [&](const Path& parent, const std::string& name) {
                    return parent.node->inode()->Symlink(ctx, name, target);
                  });
}

Result<void> Vfs::Link(const CallContext& ctx, const PathBase& from, std::string_view old_path,
                       const PathBase& to, std::string_view new_path, int at_flags) {
  if ((at_flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) return Errno::kINVAL;
  if ((at_flags & AT_EMPTY_PATH) != 0 && !ctx.creds->HasCapability(kCapDacReadSearch)) {
    return Errno::kNOENT;
  }
  ResolveFlags flags;
  flags.follow_last = (at_flags & AT_SYMLINK_FOLLOW) != 0;
  flags.allow_empty = (at_flags & AT_EMPTY_PATH) != 0;
  const Path source = PathOfDentry(TRY(Resolve(ctx, from, old_path, flags)));
  return MakeName(ctx, to, new_path, TrailingSlash::kRefused,
                  [&](const Path& parent, const std::string& name) -> Result<InodeRef> {
                    if (parent.mount != source.mount) return Errno::kXDEV;
                    if (source.node->is_directory()) return Errno::kPERM;
                    TRY(parent.node->inode()->Link(ctx, name, *source.node->inode()));
                    Watches::OnLink(source.node);
                    return source.node->inode();
                  });
}

Result<void> Vfs::Unlink(const CallContext& ctx, const PathBase& base, std::string_view path) {
  Walker walker(ctx, base, 0);
  TRY(walker.Start(path));
  TRY(walker.ToParent());
  if (walker.kind() != Walker::LastKind::kName) return Errno::kISDIR;
  const Path& parent = walker.parent();
  if (parent.mount->read_only()) return Errno::kROFS;
  NodeRef victim;  // dropped after the lock
  DirectoryLock lock;
  TRY(lock.Acquire(ctx, parent.node));
  victim =
      TRY(parent.mount->superblock().Lookup(ctx, parent.node, walker.name(), LookupUse::kRemove));
  if (walker.trailing_slash()) {
    return victim->is_directory() ? Errno::kISDIR : Errno::kNOTDIR;
  }
  TRY(CheckMayDelete(ctx, parent, victim, VictimKind::kOther));
  TRY(CheckNotMountPoint(victim));
  TRY(parent.node->inode()->Unlink(ctx, walker.name(), *victim->inode()));
  parent.mount->superblock().Removed(victim);
  Watches::OnRemove(ctx, parent.node, walker.name(), victim, 1);
  return Ok();
}

Result<void> Vfs::Rmdir(const CallContext& ctx, const PathBase& base, std::string_view path) {
  Walker walker(ctx, base, 0);
  TRY(walker.Start(path));
  TRY(walker.ToParent());
  if (walker.kind() == Walker::LastKind::kDotDot) return Errno::kNOTEMPTY;
  if (walker.kind() == Walker::LastKind::kDot) return Errno::kINVAL;
  if (walker.kind() == Walker::LastKind::kNone) return Errno::kBUSY;
  const Path& parent = walker.parent();
  if (parent.mount->read_only()) return Errno::kROFS;
  NodeRef victim;
  DirectoryLock lock;
  TRY(lock.Acquire(ctx, parent.node));
  victim =
      TRY(parent.mount->superblock().Lookup(ctx, parent.node, walker.name(), LookupUse::kRemove));
  TRY(CheckMayDelete(ctx, parent, victim, VictimKind::kDirectory));
  TRY(CheckNotMountPoint(victim));
  TRY(lock.Acquire(ctx, victim));  // nobody makes a name in it meanwhile
  TRY(parent.node->inode()->Rmdir(ctx, walker.name(), *victim->inode()));
  parent.mount->superblock().Removed(victim);
  Watches::OnRemove(ctx, parent.node, walker.name(), victim, 1);
  return Ok();
}

Result<std::string> Vfs::ReadLink(const CallContext& ctx, const PathBase& base,
                                  std::string_view path) {
  ResolveFlags flags;
  flags.follow_last = false;
  flags.allow_empty = true;  // readlinkat(fd of O_PATH, "")
  DentryRef dentry = TRY(Resolve(ctx, base, path, flags));
  if (dentry->inode()->type() != S_IFLNK) {
    return path.empty() ? Errno::kNOENT : Errno::kINVAL;
  }
  return dentry->inode()->ReadLink(ctx);
}

}  // namespace ringfence::sentry
