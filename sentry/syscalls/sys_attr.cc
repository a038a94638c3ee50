// chmod(2), chown(2), utimensat(2) and its elders, truncate(2), fallocate(2), fsync(2) and kin.
#include <fcntl.h>
#include <sys/stat.h>

#include "sentry/syscalls/file_io.h"
#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

Result<int64_t> SetOn(SyscallContext& ctx, const DentryRef& dentry, const SetAttrRequest& request) {
  TRY(ctx.RequireBlocking());
  return Done(Vfs::SetAttr(ctx.call(), dentry, request));
}

// The attributes of an open file; pipes and the like have no dentry, only an inode.
Result<int64_t> SetOnFile(SyscallContext& ctx, File& file, const SetAttrRequest& request) {
  if (file.dentry() != nullptr) return SetOn(ctx, file.dentry(), request);
  const InodeRef inode = file.inode();
  if (inode == nullptr) return Errno::kPERM;
  return Done(inode->SetAttr(ctx.call(), request));
}

// RLIMIT_FSIZE: growing a file beyond it is EFBIG and SIGXFSZ (setrlimit(2)).
Result<void> CheckNewSize(SyscallContext& ctx, uint64_t now, uint64_t wanted) {
  if (wanted <= now || wanted <= ctx.call().file_size_limit) return Ok();
  return FinishTooBig(ctx);
}

Result<int64_t> SetOnPath(SyscallContext& ctx, const PathArg& path, uint32_t at_flags,
                          const SetAttrRequest& request) {
  if (path.file != nullptr) return SetOnFile(ctx, *path.file, request);
  ResolveFlags flags;
  flags.follow_last = (at_flags & AT_SYMLINK_NOFOLLOW) == 0;
  flags.allow_empty = (at_flags & AT_EMPTY_PATH) != 0;
  const DentryRef dentry = TRY(Vfs::Resolve(ctx.call(), path.base, path.path, flags));
  return SetOn(ctx, dentry, request);
}

SetAttrRequest ModeRequest(uint32_t mode) {
  SetAttrRequest request;
  request.mode = mode & 07777;
  return request;
}

SetAttrRequest OwnerRequest(uint32_t uid, uint32_t gid) {
  SetAttrRequest request;
  if (uid != ~uint32_t{0}) request.uid = uid;
  if (gid != ~uint32_t{0}) request.gid = gid;
  return request;
}

constexpr int64_t kUtimeNow = 0x3fffffff, kUtimeOmit = 0x3ffffffe;

// What utimensat does with its two times. A request that sets nothing has no effect.
Result<SetAttrRequest> TimesRequest(const Timespec& atime, const Timespec& mtime) {
  SetAttrRequest request;
  const auto decode = [](const Timespec& t, std::optional<Timespec>* out,
                         bool* now) -> Result<void> {
    if (t.nsec == kUtimeNow) {
      *now = true;
    } else if (t.nsec != kUtimeOmit) {
      if (t.nsec < 0 || t.nsec >= kNanosPerSecond) return Errno::kINVAL;
      *out = t;
    }
    return Ok();
  };
  TRY(decode(atime, &request.atime, &request.atime_now));
  TRY(decode(mtime, &request.mtime, &request.mtime_now));
  return request;
}

SetAttrRequest NowRequest() {
  SetAttrRequest request;
  request.atime_now = request.mtime_now = true;
  return request;
}

// Two timevals, or null for "now".
Result<SetAttrRequest> TimevalsRequest(SyscallContext& ctx, int arg) {
  if (ctx.Arg(arg) == 0) return NowRequest();
  const auto times = TRY(ctx.In<GuestTimeval>(arg).LoadArray(ctx.mm(), 2, 2));
  for (const GuestTimeval& t : times) {
    if (t.usec < 0 || t.usec >= 1000000) return Errno::kINVAL;
  }
  return TimesRequest({times[0].sec, times[0].usec * 1000}, {times[1].sec, times[1].usec * 1000});
}

