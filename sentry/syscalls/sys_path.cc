// Calls that change the tree of names: mkdir(2), mknod(2), link(2), symlink(2), unlink(2),
// rmdir(2), rename(2); and the working directory: chdir(2), chroot(2), getcwd(2).
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysChroot = 18;

Result<int64_t> MakeDirectory(SyscallContext& ctx, const PathArg& path, uint32_t mode) {
  return Done(Vfs::Mkdir(ctx.call(), path.base, path.path, mode & 01777));
}

Result<int64_t> MakeNode(SyscallContext& ctx, const PathArg& path, uint32_t mode, uint32_t dev) {
  const uint32_t type = mode & S_IFMT;
  switch (type) {
    case 0:
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      break;
    case S_IFDIR:
      return Errno::kPERM;
    default:
      return Errno::kINVAL;
  }
  const bool device = type == S_IFCHR || type == S_IFBLK;
  return Done(Vfs::Mknod(ctx.call(), path.base, path.path,
                         (type == 0 ? S_IFREG : type) | (mode & 07777), device ? dev : 0));
}

Result<int64_t> LinkTo(SyscallContext& ctx, const PathArg& from, const PathArg& to, int flags) {
  return Done(Vfs::Link(ctx.call(), from.base, from.path, to.base, to.path, flags));
}

Result<int64_t> RenameTo(SyscallContext& ctx, const PathArg& from, const PathArg& to,
                         uint32_t flags) {
  constexpr uint32_t kNoReplace = 1, kExchange = 2, kWhiteout = 4;
  if ((flags & ~(kNoReplace | kExchange | kWhiteout)) != 0) return Errno::kINVAL;
  if ((flags & (kNoReplace | kWhiteout)) != 0 && (flags & kExchange) != 0) return Errno::kINVAL;
  if ((flags & kWhiteout) != 0) return Errno::kINVAL;  // what file systems without it say
  return Done(Vfs::Rename(ctx.call(), from.base, from.path, to.base, to.path, flags));
}

Result<int64_t> ChangeDirectory(SyscallContext& ctx, const DentryRef& dentry) {
  TRY(Vfs::CheckAccess(ctx.call(), dentry, 1));
  ctx.fs().SetCwd(dentry);
  return int64_t{0};
}

Result<DentryRef> ResolveDirectory(SyscallContext& ctx, const PathArg& path) {
  ResolveFlags flags;
  flags.want_directory = true;
  return Vfs::Resolve(ctx.call(), path.base, path.path, flags);
}

}  // namespace

Result<int64_t> SysMkdir(SyscallContext& ctx) {
  return MakeDirectory(ctx, TRY(ctx.PathAt(0)), ctx.Uint(1));
}
Result<int64_t> SysMkdirat(SyscallContext& ctx) {
  return MakeDirectory(ctx, TRY(ctx.PathAt(0, 1)), ctx.Uint(2));
}
Result<int64_t> SysMknod(SyscallContext& ctx) {
  return MakeNode(ctx, TRY(ctx.PathAt(0)), ctx.Uint(1), ctx.Uint(2));
}
Result<int64_t> SysMknodat(SyscallContext& ctx) {
  return MakeNode(ctx, TRY(ctx.PathAt(0, 1)), ctx.Uint(2), ctx.Uint(3));
}

Result<int64_t> SysSymlink(SyscallContext& ctx) {
  const std::string target = TRY(ctx.Path(0));
  if (target.empty()) return Errno::kNOENT;
  const PathArg path = TRY(ctx.PathAt(1));
  return Done(Vfs::Symlink(ctx.call(), target, path.base, path.path));
}

Result<int64_t> SysSymlinkat(SyscallContext& ctx) {
  const std::string target = TRY(ctx.Path(0));
  if (target.empty()) return Errno::kNOENT;
  const PathArg path = TRY(ctx.PathAt(1, 2));
  return Done(Vfs::Symlink(ctx.call(), target, path.base, path.path));
}

Result<int64_t> SysLink(SyscallContext& ctx) {
  return LinkTo(ctx, TRY(ctx.PathAt(0)), TRY(ctx.PathAt(1)), 0);
}

Result<int64_t> SysLinkat(SyscallContext& ctx) {
  const int flags = ctx.Int(4);
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) return Errno::kINVAL;
  const PathArg from = TRY(ctx.PathAt(0, 1, (flags & AT_EMPTY_PATH) != 0));
  return LinkTo(ctx, from, TRY(ctx.PathAt(2, 3)), flags);
}

Result<int64_t> SysUnlink(SyscallContext& ctx) {
  const PathArg path = TRY(ctx.PathAt(0));
  return Done(Vfs::Unlink(ctx.call(), path.base, path.path));
}

Result<int64_t> SysRmdir(SyscallContext& ctx) {
  const PathArg path = TRY(ctx.PathAt(0));
  return Done(Vfs::Rmdir(ctx.call(), path.base, path.path));
}

Result<int64_t> SysUnlinkat(SyscallContext& ctx) {
  if ((ctx.Uint(2) & ~static_cast<uint32_t>(AT_REMOVEDIR)) != 0) return Errno::kINVAL;
  const PathArg path = TRY(ctx.PathAt(0, 1));
  if (ctx.Uint(2) != 0) return Done(Vfs::Rmdir(ctx.call(), path.base, path.path));
  return Done(Vfs::Unlink(ctx.call(), path.base, path.path));
}

Result<int64_t> SysRename(SyscallContext& ctx) {
  return RenameTo(ctx, TRY(ctx.PathAt(0)), TRY(ctx.PathAt(1)), 0);
}
Result<int64_t> SysRenameat(SyscallContext& ctx) {
  return RenameTo(ctx, TRY(ctx.PathAt(0, 1)), TRY(ctx.PathAt(2, 3)), 0);
}
Result<int64_t> SysRenameat2(SyscallContext& ctx) {
  return RenameTo(ctx, TRY(ctx.PathAt(0, 1)), TRY(ctx.PathAt(2, 3)), ctx.Uint(4));
}

Result<int64_t> SysChdir(SyscallContext& ctx) {
  return ChangeDirectory(ctx, TRY(ResolveDirectory(ctx, TRY(ctx.PathAt(0)))));
}

Result<int64_t> SysFchdir(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.fds().Get(ctx.FdArg(0)));
  if (file->dentry() == nullptr || file->inode()->type() != S_IFDIR) return Errno::kNOTDIR;
  return ChangeDirectory(ctx, file->dentry());
}

Result<int64_t> SysChroot(SyscallContext& ctx) {
  const DentryRef dentry = TRY(ResolveDirectory(ctx, TRY(ctx.PathAt(0))));
  TRY(Vfs::CheckAccess(ctx.call(), dentry, 1));
  if (!ctx.call().creds->HasCapability(kCapSysChroot)) return Errno::kPERM;
  ctx.fs().SetRoot(dentry);
  return int64_t{0};
}

Result<int64_t> SysGetcwd(SyscallContext& ctx) {
  const DentryRef cwd = ctx.fs().cwd();
  if (cwd->unlinked()) return Errno::kNOENT;
  const std::string path = Vfs::PathOf(cwd, ctx.fs().root());
  if (path.size() + 1 > PATH_MAX) return Errno::kNAMETOOLONG;
  if (ctx.Arg(1) < path.size() + 1) return Errno::kRANGE;
  TRY(ctx.mm().CopyOut(ctx.Addr(0), path.c_str(), path.size() + 1));
  return static_cast<int64_t>(path.size() + 1);
}

}  // namespace ringfence::sentry
