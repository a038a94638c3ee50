// inotify_init1(2), inotify_add_watch(2), inotify_rm_watch(2).
#include <fcntl.h>
#include <sys/inotify.h>

#include "sentry/fs/inotify/inotify.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

Result<int64_t> Make(SyscallContext& ctx, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(IN_CLOEXEC | IN_NONBLOCK)) != 0) return Errno::kINVAL;
  return ctx.InstallFd(TRY(InotifyFile::Make(flags & O_NONBLOCK)), (flags & IN_CLOEXEC) != 0);
}

}  // namespace

Result<int64_t> SysInotifyInit(SyscallContext& ctx) { return Make(ctx, 0); }
Result<int64_t> SysInotifyInit1(SyscallContext& ctx) { return Make(ctx, ctx.Uint(0)); }

Result<int64_t> SysInotifyAddWatch(SyscallContext& ctx) {
  constexpr uint32_t kMayRead = 4;
  constexpr uint32_t kKnown = IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR |
                              IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD |
                              IN_ISDIR | IN_ONESHOT;
  const uint32_t mask = ctx.Uint(2);
  if ((mask & kKnown) == 0) return Errno::kINVAL;
  const FileRef file = TRY(ctx.FileArg(0));
  if ((mask & IN_MASK_ADD) != 0 && (mask & IN_MASK_CREATE) != 0) return Errno::kINVAL;
  if (file->AsInotify() == nullptr) return Errno::kINVAL;
  const PathArg path = TRY(ctx.PathAt(1));
  ResolveFlags flags;
  flags.follow_last = (mask & IN_DONT_FOLLOW) == 0;
  flags.want_directory = (mask & IN_ONLYDIR) != 0;
  const DentryRef place = TRY(Vfs::Resolve(ctx.call(), path.base, path.path, flags));
  TRY(Vfs::CheckAccess(ctx.call(), place, kMayRead));
  return static_cast<int64_t>(TRY(file->AsInotify()->AddWatch(place, mask)));
}

Result<int64_t> SysInotifyRmWatch(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  if (file->AsInotify() == nullptr) return Errno::kINVAL;
  return Done(file->AsInotify()->RemoveWatch(ctx.Int(1)));
}

}  // namespace ringfence::sentry
