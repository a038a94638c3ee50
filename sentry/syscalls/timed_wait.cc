#include "sentry/syscalls/timed_wait.h"

namespace ringfence::sentry {

Result<Deadline> LoadTimeout(SyscallContext& ctx, int arg) {
  if (ctx.Arg(arg) == 0) return Deadline::Never();
  return Deadline::After(TRY(ToNanos(TRY(ctx.In<Timespec>(arg).Load(ctx.mm())))));
}

void StoreRemaining(SyscallContext& ctx, int arg, const Deadline& deadline) {
  if (ctx.Arg(arg) == 0) return;
  (void)ctx.Out<Timespec>(arg).Store(ctx.mm(), FromNanos(deadline.Remaining()));
}

Result<void> SignalMaskScope::Set(VirtAddr set, uint64_t size) {
  if (set.is_null()) return Ok();
  if (size != sizeof(SigSet)) return Errno::kINVAL;
  TRY(ctx_.RequireBlocking());
  const SigSet mask = TRY(GuestIn<SigSet>(set.value()).Load(ctx_.mm()));
  ctx_.task().SetTemporarySignalMask(mask);
  set_ = true;
  return Ok();
}

void SignalMaskScope::Finish(const Result<int64_t>& result) {
  if (!set_) return;
  const bool interrupted =
      !result.ok() && (result.error() == Errno::kRESTARTNOHAND || result.error() == Errno::kINTR);
  if (!interrupted) ctx_.task().RestoreSignalMask();
}

}  // namespace ringfence::sentry
