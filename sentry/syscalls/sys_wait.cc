// wait4(2), waitid(2), getrusage(2), times(2).
#include <limits>

#include "sentry/fs/pidfd/pidfd.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/time_abi.h"

namespace ringfence::sentry {
namespace {

// wait(2) and waitid(2); <sys/wait.h> brings macros that clash with our own structures.
constexpr uint32_t kWnohang = 1, kWuntraced = 2, kWstopped = 2, kWexited = 4, kWcontinued = 8,
                   kWnowait = 0x01000000;
constexpr uint32_t kPAll = 0, kPPid = 1, kPPgid = 2, kPPidfd = 3;
constexpr uint32_t kWnothread = 0x20000000, kWall = 0x40000000, kWclone = 0x80000000;
constexpr uint32_t kCloneOptions = kWnothread | kWall | kWclone;

void DecodeCloneOptions(uint32_t options, WaitRequest* request) {
  request->own_children_only = (options & kWnothread) != 0;
  request->clone = (options & kWall) != 0     ? WaitRequest::Clone::kAll
                   : (options & kWclone) != 0 ? WaitRequest::Clone::kCloneOnly
                                              : WaitRequest::Clone::kNormal;
}

Result<WaitRequest> DecodeWait4(int32_t pid, uint32_t options) {
  if ((options & ~(kWnohang | kWuntraced | kWcontinued | kCloneOptions)) != 0) return Errno::kINVAL;
  if (pid == std::numeric_limits<int32_t>::min()) return Errno::kSRCH;
  WaitRequest request;
  if (pid > 0) {
    request.which = WaitRequest::Which::kPid;
    request.id = pid;
  } else if (pid != -1) {
    request.which = WaitRequest::Which::kProcessGroup;
    request.id = -pid;
  }
  request.stopped = (options & kWuntraced) != 0;
  request.continued = (options & kWcontinued) != 0;
  request.no_hang = (options & kWnohang) != 0;
  DecodeCloneOptions(options, &request);
  return request;
}

Result<WaitRequest> DecodeWaitid(uint32_t id_type, int32_t id, uint32_t options) {
  constexpr uint32_t kEvents = kWexited | kWstopped | kWcontinued;
  if ((options & ~(kWnohang | kWnowait | kEvents | kCloneOptions)) != 0 ||
      (options & kEvents) == 0) {
    return Errno::kINVAL;
  }
  WaitRequest request;
  switch (id_type) {
    case kPAll:
      break;
    case kPPid:
      if (id <= 0) return Errno::kINVAL;
      request.which = WaitRequest::Which::kPid;
      break;
    case kPPgid:
      if (id < 0) return Errno::kINVAL;
      request.which = WaitRequest::Which::kProcessGroup;
      break;
    case kPPidfd:  // the caller knows whose
      request.which = WaitRequest::Which::kPid;
      break;
    default:
      return Errno::kINVAL;
  }
  request.id = id;
  request.exited = (options & kWexited) != 0;
  request.stopped = (options & kWstopped) != 0;
  request.continued = (options & kWcontinued) != 0;
  request.no_hang = (options & kWnohang) != 0;
  request.no_reap = (options & kWnowait) != 0;
  DecodeCloneOptions(options, &request);
  return request;
}

SigInfo ToSigInfo(const WaitResult& result) {
  SigInfo info;
  if (result.pid == 0) return info;
  info.signo = ToInt(SigNo::kChld);
  info.code = result.si_code;
  info.child = SigInfo::Child{result.pid, result.uid, result.si_status, 0, 0, 0};
  return info;
}

int64_t ToTicks(int64_t ns) { return ns / (kNanosPerSecond / 100); }  // USER_HZ

}  // namespace

Result<int64_t> SysWait4(SyscallContext& ctx) {
  const WaitRequest request = TRY(DecodeWait4(ctx.Int(0), ctx.Uint(2)));
  const WaitResult result = TRY(WaitForChild(ctx.task(), ctx.call(), request));
  if (result.pid == 0) return int64_t{0};
  if (ctx.Arg(1) != 0) TRY(ctx.Out<int32_t>(1).Store(ctx.mm(), result.status));
  if (ctx.Arg(3) != 0) {
    TRY(ctx.Out<GuestRusage>(3).Store(ctx.mm(), ToGuestRusage(result.usage)));
  }
  return int64_t{result.pid};
}

Result<int64_t> SysWaitid(SyscallContext& ctx) {
  WaitRequest request = TRY(DecodeWaitid(ctx.Uint(0), ctx.Int(1), ctx.Uint(3)));
  FileRef process;
  bool would_wait = false;  // a descriptor that does not wait
  if (ctx.Uint(0) == kPPidfd) {
    if (ctx.Int(1) < 0) return Errno::kINVAL;
    process = TRY(ctx.FileArg(1));
    if (process->AsProcess() == nullptr) return Errno::kBADF;
    request.process = process->AsProcess()->process().get();
    would_wait = process->nonblocking() && !request.no_hang;
    request.no_hang |= would_wait;
  }
  const WaitResult result = TRY(WaitForChild(ctx.task(), ctx.call(), request));
  if (result.pid == 0 && would_wait) return Errno::kAGAIN;
  if (ctx.Arg(4) != 0 && result.pid != 0) {
    TRY(ctx.Out<GuestRusage>(4).Store(ctx.mm(), ToGuestRusage(result.usage)));
  }
  if (ctx.Arg(2) != 0) {
    // Only the fields that waitid(2) names are written: signo to code, then pid, uid and status.
    const SigInfo info = ToSigInfo(result);
    TRY(ctx.mm().CopyOut(ctx.Addr(2), &info, 28));
  }
  return int64_t{0};
}

Result<int64_t> SysGetrusage(SyscallContext& ctx) {
  Rusage usage;
  switch (ctx.Int(0)) {
    case 0:
      usage = ctx.group().Usage();
      break;  // RUSAGE_SELF
    case -1:
      usage = ctx.group().ChildrenUsage();
      break;  // RUSAGE_CHILDREN
    case 1:
      usage = ctx.task().Usage();
      break;  // RUSAGE_THREAD
    default:
      return Errno::kINVAL;
  }
  return Done(ctx.Out<GuestRusage>(1).Store(ctx.mm(), ToGuestRusage(usage)));
}

Result<int64_t> SysTimes(SyscallContext& ctx) {
  if (ctx.Arg(0) != 0) {
    const Rusage own = ctx.group().Usage(), children = ctx.group().ChildrenUsage();
    const int64_t ticks[4] = {ToTicks(own.user_ns), ToTicks(own.system_ns),
                              ToTicks(children.user_ns), ToTicks(children.system_ns)};
    TRY(ctx.Out<int64_t>(0).StoreArray(ctx.mm(), ticks, 4));
  }
  return ToTicks(MonotonicNow());
}

}  // namespace ringfence::sentry
