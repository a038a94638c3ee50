// timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).
#include <fcntl.h>
#include <time.h>

#include "sentry/fs/timerfd/timerfd.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/time_abi.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapWakeAlarm = 35;
constexpr uint32_t kAbsolute = 1, kCancelOnSet = 2;  // TFD_TIMER_*

struct ClockChoice {
  Deadline::Clock clock;
  bool boottime = false, alarm = false;
};

Result<ClockChoice> ChooseClock(int32_t id) {
  switch (id) {
    case CLOCK_REALTIME:
      return ClockChoice{Deadline::Clock::kRealtime};
    case CLOCK_MONOTONIC:
      return ClockChoice{Deadline::Clock::kMonotonic};
    case CLOCK_BOOTTIME:
      return ClockChoice{Deadline::Clock::kMonotonic, true};
    case CLOCK_REALTIME_ALARM:
      return ClockChoice{Deadline::Clock::kRealtime, false, true};
    case CLOCK_BOOTTIME_ALARM:
      return ClockChoice{Deadline::Clock::kMonotonic, true, true};
    default:
      return Errno::kINVAL;
  }
}

// Keeps the file alive that the timer is.
struct TimerRef {
  FileRef file;
  TimerFd* timer;
};

Result<TimerRef> TimerArg(SyscallContext& ctx) {
  TimerRef ref{TRY(ctx.FileArg(0)), nullptr};
  ref.timer = ref.file->AsTimer();
  if (ref.timer == nullptr) return Errno::kINVAL;
  return ref;
}

}  // namespace

Result<int64_t> SysTimerfdCreate(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(1);
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) != 0) return Errno::kINVAL;
  const ClockChoice choice = TRY(ChooseClock(ctx.Int(0)));
  if (choice.alarm && !ctx.call().creds->HasCapability(kCapWakeAlarm)) return Errno::kPERM;
  TimerQueue& queue = ctx.task().kernel().timers();
  return ctx.InstallFd(
      std::make_shared<TimerFd>(&queue, choice.clock, choice.boottime, flags & O_NONBLOCK),
      (flags & O_CLOEXEC) != 0);
}

Result<int64_t> SysTimerfdSettime(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(1);
  const GuestItimerspec wanted = TRY(ctx.In<GuestItimerspec>(2).Load(ctx.mm()));
  if ((flags & ~(kAbsolute | kCancelOnSet)) != 0) return Errno::kINVAL;
  const TimerValue value = TRY(ToTimerValue(wanted));
  const TimerRef ref = TRY(TimerArg(ctx));
  const TimerValue old = ref.timer->Set((flags & kAbsolute) != 0, value);
  if (ctx.Arg(3) != 0) TRY(ctx.Out<GuestItimerspec>(3).Store(ctx.mm(), ToItimerspec(old)));
  return int64_t{0};
}

Result<int64_t> SysTimerfdGettime(SyscallContext& ctx) {
  const TimerRef ref = TRY(TimerArg(ctx));
  return Done(ctx.Out<GuestItimerspec>(1).Store(ctx.mm(), ToItimerspec(ref.timer->Get())));
}

}  // namespace ringfence::sentry
