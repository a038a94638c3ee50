// Interval timers (setitimer(2), alarm(2)) and POSIX timers (timer_create(2)).
#include <time.h>

#include "sentry/kernel/timers.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/time_abi.h"

namespace ringfence::sentry {
namespace {

Result<ITimerKind> DecodeKind(uint32_t which) {
  if (which > 2) return Errno::kINVAL;
  return static_cast<ITimerKind>(which);
}

GuestItimerval ToItimerval(const TimerValue& value) {
  return {ToTimeval(value.interval_ns), ToTimeval(value.value_ns)};
}

Result<TimerEvent> DecodeEvent(const GuestSigevent& e) {
  constexpr int32_t kSignal = 0, kNone = 1, kThread = 2, kThreadId = 4;
  TimerEvent event;
  event.value = e.value;
  event.sig = static_cast<SigNo>(e.signo);
  switch (e.notify) {
    case kNone:
      event.notify = TimerEvent::Notify::kNone;
      return event;
    case kSignal:
    case kThread:
      event.notify = TimerEvent::Notify::kSignal;
      break;
    case kThreadId:
      event.notify = TimerEvent::Notify::kThreadId;
      event.tid = e.tid;
      break;
    default:
      return Errno::kINVAL;
  }
  if (!IsValid(event.sig)) return Errno::kINVAL;
  return event;
}

}  // namespace

Result<int64_t> SysGetitimer(SyscallContext& ctx) {
  const ITimerKind kind = TRY(DecodeKind(ctx.Uint(0)));
  const TimerValue value = ctx.group().timers().GetITimer(kind);
  return Done(ctx.Out<GuestItimerval>(1).Store(ctx.mm(), ToItimerval(value)));
}

Result<int64_t> SysSetitimer(SyscallContext& ctx) {
  TimerValue value;
  if (ctx.Arg(1) != 0) {
    const GuestItimerval wanted = TRY(ctx.In<GuestItimerval>(1).Load(ctx.mm()));
    value.value_ns = TRY(TimevalToNanos(wanted.value));
    value.interval_ns = TRY(TimevalToNanos(wanted.interval));
  }
  const ITimerKind kind = TRY(DecodeKind(ctx.Uint(0)));
  const TimerValue old = ctx.group().timers().SetITimer(kind, value);
  if (ctx.Arg(2) != 0) TRY(ctx.Out<GuestItimerval>(2).Store(ctx.mm(), ToItimerval(old)));
  return int64_t{0};
}

Result<int64_t> SysAlarm(SyscallContext& ctx) {
  const TimerValue value{int64_t{ctx.Uint(0)} * kNanosPerSecond, 0};
  const int64_t left = ctx.group().timers().SetITimer(ITimerKind::kReal, value).value_ns;
  const int64_t seconds = left / kNanosPerSecond, rest = left % kNanosPerSecond;
  // Rounded to the nearest second, but never to "no alarm".
  const bool up = rest >= kNanosPerSecond / 2 || (seconds == 0 && rest != 0);
  return seconds + (up ? 1 : 0);
}

Result<int64_t> SysTimerCreate(SyscallContext& ctx) {
  TimerEvent event;
  event.value_is_timer_id = ctx.Arg(1) == 0;
  if (ctx.Arg(1) != 0) event = TRY(DecodeEvent(TRY(ctx.In<GuestSigevent>(1).Load(ctx.mm()))));
  ProcessTimers& timers = ctx.group().timers();
  const int32_t id = TRY(timers.Create(ctx.task(), ctx.Int(0), event));
  const Result<void> stored = ctx.Out<int32_t>(2).Store(ctx.mm(), id);
  if (!stored.ok()) (void)timers.Delete(id);
  return Done(stored);
}

Result<int64_t> SysTimerSettime(SyscallContext& ctx) {
  if (ctx.Arg(2) == 0) return Errno::kINVAL;
  const TimerValue value = TRY(ToTimerValue(TRY(ctx.In<GuestItimerspec>(2).Load(ctx.mm()))));
  const bool absolute = (ctx.Uint(1) & TIMER_ABSTIME) != 0;
  const TimerValue old = TRY(ctx.group().timers().Set(ctx.Int(0), absolute, value));
  if (ctx.Arg(3) != 0) TRY(ctx.Out<GuestItimerspec>(3).Store(ctx.mm(), ToItimerspec(old)));
  return int64_t{0};
}

Result<int64_t> SysTimerGettime(SyscallContext& ctx) {
  const TimerValue value = TRY(ctx.group().timers().Get(ctx.Int(0)));
  return Done(ctx.Out<GuestItimerspec>(1).Store(ctx.mm(), ToItimerspec(value)));
}

Result<int64_t> SysTimerGetoverrun(SyscallContext& ctx) {
  return int64_t{TRY(ctx.group().timers().Overrun(ctx.Int(0)))};
}

Result<int64_t> SysTimerDelete(SyscallContext& ctx) {
  return Done(ctx.group().timers().Delete(ctx.Int(0)));
}

}  // namespace ringfence::sentry