bool SetsNothing(const SetAttrRequest& r) {
  return !r.atime && !r.mtime && !r.atime_now && !r.mtime_now;
}

Result<FileRef> WritableFile(SyscallContext& ctx) {
  FileRef file = TRY(ctx.FileArg(0));
  if (!file->writable()) return Errno::kINVAL;
  return file;
}

Result<int64_t> SyncFile(SyscallContext& ctx, bool data_only) {
  const FileRef file = TRY(ctx.FileArg(0));
  TRY(ctx.RequireBlocking());
  return Done(file->Sync(ctx.call(), data_only));
}

}  // namespace

Result<int64_t> SysChmod(SyscallContext& ctx) {
  return SetOnPath(ctx, TRY(ctx.PathAt(0)), 0, ModeRequest(ctx.Uint(1)));
}
Result<int64_t> SysFchmodat(SyscallContext& ctx) {
  return SetOnPath(ctx, TRY(ctx.PathAt(0, 1)), 0, ModeRequest(ctx.Uint(2)));
}
Result<int64_t> SysFchmodat2(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(3);
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return Errno::kINVAL;
  return SetOnPath(ctx, TRY(ctx.PathAt(0, 1, (flags & AT_EMPTY_PATH) != 0)), flags,
                   ModeRequest(ctx.Uint(2)));
}
Result<int64_t> SysFchmod(SyscallContext& ctx) {
  return SetOnFile(ctx, *TRY(ctx.FileArg(0)), ModeRequest(ctx.Uint(1)));
}

Result<int64_t> SysChown(SyscallContext& ctx) {
  return SetOnPath(ctx, TRY(ctx.PathAt(0)), 0, OwnerRequest(ctx.Uint(1), ctx.Uint(2)));
}
Result<int64_t> SysLchown(SyscallContext& ctx) {
  return SetOnPath(ctx, TRY(ctx.PathAt(0)), AT_SYMLINK_NOFOLLOW,
                   OwnerRequest(ctx.Uint(1), ctx.Uint(2)));
}
Result<int64_t> SysFchownat(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(4);
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return Errno::kINVAL;
  return SetOnPath(ctx, TRY(ctx.PathAt(0, 1, (flags & AT_EMPTY_PATH) != 0)), flags,
                   OwnerRequest(ctx.Uint(2), ctx.Uint(3)));
}
Result<int64_t> SysFchown(SyscallContext& ctx) {
  return SetOnFile(ctx, *TRY(ctx.FileArg(0)), OwnerRequest(ctx.Uint(1), ctx.Uint(2)));
}

Result<int64_t> SysUtimensat(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(3);
  SetAttrRequest request = NowRequest();
  if (ctx.Arg(2) != 0) {
    const auto times = TRY(ctx.In<Timespec>(2).LoadArray(ctx.mm(), 2, 2));
    request = TRY(TimesRequest(times[0], times[1]));
    if (SetsNothing(request)) return int64_t{0};
  }
  if (ctx.Arg(1) == 0 && ctx.Int(0) != AT_FDCWD) {  // futimens
    if (flags != 0) return Errno::kINVAL;
    return SetOnFile(ctx, *TRY(ctx.FileArg(0)), request);
  }
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return Errno::kINVAL;
  if (ctx.Arg(1) == 0) return Errno::kFAULT;
  return SetOnPath(ctx, TRY(ctx.PathAt(0, 1, (flags & AT_EMPTY_PATH) != 0)), flags, request);
}

Result<int64_t> SysFutimesat(SyscallContext& ctx) {
  const SetAttrRequest request = TRY(TimevalsRequest(ctx, 2));
  if (ctx.Arg(1) == 0) return SetOnFile(ctx, *TRY(ctx.FileArg(0)), request);
  return SetOnPath(ctx, TRY(ctx.PathAt(0, 1)), 0, request);
}

Result<int64_t> SysUtimes(SyscallContext& ctx) {
  const SetAttrRequest request = TRY(TimevalsRequest(ctx, 1));
  return SetOnPath(ctx, TRY(ctx.PathAt(0)), 0, request);
}

