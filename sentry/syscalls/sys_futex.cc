// futex(2), futex_waitv(2).
#include <linux/futex.h>
#include <time.h>

#include <algorithm>

#include "sentry/kernel/futex.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kLockPi2 = 13;  // FUTEX_LOCK_PI2

// Interrupted with a timeout: goes on by restart_syscall(2) with the same deadline, or EINTR when
// a handler runs.
Result<int64_t> Wait(Task& task, const CallContext& call, const FutexManager::WaitArgs& args) {
  const Result<void> waited = task.kernel().futexes().Wait(task, call, args);
  if (!waited.ok() && waited.error() == Errno::kRESTARTSYS && !args.deadline.never()) {
    task.SetRestart([args](Task& self) -> int64_t {
      const Result<int64_t> again = Wait(self, self.call_context(), args);
      return again.ok() ? *again : -static_cast<int64_t>(again.error());
    });
    return Errno::kRESTART_RESTARTBLOCK;
  }
  return Done(waited);
}

Result<Deadline> WaitDeadline(SyscallContext& ctx, int command, bool realtime) {
  if (ctx.Arg(3) == 0) return Deadline::Never();
  const int64_t ns = TRY(ToNanos(TRY(ctx.In<Timespec>(3).Load(ctx.mm()))));
  if (command == FUTEX_WAIT) return Deadline::After(ns);
  return realtime ? Deadline::AtRealtime(ns) : Deadline::AtMonotonic(ns);
}

uint32_t WakeCount(int32_t count) { return static_cast<uint32_t>(std::max(count, 1)); }

enum class RequeueKind { kPlain, kCompare, kToLock };

Result<int64_t> Requeue(SyscallContext& ctx, bool is_private, RequeueKind kind) {
  const int32_t wake = ctx.Int(2), requeue = ctx.Int(3);
  if (wake < 0 || requeue < 0) return Errno::kINVAL;
  FutexManager::RequeueArgs args;
  args.from = ctx.Addr(0);
  args.to = ctx.Addr(4);
  args.is_private = is_private;
  args.wake_count = static_cast<uint32_t>(wake);
  args.requeue_count = static_cast<uint32_t>(requeue);
  if (kind != RequeueKind::kPlain) args.expected = ctx.Uint(5);
  if (kind == RequeueKind::kToLock) {
    Kernel& kernel = ctx.kernel();
    return int64_t{TRY(kernel.futexes().RequeuePi(ctx.mm(), kernel.pi_futexes(), args))};
  }
  return int64_t{TRY(ctx.kernel().futexes().Requeue(ctx.mm(), args))};
}

Result<int64_t> WakeOp(SyscallContext& ctx, bool is_private) {
  FutexManager::WakeOpArgs args;
  args.addr1 = ctx.Addr(0);
  args.addr2 = ctx.Addr(4);
  args.is_private = is_private;
  args.count1 = WakeCount(ctx.Int(2));
  args.count2 = WakeCount(ctx.Int(3));
  args.operation = ctx.Uint(5);
  return int64_t{TRY(ctx.kernel().futexes().WakeOp(ctx.mm(), args))};
}

// The limit is a time, not a duration.
Result<int64_t> LockPi(SyscallContext& ctx, bool is_private, bool realtime) {
  TRY(ctx.RequireBlocking());
  const Deadline deadline = TRY(WaitDeadline(ctx, FUTEX_LOCK_PI, realtime));
  return Done(ctx.kernel().pi_futexes().Lock(ctx.task(), ctx.Addr(0), is_private, deadline));
}

Result<int64_t> WaitRequeuePi(SyscallContext& ctx, bool is_private, bool realtime) {
  TRY(ctx.RequireBlocking());
  FutexManager::WaitArgs args;
  args.addr = ctx.Addr(0);
  args.is_private = is_private;
  args.expected = ctx.Uint(2);
  args.deadline = TRY(WaitDeadline(ctx, FUTEX_WAIT_REQUEUE_PI, realtime));
  return Done(ctx.kernel().futexes().WaitRequeuePi(ctx.task(), args, ctx.Addr(4)));
}

}  // namespace

