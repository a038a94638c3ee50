// fcntl(2), ioctl(2).
#include <fcntl.h>
#include <sys/stat.h>

#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/record_lock.h"

namespace ringfence::sentry {
namespace {

// Commands of the kernel ABI where the C library's names differ or are missing.
constexpr uint32_t kGetLock = 5, kSetLock = 6, kSetLockWait = 7, kSetOwner = 8, kGetOwner = 9,
                   kOfdGetLock = 36, kOfdSetLock = 37, kOfdSetLockWait = 38, kSetPipeSize = 1031,
                   kGetPipeSize = 1032;
constexpr uint32_t kFionread = 0x541b, kFionbio = 0x5421, kFionclex = 0x5450, kFioclex = 0x5451,
                   kFioasync = 0x5452, kTiocgptpeer = 0x5441;

Result<int64_t> DupFd(SyscallContext& ctx, bool cloexec) {
  FileRef file = TRY(ctx.fds().Get(ctx.FdArg(0)));
  if (ctx.Arg(2) >= ctx.FdLimit()) return Errno::kINVAL;
  return static_cast<int64_t>(
      ToInt(TRY(ctx.fds().Install(std::move(file), cloexec, ctx.FdLimit(), ctx.Uint(2)))));
}

Result<int64_t> SetStatus(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  file->SetStatusFlags(ctx.Uint(2));
  return int64_t{0};
}

// FIONREAD of a regular file: from the offset to the end.
Result<int64_t> BytesToRead(SyscallContext& ctx, File& file) {
  const Attributes attributes = TRY(file.GetAttr(ctx.call()));
  const int64_t left =
      static_cast<int64_t>(attributes.size) - TRY(file.Seek(ctx.call(), 0, SEEK_CUR));
  return Done(ctx.Out<int32_t>(2).Store(ctx.mm(), static_cast<int32_t>(left)));
}

// TIOCGPTPEER: opens the other side of a pseudo-terminal without its path (ioctl_tty(2)). The
// argument is flags of open(2).
Result<int64_t> OpenPeer(SyscallContext& ctx, File& file) {
  const std::string path = TRY(file.PeerPath());
  if (file.dentry() == nullptr) return Errno::kIO;
  const PathBase base{.fs = &ctx.fs(), .start = file.dentry()->parent()};
  const uint32_t flags = ctx.Uint(2) & (O_ACCMODE | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  FileRef peer = TRY(Vfs::Open(ctx.call(), base, path, flags, 0));
  return ctx.InstallFd(std::move(peer), (flags & O_CLOEXEC) != 0);
}

Result<int64_t> PipeSize(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  const Result<int64_t> result = file->Fcntl(ctx.call(), ctx.Uint(1), ctx.Arg(2));
  // What a file that is no pipe says.
  if (!result.ok() && result.error() == Errno::kINVAL && ctx.Uint(1) == kGetPipeSize) {
    return Errno::kBADF;
  }
  return result;
}

// F_NOTIFY: nothing is ever told about a directory, so only asking for nothing succeeds (of any
// file, as in Linux); a Linux whose fs.dir-notify-enable is 0 refuses the rest like this.
Result<int64_t> NotifyOfDirectory(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  if ((ctx.Uint(2) & ~static_cast<uint32_t>(DN_MULTISHOT)) == 0) return int64_t{0};
  const bool directory = file->inode() != nullptr && file->inode()->type() == S_IFDIR;
  return directory ? Errno::kINVAL : Errno::kNOTDIR;
}

}  // namespace

Result<int64_t> SysFcntl(SyscallContext& ctx) {
  const Fd fd = ctx.FdArg(0);
  switch (ctx.Uint(1)) {
    case F_DUPFD:
      return DupFd(ctx, false);
    case F_DUPFD_CLOEXEC:
      return DupFd(ctx, true);
    case F_GETFD:
      return int64_t{TRY(ctx.fds().GetCloexec(fd)) ? FD_CLOEXEC : 0};
    case F_SETFD:
      return Done(ctx.fds().SetCloexec(fd, (ctx.Arg(2) & FD_CLOEXEC) != 0));
    case F_GETFL:
      return static_cast<int64_t>(TRY(ctx.fds().Get(fd))->flags());
    case F_SETFL:
      return SetStatus(ctx);
    case kGetLock:
      return GetRecordLock(ctx, LockKind::kProcess);
    case kOfdGetLock:
      return GetRecordLock(ctx, LockKind::kOpenFile);
    case kSetLock:
    case kSetLockWait:
      return SetRecordLock(ctx, LockKind::kProcess, ctx.Uint(1) == kSetLockWait);
    case kOfdSetLock:
    case kOfdSetLockWait:
      return SetRecordLock(ctx, LockKind::kOpenFile, ctx.Uint(1) == kOfdSetLockWait);
    case kSetOwner:
    case kGetOwner:
      TRY(ctx.FileArg(0));
      return int64_t{0};
    case F_NOTIFY:
      return NotifyOfDirectory(ctx);
    case kSetPipeSize:
    case kGetPipeSize:
      return PipeSize(ctx);
    default: {
      const FileRef file = TRY(ctx.FileArg(0));
      return file->Fcntl(ctx.call(), ctx.Uint(1), ctx.Arg(2));
    }
  }
}

Result<int64_t> SysIoctl(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  switch (ctx.Uint(1)) {
    case kFioclex:
      return Done(ctx.fds().SetCloexec(ctx.FdArg(0), true));
    case kFionclex:
      return Done(ctx.fds().SetCloexec(ctx.FdArg(0), false));
    case kFionbio: {
      const int32_t on = TRY(ctx.In<int32_t>(2).Load(ctx.mm()));
      const uint32_t flags = file->flags() & ~static_cast<uint32_t>(O_NONBLOCK);
      file->SetStatusFlags(on != 0 ? flags | O_NONBLOCK : flags);
      return int64_t{0};
    }
    case kFioasync:
      return TRY(ctx.In<int32_t>(2).Load(ctx.mm())) == 0 ? Result<int64_t>(int64_t{0})
                                                         : Errno::kNOTTY;
    case kTiocgptpeer:
      return OpenPeer(ctx, *file);
    case kFionread:
      if (file->inode() != nullptr && file->inode()->type() == S_IFREG) {
        return BytesToRead(ctx, *file);
      }
      [[fallthrough]];
    default:
      return file->Ioctl(ctx.call(), ctx.mm(), ctx.Uint(1), ctx.Arg(2));
  }
}

}  // namespace ringfence::sentry
