// Clocks and sleeping: clock_gettime(2), gettimeofday(2), time(2), nanosleep(2),
// clock_nanosleep(2).
#include <time.h>

#include "sentry/kernel/deadline.h"
#include "sentry/loader/vdso/vdso.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/time_abi.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kCoarseResolution = 4'000'000;  // a tick of a 250 Hz kernel

// A CPU clock named by a negative id (clock_getcpuclockid(3)): ~pid << 3 | per-thread bit | kind.
struct CpuClock {
  int32_t id;  // 0 = the caller
  bool thread;
};

Result<CpuClock> DecodeCpuClock(int32_t clock) {
  if ((clock & 3) == 3) return Errno::kINVAL;  // a clock descriptor; none can be opened
  return CpuClock{~(clock >> 3), (clock & 4) != 0};
}

Result<int64_t> ReadCpuClock(Task& task, const CpuClock& clock) {
  if (clock.id == 0) return clock.thread ? task.CpuTimeNs() : task.group().CpuTimeNs();
  if (clock.thread) {
    const TaskRef other = task.kernel().FindTask(clock.id);
    if (other == nullptr || &other->group() != &task.group()) return Errno::kINVAL;
    return other->CpuTimeNs();
  }
  const ThreadGroupRef group = task.kernel().FindThreadGroup(clock.id);
  if (group == nullptr) return Errno::kINVAL;
  return group->CpuTimeNs();
}

bool IsHostClock(int32_t clock) {
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_TAI:
      return true;
    default:
      return false;
  }
}

Result<Timespec> ReadClock(Task& task, int32_t clock) {
  if (IsHostClock(clock)) {
    // The same conversion as the vDSO's: a call never says less than what ring 3 has just read.
    if (const Vdso* vdso = task.kernel().options().vdso) {
      const Result<int64_t> now = vdso->time().Now(clock);
      if (now.ok()) return FromNanos(*now);
    }
    timespec now;
    if (clock_gettime(clock, &now) != 0) return LastHostErrno();
    return Timespec{now.tv_sec, now.tv_nsec};
  }
  if (clock == CLOCK_PROCESS_CPUTIME_ID) return FromNanos(task.group().CpuTimeNs());
  if (clock == CLOCK_THREAD_CPUTIME_ID) return FromNanos(task.CpuTimeNs());
  if (clock >= 0) return Errno::kINVAL;
  return FromNanos(TRY(ReadCpuClock(task, TRY(DecodeCpuClock(clock)))));
}

// Sleeps to the deadline. kRESTARTSYS when interrupted.
Result<void> SleepUntil(Task& task, const Deadline& deadline) {
  while (true) {
    const Result<void> slept = task.Block(deadline);
    if (slept.ok()) continue;
    if (slept.error() == Errno::kTIMEDOUT) return Ok();
    return slept.error();
  }
}

// A relative sleep: an interruption stores what is left and goes on by restart_syscall(2).
Result<int64_t> SleepRelative(Task& task, const Deadline& deadline, GuestOut<Timespec> remaining) {
  const Result<void> slept = SleepUntil(task, deadline);
  if (slept.ok()) return int64_t{0};
  if (!remaining.is_null()) TRY(remaining.Store(task.mm(), FromNanos(deadline.Remaining())));
  task.SetRestart([deadline, remaining](Task& self) -> int64_t {
    const Result<int64_t> again = SleepRelative(self, deadline, remaining);
    return again.ok() ? *again : -static_cast<int64_t>(again.error());
  });
  return Errno::kRESTART_RESTARTBLOCK;
}

// Sleeping on the CPU clock of the process: other threads make it advance.
Result<int64_t> SleepOnCpuClock(Task& task, int64_t until) {
  while (true) {
    const int64_t left = until - task.group().CpuTimeNs();
    if (left <= 0) return int64_t{0};
    const Result<void> slept = SleepUntil(task, Deadline::After(left));
    if (!slept.ok()) return Errno::kRESTARTNOHAND;
  }
}