Result<int64_t> SysUtime(SyscallContext& ctx) {
  SetAttrRequest request = NowRequest();
  if (ctx.Arg(1) != 0) {
    const auto seconds = TRY(ctx.In<int64_t>(1).LoadArray(ctx.mm(), 2, 2));
    request = TRY(TimesRequest({seconds[0], 0}, {seconds[1], 0}));
  }
  return SetOnPath(ctx, TRY(ctx.PathAt(0)), 0, request);
}

Result<int64_t> SysTruncate(SyscallContext& ctx) {
  if (ctx.Long(1) < 0) return Errno::kINVAL;
  const PathArg path = TRY(ctx.PathAt(0));
  const DentryRef dentry = TRY(Vfs::Resolve(ctx.call(), path.base, path.path));
  const uint32_t type = dentry->inode()->type();
  if (type == S_IFDIR) return Errno::kISDIR;
  if (type != S_IFREG) return Errno::kINVAL;
  TRY(Vfs::CheckAccess(ctx.call(), dentry, 2));
  TRY(CheckNewSize(ctx, TRY(dentry->inode()->GetAttr(ctx.call())).size, ctx.Arg(1)));
  SetAttrRequest request;
  request.size = ctx.Arg(1);
  return SetOn(ctx, dentry, request);
}

Result<int64_t> SysFtruncate(SyscallContext& ctx) {
  if (ctx.Long(1) < 0) return Errno::kINVAL;
  const FileRef file = TRY(WritableFile(ctx));
  TRY(CheckNewSize(ctx, TRY(file->GetAttr(ctx.call())).size, ctx.Arg(1)));
  TRY(file->Truncate(ctx.call(), ctx.Arg(1)));
  Watches::OnFile(*file, kWatchModify);
  return int64_t{0};
}

Result<int64_t> SysFallocate(SyscallContext& ctx) {
  const int64_t offset = ctx.Long(2), length = ctx.Long(3);
  if (offset < 0 || length <= 0) return Errno::kINVAL;
  const FileRef file = TRY(ctx.FileArg(0));
  if (!file->writable()) return Errno::kBADF;
  if (offset > INT64_MAX - length) return Errno::kFBIG;
  if ((ctx.Int(1) & FALLOC_FL_KEEP_SIZE) == 0) {
    const auto end = static_cast<uint64_t>(offset + length);
    TRY(CheckNewSize(ctx, TRY(file->GetAttr(ctx.call())).size, end));
  }
  TRY(file->Allocate(ctx.call(), ctx.Int(1), offset, length));
  Watches::OnFile(*file, kWatchModify);
  return int64_t{0};
}

Result<int64_t> SysFsync(SyscallContext& ctx) { return SyncFile(ctx, false); }
Result<int64_t> SysFdatasync(SyscallContext& ctx) { return SyncFile(ctx, true); }

Result<int64_t> SysSyncFileRange(SyscallContext& ctx) {
  const int64_t offset = ctx.Long(1), length = ctx.Long(2);
  if (offset < 0 || length < 0 || (ctx.Uint(3) & ~7u) != 0) return Errno::kINVAL;
  return SyncFile(ctx, true);
}

Result<int64_t> SysSync(SyscallContext&) { return int64_t{0}; }

Result<int64_t> SysSyncfs(SyscallContext& ctx) {
  TRY(ctx.FileArg(0));
  return int64_t{0};
}

Result<int64_t> SysFadvise64(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  const InodeRef inode = file->inode();
  if (inode != nullptr && inode->type() == S_IFIFO) return Errno::kSPIPE;
  if (ctx.Uint(3) > 5 || ctx.Long(2) < 0) return Errno::kINVAL;
  return int64_t{0};
}

Result<int64_t> SysReadahead(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  if (!file->readable()) return Errno::kBADF;
  const InodeRef inode = file->inode();
  if (inode == nullptr || inode->type() != S_IFREG) return Errno::kINVAL;
  return int64_t{0};
}

}  // namespace ringfence::sentry