Result<int64_t> SysFutex(SyscallContext& ctx) {
  const uint32_t op = ctx.Uint(1);
  const int command =
      static_cast<int>(op & ~static_cast<uint32_t>(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME));
  const bool is_private = (op & FUTEX_PRIVATE_FLAG) != 0;
  const bool realtime = (op & FUTEX_CLOCK_REALTIME) != 0;
  if (realtime && command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET && command != kLockPi2 &&
      command != FUTEX_WAIT_REQUEUE_PI) {
    return Errno::kNOSYS;
  }
  switch (command) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET: {
      FutexManager::WaitArgs args;
      args.addr = ctx.Addr(0);
      args.is_private = is_private;
      args.expected = ctx.Uint(2);
      if (command == FUTEX_WAIT_BITSET) args.bitset = ctx.Uint(5);
      args.deadline = TRY(WaitDeadline(ctx, command, realtime));
      if (args.bitset == 0) return Errno::kINVAL;
      return Wait(ctx.task(), ctx.call(), args);
    }
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET: {
      const uint32_t bitset = command == FUTEX_WAKE ? FutexManager::kMatchAny : ctx.Uint(5);
      if (bitset == 0) return Errno::kINVAL;
      return int64_t{TRY(ctx.kernel().futexes().Wake(ctx.mm(), ctx.Addr(0), is_private,
                                                     WakeCount(ctx.Int(2)), bitset))};
    }
    case FUTEX_REQUEUE:
      return Requeue(ctx, is_private, RequeueKind::kPlain);
    case FUTEX_CMP_REQUEUE:
      return Requeue(ctx, is_private, RequeueKind::kCompare);
    case FUTEX_CMP_REQUEUE_PI:
      return Requeue(ctx, is_private, RequeueKind::kToLock);
    case FUTEX_WAIT_REQUEUE_PI:
      return WaitRequeuePi(ctx, is_private, realtime);
    case FUTEX_WAKE_OP:
      return WakeOp(ctx, is_private);
    case FUTEX_LOCK_PI:
      return LockPi(ctx, is_private, true);
    case kLockPi2:
      return LockPi(ctx, is_private, realtime);
    case FUTEX_TRYLOCK_PI:
      TRY(ctx.RequireBlocking());
      return Done(ctx.kernel().pi_futexes().TryLock(ctx.task(), ctx.Addr(0), is_private));
    case FUTEX_UNLOCK_PI:
      return Done(ctx.kernel().pi_futexes().Unlock(ctx.task(), ctx.Addr(0), is_private));
    default:
      return Errno::kNOSYS;
  }
}

Result<int64_t> SysFutexWaitv(SyscallContext& ctx) {
  struct Word {
    uint64_t expected, addr;
    uint32_t flags, reserved;
  };
  constexpr uint32_t kSize32 = 2, kMaxWords = 128;
  const uint32_t count = ctx.Uint(1);
  if (ctx.Uint(2) != 0 || count == 0 || count > kMaxWords || ctx.Arg(0) == 0) return Errno::kINVAL;
  Deadline deadline = Deadline::Never();
  if (ctx.Arg(3) != 0) {
    if (ctx.Int(4) != CLOCK_MONOTONIC && ctx.Int(4) != CLOCK_REALTIME) return Errno::kINVAL;
    deadline = TRY(WaitDeadline(ctx, FUTEX_WAIT_BITSET, ctx.Int(4) == CLOCK_REALTIME));
  }
  std::vector<FutexManager::WaitArgs> words;
  for (const Word& word : TRY(ctx.In<Word>(0).LoadArray(ctx.mm(), count, kMaxWords))) {
    if ((word.flags & ~uint32_t{FUTEX_PRIVATE_FLAG}) != kSize32 || word.reserved != 0 ||
        word.expected > UINT32_MAX) {
      return Errno::kINVAL;
    }
    FutexManager::WaitArgs args;
    args.addr = VirtAddr(word.addr);
    args.is_private = (word.flags & FUTEX_PRIVATE_FLAG) != 0;
    args.expected = static_cast<uint32_t>(word.expected);
    words.push_back(args);
  }
  return int64_t{TRY(ctx.kernel().futexes().WaitAny(ctx.task(), words, deadline))};
}

}  // namespace ringfence::sentry
