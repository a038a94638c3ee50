// open(2), openat2(2), close(2), close_range(2), dup(2), pipe(2), umask(2).
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/struct_arg.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kTmpfile = 020200000;  // __O_TMPFILE | O_DIRECTORY
// Every flag of open(2); others are ignored by open and refused by openat2.
constexpr uint64_t kValidOpenFlags =
    O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK |
    04010000 /* sync */ | 020000 /* async */ | 040000 /* direct */ | 0100000 /* largefile */ |
    O_DIRECTORY | O_NOFOLLOW | 01000000 /* noatime */ | O_CLOEXEC | 010000000 /* path */ | kTmpfile;
constexpr uint64_t kPathFlags = O_DIRECTORY | O_NOFOLLOW | 010000000 | O_CLOEXEC;
constexpr uint64_t kValidResolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
                                   RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;

// A fifo waits for its other end.
Result<void> FinishOpen(SyscallContext& ctx, File& file) {
  if (!file.OpenPending()) return Ok();
  return BlockUntil(ctx.task(), ctx.call(), file.wait_queue(), kEventIn | kEventOut,
                    Deadline::Never(), [&]() -> Result<void> {
                      if (file.OpenPending()) return Errno::kAGAIN;
                      return Ok();
                    });
}

Result<int64_t> OpenPath(SyscallContext& ctx, const PathArg& path, uint64_t flags, uint64_t mode,
                         uint64_t resolve = 0) {
  // 64-bit programs always open with O_LARGEFILE.
  flags = (flags & 010000000) != 0 ? flags & kPathFlags : flags | 0100000;
  FileRef file = TRY(Vfs::Open(ctx.call(), path.base, path.path, static_cast<uint32_t>(flags),
                               static_cast<uint32_t>(mode), static_cast<uint32_t>(resolve)));
  TRY(FinishOpen(ctx, *file));
  return ctx.InstallFd(std::move(file), (flags & O_CLOEXEC) != 0);
}

Result<int64_t> OpenLegacy(SyscallContext& ctx, const PathArg& path, uint32_t flags,
                           uint32_t mode) {
  const bool creates = (flags & (O_CREAT | (kTmpfile & ~uint64_t{O_DIRECTORY}))) != 0;
  return OpenPath(ctx, path, flags & kValidOpenFlags, creates ? mode & 07777 : 0);
}

Result<void> CheckHow(const GuestOpenHow& how) {
  if ((how.flags & ~kValidOpenFlags) != 0 || (how.resolve & ~kValidResolve) != 0) {
    return Errno::kINVAL;
  }
  const bool creates = (how.flags & O_CREAT) != 0 || (how.flags & kTmpfile) == kTmpfile;
  if (creates ? (how.mode & ~uint64_t{07777}) != 0 : how.mode != 0) return Errno::kINVAL;
  constexpr uint64_t kScoped = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
  if ((how.resolve & kScoped) == kScoped) return Errno::kINVAL;
  if ((how.flags & 010000000) != 0 && (how.flags & ~kPathFlags) != 0) return Errno::kINVAL;
  if ((how.flags & O_DIRECTORY) != 0 && (how.flags & O_CREAT) != 0) return Errno::kINVAL;
  if ((how.resolve & RESOLVE_CACHED) != 0) return Errno::kAGAIN;  // always allowed to say so
  return Ok();
}

Result<int64_t> PipeFds(SyscallContext& ctx, uint32_t flags) {
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK | 040000u)) != 0) return Errno::kINVAL;
  const bool cloexec = (flags & O_CLOEXEC) != 0;
  const PipeEnds ends = MakePipe(ctx.call(), flags & ~static_cast<uint32_t>(O_CLOEXEC));
  const Fd read_fd = TRY(ctx.fds().Install(ends.read_end, cloexec, ctx.FdLimit()));
  const Result<Fd> write_fd = ctx.fds().Install(ends.write_end, cloexec, ctx.FdLimit());
  if (!write_fd.ok()) {
    (void)ctx.fds().Close(read_fd);
    return write_fd.error();
  }
  const int32_t numbers[2] = {ToInt(read_fd), ToInt(*write_fd)};
  const Result<void> stored = ctx.Out<int32_t>(0).StoreArray(ctx.mm(), numbers, 2);
  if (!stored.ok()) {
    (void)ctx.fds().Close(read_fd);
    (void)ctx.fds().Close(*write_fd);
  }
  return Done(stored);
}

