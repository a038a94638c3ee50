// signalfd(2), signalfd4(2).
#include <fcntl.h>

#include "sentry/fs/signalfd/signalfd.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

Result<int64_t> MakeOrChange(SyscallContext& ctx, uint32_t flags) {
  if (ctx.Arg(2) != sizeof(SigSet)) return Errno::kINVAL;
  const SigSet mask = TRY(ctx.In<SigSet>(1).Load(ctx.mm()));
  if ((flags & ~static_cast<uint32_t>(O_CLOEXEC | O_NONBLOCK)) != 0) return Errno::kINVAL;
  if (ctx.Int(0) == -1) {
    return ctx.InstallFd(
        std::make_shared<SignalFd>(ctx.task().group_ref(), mask, flags & O_NONBLOCK),
        (flags & O_CLOEXEC) != 0);
  }
  const FileRef file = TRY(ctx.FileArg(0));
  if (file->AsSignal() == nullptr) return Errno::kINVAL;
  file->AsSignal()->SetMask(mask);
  return int64_t{ctx.Int(0)};
}

}  // namespace

Result<int64_t> SysSignalfd(SyscallContext& ctx) { return MakeOrChange(ctx, 0); }
Result<int64_t> SysSignalfd4(SyscallContext& ctx) { return MakeOrChange(ctx, ctx.Uint(3)); }

}  // namespace ringfence::sentry
