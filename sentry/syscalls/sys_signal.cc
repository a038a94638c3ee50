// rt_sigaction(2), rt_sigprocmask(2), kill(2) and their kin, sigaltstack(2), pause(2).
#include "sentry/kernel/kill.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kSigsetSize = sizeof(SigSet);

// Sleeps until a signal has to be handled.
Errno SleepForSignal(SyscallContext& ctx) {
  while (true) {
    const Result<void> slept = ctx.task().Block(Deadline::Never());
    if (!slept.ok()) return Errno::kRESTARTNOHAND;
  }
}

Result<SigInfo> LoadInfo(SyscallContext& ctx, int arg, SigNo sig) {
  SigInfo info = TRY(ctx.In<SigInfo>(arg).Load(ctx.mm()));
  info.signo = ToInt(sig);
  return info;
}

}  // namespace

Result<int64_t> SysRtSigaction(SyscallContext& ctx) {
  if (ctx.Arg(3) != kSigsetSize) return Errno::kINVAL;
  SigAction action;
  if (ctx.Arg(1) != 0) {
    action = TRY(ctx.In<SigAction>(1).Load(ctx.mm()));
    action.mask = action.mask & ~kUnblockableSignals;
  }
  const SigAction old = TRY(ctx.group().SetAction(ctx.Sig(0), ctx.Arg(1) != 0 ? &action : nullptr));
  if (ctx.Arg(2) != 0) TRY(ctx.Out<SigAction>(2).Store(ctx.mm(), old));
  return int64_t{0};
}

Result<int64_t> SysRtSigprocmask(SyscallContext& ctx) {
  enum { kBlock = 0, kUnblock = 1, kSetMask = 2 };
  if (ctx.Arg(3) != kSigsetSize) return Errno::kINVAL;
  Task& task = ctx.task();
  const SigSet old = task.signal_mask();
  if (ctx.Arg(1) != 0) {
    const SigSet set = TRY(ctx.In<SigSet>(1).Load(ctx.mm()));
    SigSet next;
    switch (ctx.Int(0)) {
      case kBlock:
        next = old | set;
        break;
      case kUnblock:
        next = old & ~set;
        break;
      case kSetMask:
        next = set;
        break;
      default:
        return Errno::kINVAL;
    }
    // A pending signal that becomes unblocked is delivered before the call returns: only the
    // task's own thread can do that.
    if (!ctx.may_block() && (old & ~next).bits != 0) {
      if ((task.PendingSignalSet() & ~next).bits != 0) TRY(ctx.RequireBlocking());
    }
    task.SetSignalMask(next);
  }
  if (ctx.Arg(2) != 0) TRY(ctx.Out<SigSet>(2).Store(ctx.mm(), old));
  return int64_t{0};
}

Result<int64_t> SysRtSigpending(SyscallContext& ctx) {
  if (ctx.Arg(1) > kSigsetSize) return Errno::kINVAL;
  const SigSet pending = ctx.task().PendingSignalSet();
  return Done(ctx.mm().CopyOut(ctx.Addr(0), &pending, ctx.Arg(1)));
}

Result<int64_t> SysRtSigtimedwait(SyscallContext& ctx) {
  if (ctx.Arg(3) != kSigsetSize) return Errno::kINVAL;
  const SigSet wanted = TRY(ctx.In<SigSet>(0).Load(ctx.mm())) & ~kUnblockableSignals;
  Deadline deadline = Deadline::Never();
  if (ctx.Arg(2) != 0) {
    deadline = Deadline::After(TRY(ToNanos(TRY(ctx.In<Timespec>(2).Load(ctx.mm())))));
  }
  const SigInfo info = TRY(ctx.task().WaitForSignal(ctx.call(), wanted, deadline));
  if (ctx.Arg(1) != 0) TRY(ctx.Out<SigInfo>(1).Store(ctx.mm(), info));
  return int64_t{info.signo};
}

Result<int64_t> SysRtSigsuspend(SyscallContext& ctx) {
  if (ctx.Arg(1) != kSigsetSize) return Errno::kINVAL;
  ctx.task().SetTemporarySignalMask(TRY(ctx.In<SigSet>(0).Load(ctx.mm())));
  return SleepForSignal(ctx);
}

Result<int64_t> SysPause(SyscallContext& ctx) { return SleepForSignal(ctx); }

Result<int64_t> SysRtSigreturn(SyscallContext& ctx) {
  ctx.task().SignalReturn();
  return int64_t{0};
}

Result<int64_t> SysRestartSyscall(SyscallContext& ctx) { return ctx.task().Restart(); }

Result<int64_t> SysSigaltstack(SyscallContext& ctx) {
  std::optional<SigAltStack> next;
  if (ctx.Arg(0) != 0) next = TRY(ctx.In<SigAltStack>(0).Load(ctx.mm()));
  const SigAltStack old = TRY(ctx.task().SetAltStack(next));
  if (ctx.Arg(1) != 0) TRY(ctx.Out<SigAltStack>(1).Store(ctx.mm(), old));
  return int64_t{0};
}

Result<int64_t> SysKill(SyscallContext& ctx) {
  return Done(Kill(ctx.task(), ctx.Int(0), ctx.Sig(1)));
}

Result<int64_t> SysTkill(SyscallContext& ctx) {
  if (ctx.Int(0) <= 0) return Errno::kINVAL;
  return Done(Tgkill(ctx.task(), 0, ctx.Int(0), ctx.Sig(1)));
}

Result<int64_t> SysTgkill(SyscallContext& ctx) {
  if (ctx.Int(0) <= 0 || ctx.Int(1) <= 0) return Errno::kINVAL;
  return Done(Tgkill(ctx.task(), ctx.Int(0), ctx.Int(1), ctx.Sig(2)));
}

Result<int64_t> SysRtSigqueueinfo(SyscallContext& ctx) {
  const SigInfo info = TRY(LoadInfo(ctx, 2, ctx.Sig(1)));
  return Done(QueueSignal(ctx.task(), ctx.Int(0), 0, info));
}

Result<int64_t> SysRtTgsigqueueinfo(SyscallContext& ctx) {
  const SigInfo info = TRY(LoadInfo(ctx, 3, ctx.Sig(2)));
  if (ctx.Int(0) <= 0 || ctx.Int(1) <= 0) return Errno::kINVAL;
  return Done(QueueSignal(ctx.task(), ctx.Int(0), ctx.Int(1), info));
}

}  // namespace ringfence::sentry
