// stat(2) and its kin, statx(2), statfs(2), access(2), readlink(2).
#include <fcntl.h>
#include <limits.h>
#include <linux/stat.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "sentry/syscalls/handlers.h"
#include "sentry/vfs/mount.h"

namespace ringfence::sentry {
namespace {

// f_flags: what holds for the mount, whatever the file system says of itself (statfs(2)).
uint64_t StatFsFlags(const Mount& mount) {
  constexpr uint64_t kValid = 0x20, kNoAtime = 0x400, kRelatime = 0x1000;
  uint64_t flags = kValid | ((mount.flags() & MS_NOATIME) != 0 ? kNoAtime : kRelatime);
  if (mount.read_only()) flags |= ST_RDONLY;
  // Nosuid, nodev and noexec are the same bits in both.
  return flags | (mount.flags() & (MS_NOSUID | MS_NODEV | MS_NOEXEC));
}

timespec ToHost(const Timespec& t) { return timespec{t.sec, t.nsec}; }

struct stat ToStat(const Attributes& a) {
  struct stat s = {};
  s.st_dev = a.dev;
  s.st_ino = a.ino;
  s.st_mode = a.mode;
  s.st_nlink = a.nlink;
  s.st_uid = a.uid;
  s.st_gid = a.gid;
  s.st_rdev = a.rdev;
  s.st_size = static_cast<int64_t>(a.size);
  s.st_blksize = a.blksize;
  s.st_blocks = static_cast<int64_t>(a.blocks);
  s.st_atim = ToHost(a.atime);
  s.st_mtim = ToHost(a.mtime);
  s.st_ctim = ToHost(a.ctime);
  return s;
}

struct statx_timestamp ToStatxTime(const Timespec& t) {
  struct statx_timestamp s = {};
  s.tv_sec = t.sec;
  s.tv_nsec = static_cast<uint32_t>(t.nsec);
  return s;
}

struct statx ToStatx(const Attributes& a) {
  struct statx s = {};
  s.stx_mask = STATX_BASIC_STATS;
  if (a.btime.sec != 0 || a.btime.nsec != 0) s.stx_mask |= STATX_BTIME;
  s.stx_blksize = a.blksize;
  s.stx_nlink = static_cast<uint32_t>(a.nlink);
  s.stx_uid = a.uid;
  s.stx_gid = a.gid;
  s.stx_mode = static_cast<uint16_t>(a.mode);
  s.stx_ino = a.ino;
  s.stx_size = a.size;
  s.stx_blocks = a.blocks;
  s.stx_atime = ToStatxTime(a.atime);
  s.stx_btime = ToStatxTime(a.btime);
  s.stx_ctime = ToStatxTime(a.ctime);
  s.stx_mtime = ToStatxTime(a.mtime);
  s.stx_rdev_major = major(a.rdev);
  s.stx_rdev_minor = minor(a.rdev);
  s.stx_dev_major = major(a.dev);
  s.stx_dev_minor = minor(a.dev);
  return s;
}

struct statfs ToStatfs(const FsAttributes& a) {
  struct statfs s = {};
  s.f_type = static_cast<__fsword_t>(a.type);
  s.f_bsize = static_cast<__fsword_t>(a.bsize);
  s.f_blocks = a.blocks;
  s.f_bfree = a.bfree;
  s.f_bavail = a.bavail;
  s.f_files = a.files;
  s.f_ffree = a.ffree;
  std::memcpy(&s.f_fsid, &a.fsid, sizeof(s.f_fsid));
  s.f_namelen = static_cast<__fsword_t>(a.namelen);
  s.f_frsize = static_cast<__fsword_t>(a.frsize);
  s.f_flags = static_cast<__fsword_t>(a.flags | 0x20);  // ST_VALID
  return s;
}

// The inode a path argument leads to.
Result<DentryRef> ResolveArg(SyscallContext& ctx, const PathArg& path, bool follow) {
  ResolveFlags flags;
  flags.follow_last = follow;
  flags.allow_empty = path.path.empty() && path.base.start != nullptr;
  return Vfs::Resolve(ctx.call(), path.base, path.path, flags);
}

Result<Attributes> GetAttributes(SyscallContext& ctx, const PathArg& path, bool follow,
                                 bool allow_empty) {
  if (path.file != nullptr) return path.file->GetAttr(ctx.call());
  ResolveFlags flags;
  flags.follow_last = follow;
  flags.allow_empty = allow_empty;
  const DentryRef dentry = TRY(Vfs::Resolve(ctx.call(), path.base, path.path, flags));
  return dentry->inode()->GetAttr(ctx.call());
}

Result<int64_t> StoreStat(SyscallContext& ctx, int arg, const Attributes& attributes) {
  return Done(ctx.Out<struct stat>(arg).Store(ctx.mm(), ToStat(attributes)));
}

// faccessat2(2): real ids unless AT_EACCESS.
Result<int64_t> CheckAccessAt(SyscallContext& ctx, const PathArg& path, uint32_t mode,
                              uint32_t flags) {
  if ((mode & ~7u) != 0) return Errno::kINVAL;
  const DentryRef dentry = TRY(ResolveArg(ctx, path, (flags & AT_SYMLINK_NOFOLLOW) == 0));
  CallContext call = ctx.call();
  if ((flags & AT_EACCESS) == 0) {
    Credentials real = *call.creds;
    real.fsuid = real.ruid;
    real.fsgid = real.rgid;
    real.effective = real.ruid == 0 ? real.permitted : 0;
    call.creds = std::make_shared<const Credentials>(std::move(real));
  }
  return Done(Vfs::CheckAccess(call, dentry, mode));
}

Result<int64_t> ReadLinkTo(SyscallContext& ctx, const PathArg& path, int buffer_arg) {
  const int32_t size = ctx.Int(buffer_arg + 1);
  if (size <= 0) return Errno::kINVAL;
  std::string target;
  if (path.path.empty()) {
    if (path.base.start == nullptr) return Errno::kNOENT;
    target = TRY(path.base.start->inode()->ReadLink(ctx.call()));
  } else {
    target = TRY(Vfs::ReadLink(ctx.call(), path.base, path.path));
  }
  const size_t length = std::min<size_t>(target.size(), static_cast<size_t>(size));
  TRY(ctx.mm().CopyOut(ctx.Addr(buffer_arg), target.data(), length));
  return static_cast<int64_t>(length);
}

}  // namespace

Result<int64_t> SysStat(SyscallContext& ctx) {
  return StoreStat(ctx, 1, TRY(GetAttributes(ctx, TRY(ctx.PathAt(0)), true, false)));
}

Result<int64_t> SysLstat(SyscallContext& ctx) {
  return StoreStat(ctx, 1, TRY(GetAttributes(ctx, TRY(ctx.PathAt(0)), false, false)));
}

Result<int64_t> SysFstat(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.fds().Get(ctx.FdArg(0)));
  return StoreStat(ctx, 1, TRY(file->GetAttr(ctx.call())));
}