Result<void> CheckSleepClock(int32_t clock) {
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
    case CLOCK_TAI:
    case CLOCK_PROCESS_CPUTIME_ID:
      return Ok();
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_THREAD_CPUTIME_ID:
      return Errno::kOPNOTSUPP;
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
      return Errno::kPERM;
    default:
      return Errno::kINVAL;
  }
}

Result<Deadline> AbsoluteDeadline(int32_t clock, int64_t ns) {
  if (clock == CLOCK_REALTIME) return Deadline::AtRealtime(ns);
  if (clock == CLOCK_MONOTONIC) return Deadline::AtMonotonic(ns);
  timespec now;
  if (clock_gettime(clock, &now) != 0) return LastHostErrno();
  const int64_t now_ns = now.tv_sec * kNanosPerSecond + now.tv_nsec;
  return Deadline::After(ns > now_ns ? ns - now_ns : 0);
}

}  // namespace

Result<int64_t> SysClockGettime(SyscallContext& ctx) {
  const Timespec now = TRY(ReadClock(ctx.task(), ctx.Int(0)));
  return Done(ctx.Out<Timespec>(1).Store(ctx.mm(), now));
}

Result<int64_t> SysClockGetres(SyscallContext& ctx) {
  const int32_t clock = ctx.Int(0);
  TRY(ReadClock(ctx.task(), clock));
  const bool coarse = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE;
  if (ctx.Arg(1) == 0) return int64_t{0};
  return Done(ctx.Out<Timespec>(1).Store(ctx.mm(), Timespec{0, coarse ? kCoarseResolution : 1}));
}

Result<int64_t> SysClockSettime(SyscallContext& ctx) {
  const Timespec wanted = TRY(ctx.In<Timespec>(1).Load(ctx.mm()));
  TRY(ToNanos(wanted));
  return ctx.Int(0) == CLOCK_REALTIME ? Errno::kPERM : Errno::kINVAL;
}

Result<int64_t> SysGettimeofday(SyscallContext& ctx) {
  if (ctx.Arg(0) != 0) {
    TRY(ctx.Out<GuestTimeval>(0).Store(ctx.mm(), ToTimeval(RealtimeNow())));
  }
  if (ctx.Arg(1) != 0) {
    const int32_t timezone[2] = {0, 0};
    TRY(ctx.Out<int32_t>(1).StoreArray(ctx.mm(), timezone, 2));
  }
  return int64_t{0};
}

Result<int64_t> SysTime(SyscallContext& ctx) {
  const int64_t now = RealtimeNow() / kNanosPerSecond;
  if (ctx.Arg(0) != 0) TRY(ctx.Out<int64_t>(0).Store(ctx.mm(), now));
  return now;
}

Result<int64_t> SysNanosleep(SyscallContext& ctx) {
  const int64_t ns = TRY(ToNanos(TRY(ctx.In<Timespec>(0).Load(ctx.mm()))));
  return SleepRelative(ctx.task(), Deadline::After(ns), ctx.Out<Timespec>(1));
}

Result<int64_t> SysClockNanosleep(SyscallContext& ctx) {
  const int32_t clock = ctx.Int(0);
  TRY(CheckSleepClock(clock));
  const int64_t ns = TRY(ToNanos(TRY(ctx.In<Timespec>(2).Load(ctx.mm()))));
  const bool absolute = (ctx.Uint(1) & TIMER_ABSTIME) != 0;
  if (clock == CLOCK_PROCESS_CPUTIME_ID) {
    const int64_t start = absolute ? 0 : ctx.group().CpuTimeNs();
    return SleepOnCpuClock(ctx.task(), SaturatingAdd(start, ns));
  }
  if (!absolute) return SleepRelative(ctx.task(), Deadline::After(ns), ctx.Out<Timespec>(3));
  const Result<void> slept = SleepUntil(ctx.task(), TRY(AbsoluteDeadline(clock, ns)));
  if (!slept.ok()) return Errno::kRESTARTNOHAND;
  return int64_t{0};
}

}  // namespace ringfence::sentry