Result<int64_t> Duplicate(SyscallContext& ctx, bool cloexec) {
  const FileRef file = TRY(ctx.fds().Get(ctx.FdArg(0)));
  TRY(ctx.fds().InstallAt(ctx.FdArg(1), file, cloexec, ctx.FdLimit()));
  return ctx.Int(1);
}

}  // namespace

Result<int64_t> SysOpen(SyscallContext& ctx) {
  return OpenLegacy(ctx, TRY(ctx.PathAt(0)), ctx.Uint(1), ctx.Uint(2));
}

Result<int64_t> SysOpenat(SyscallContext& ctx) {
  return OpenLegacy(ctx, TRY(ctx.PathAt(0, 1)), ctx.Uint(2), ctx.Uint(3));
}

Result<int64_t> SysCreat(SyscallContext& ctx) {
  return OpenLegacy(ctx, TRY(ctx.PathAt(0)), O_CREAT | O_WRONLY | O_TRUNC, ctx.Uint(1));
}

Result<int64_t> SysOpenat2(SyscallContext& ctx) {
  const GuestOpenHow how = TRY(LoadStruct<GuestOpenHow>(ctx.mm(), ctx.Addr(2), ctx.Arg(3), 24));
  TRY(CheckHow(how));
  return OpenPath(ctx, TRY(ctx.PathAt(0, 1)), how.flags, how.mode, how.resolve);
}

Result<int64_t> SysClose(SyscallContext& ctx) { return Done(ctx.fds().Close(ctx.FdArg(0))); }

Result<int64_t> SysCloseRange(SyscallContext& ctx) {
  const uint32_t first = ctx.Uint(0), last = ctx.Uint(1), flags = ctx.Uint(2);
  if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) != 0 || first > last) {
    return Errno::kINVAL;
  }
  if ((flags & CLOSE_RANGE_UNSHARE) != 0) {
    TRY(ctx.RequireBlocking());
    ctx.task().SetFds(ctx.fds().Clone());
  }
  ctx.fds().CloseRange(first, last, (flags & CLOSE_RANGE_CLOEXEC) != 0);
  return int64_t{0};
}

Result<int64_t> SysDup(SyscallContext& ctx) {
  return ctx.InstallFd(TRY(ctx.fds().Get(ctx.FdArg(0))), false);
}

Result<int64_t> SysDup2(SyscallContext& ctx) {
  if (ctx.Int(0) != ctx.Int(1)) return Duplicate(ctx, false);
  TRY(ctx.fds().Get(ctx.FdArg(0)));
  return ctx.Int(1);
}

Result<int64_t> SysDup3(SyscallContext& ctx) {
  if ((ctx.Uint(2) & ~static_cast<uint32_t>(O_CLOEXEC)) != 0 || ctx.Int(0) == ctx.Int(1)) {
    return Errno::kINVAL;
  }
  return Duplicate(ctx, ctx.Uint(2) != 0);
}

Result<int64_t> SysPipe(SyscallContext& ctx) { return PipeFds(ctx, 0); }
Result<int64_t> SysPipe2(SyscallContext& ctx) { return PipeFds(ctx, ctx.Uint(1)); }

Result<int64_t> SysUmask(SyscallContext& ctx) {
  return static_cast<int64_t>(ctx.fs().SetUmask(ctx.Uint(0) & 0777));
}

}  // namespace ringfence::sentry