Result<int64_t> SysNewfstatat(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(3);
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)) != 0) {
    return Errno::kINVAL;
  }
  const bool empty = (flags & AT_EMPTY_PATH) != 0;
  const PathArg path = TRY(ctx.PathAt(0, 1, empty));
  const bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
  return StoreStat(ctx, 2, TRY(GetAttributes(ctx, path, follow, empty)));
}

Result<int64_t> SysStatx(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(2);
  constexpr uint32_t kSyncType = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | kSyncType)) != 0 ||
      (flags & kSyncType) == kSyncType || (ctx.Uint(3) & 0x80000000u) != 0) {
    return Errno::kINVAL;
  }
  const bool empty = (flags & AT_EMPTY_PATH) != 0;
  const PathArg path = TRY(ctx.PathAt(0, 1, empty));
  const bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
  const Attributes attributes = TRY(GetAttributes(ctx, path, follow, empty));
  return Done(ctx.Out<struct statx>(4).Store(ctx.mm(), ToStatx(attributes)));
}

Result<int64_t> SysStatfs(SyscallContext& ctx) {
  const DentryRef dentry = TRY(ResolveArg(ctx, TRY(ctx.PathAt(0)), true));
  FsAttributes attributes = TRY(dentry->inode()->fs()->StatFs(ctx.call()));
  attributes.flags |= StatFsFlags(*dentry->mount());
  return Done(ctx.Out<struct statfs>(1).Store(ctx.mm(), ToStatfs(attributes)));
}

Result<int64_t> SysFstatfs(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.fds().Get(ctx.FdArg(0)));
  const InodeRef inode = file->inode();
  FsAttributes attributes;
  attributes.type = 0x09041934;  // ANON_INODE_FS_MAGIC
  if (inode != nullptr && inode->fs() != nullptr) {
    attributes = TRY(inode->fs()->StatFs(ctx.call()));
  }
  if (file->dentry() != nullptr) attributes.flags |= StatFsFlags(*file->dentry()->mount());
  return Done(ctx.Out<struct statfs>(1).Store(ctx.mm(), ToStatfs(attributes)));
}

Result<int64_t> SysAccess(SyscallContext& ctx) {
  return CheckAccessAt(ctx, TRY(ctx.PathAt(0)), ctx.Uint(1), 0);
}

Result<int64_t> SysFaccessat(SyscallContext& ctx) {
  return CheckAccessAt(ctx, TRY(ctx.PathAt(0, 1)), ctx.Uint(2), 0);
}

Result<int64_t> SysFaccessat2(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(3);
  if ((flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return Errno::kINVAL;
  return CheckAccessAt(ctx, TRY(ctx.PathAt(0, 1, (flags & AT_EMPTY_PATH) != 0)), ctx.Uint(2),
                       flags);
}

Result<int64_t> SysReadlink(SyscallContext& ctx) { return ReadLinkTo(ctx, TRY(ctx.PathAt(0)), 1); }

Result<int64_t> SysReadlinkat(SyscallContext& ctx) {
  return ReadLinkTo(ctx, TRY(ctx.PathAt(0, 1, true)), 2);
}

}  // namespace ringfence::sentry
