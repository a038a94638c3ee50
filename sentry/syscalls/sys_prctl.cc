// prctl(2).
#include <linux/prctl.h>

#include <cstring>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSetpcap = 8, kLastCapability = 40;
constexpr uint32_t kSecureKeepCaps = 1 << 4, kSecureNoAmbientRaise = 1 << 6;
constexpr uint32_t kSecureAll = 0xff, kSecureLocks = 0xaa;
constexpr size_t kCommSize = 16;

Credentials CopyOf(SyscallContext& ctx) { return *ctx.call().creds; }

int64_t Commit(SyscallContext& ctx, Credentials next) {
  ctx.task().SetCreds(std::make_shared<const Credentials>(std::move(next)));
  return 0;
}

bool RestIsZero(SyscallContext& ctx, int first) {
  for (int i = first; i < 5; ++i) {
    if (ctx.Arg(i) != 0) return false;
  }
  return true;
}

Result<int64_t> SetName(SyscallContext& ctx) {
  // At most 16 bytes are read; a longer name is cut.
  char name[kCommSize] = {};
  for (size_t i = 0; i + 1 < kCommSize; ++i) {
    TRY(ctx.mm().CopyIn(&name[i], TRY(ctx.Addr(1).Add(i)), 1));
    if (name[i] == '\0') break;
  }
  ctx.task().SetComm(name);
  return int64_t{0};
}

Result<int64_t> GetName(SyscallContext& ctx) {
  char name[kCommSize] = {};
  const std::string comm = ctx.task().comm();
  std::memcpy(name, comm.data(), std::min(comm.size(), kCommSize - 1));
  return Done(ctx.mm().CopyOut(ctx.Addr(1), name, kCommSize));
}

Result<int64_t> SetKeepCaps(SyscallContext& ctx) {
  if (ctx.Arg(1) > 1) return Errno::kINVAL;
  Credentials next = CopyOf(ctx);
  next.securebits &= ~kSecureKeepCaps;
  if (ctx.Arg(1) != 0) next.securebits |= kSecureKeepCaps;
  return Commit(ctx, std::move(next));
}

Result<int64_t> DropBounding(SyscallContext& ctx) {
  if (!ctx.call().creds->HasCapability(kCapSetpcap)) return Errno::kPERM;
  if (ctx.Arg(1) > kLastCapability) return Errno::kINVAL;
  Credentials next = CopyOf(ctx);
  next.bounding &= ~(uint64_t{1} << ctx.Arg(1));
  return Commit(ctx, std::move(next));
}

Result<int64_t> SetSecurebits(SyscallContext& ctx) {
  Credentials next = CopyOf(ctx);
  const uint64_t wanted = ctx.Arg(1);
  if ((wanted & ~uint64_t{kSecureAll}) != 0) return Errno::kPERM;
  const uint32_t locked = (next.securebits & kSecureLocks) >> 1;
  const uint32_t changed = next.securebits ^ static_cast<uint32_t>(wanted);
  if ((changed & locked) != 0 || (next.securebits & kSecureLocks & ~wanted) != 0) {
    return Errno::kPERM;
  }
  if (!next.HasCapability(kCapSetpcap)) return Errno::kPERM;
  next.securebits = static_cast<uint32_t>(wanted);
  return Commit(ctx, std::move(next));
}

Result<int64_t> Ambient(SyscallContext& ctx) {
  Credentials next = CopyOf(ctx);
  if (ctx.Arg(1) == PR_CAP_AMBIENT_CLEAR_ALL) {
    if (!RestIsZero(ctx, 2)) return Errno::kINVAL;
    next.ambient = 0;
    return Commit(ctx, std::move(next));
  }
  if (ctx.Arg(2) > kLastCapability || !RestIsZero(ctx, 3)) return Errno::kINVAL;
  const CapabilitySet bit = uint64_t{1} << ctx.Arg(2);
  switch (ctx.Arg(1)) {
    case PR_CAP_AMBIENT_IS_SET:
      return int64_t{(next.ambient & bit) != 0};
    case PR_CAP_AMBIENT_RAISE:
      if ((next.permitted & next.inheritable & bit) == 0 ||
          (next.securebits & kSecureNoAmbientRaise) != 0) {
        return Errno::kPERM;
      }
      next.ambient |= bit;
      return Commit(ctx, std::move(next));
    case PR_CAP_AMBIENT_LOWER:
      next.ambient &= ~bit;
      return Commit(ctx, std::move(next));
    default:
      return Errno::kINVAL;
  }
}

Result<int64_t> NoNewPrivs(SyscallContext& ctx, bool set) {
  if (!set)
    return RestIsZero(ctx, 1) ? Result<int64_t>(int64_t{ctx.call().creds->no_new_privs})
                              : Errno::kINVAL;
  if (ctx.Arg(1) != 1 || !RestIsZero(ctx, 2)) return Errno::kINVAL;
  Credentials next = CopyOf(ctx);
  next.no_new_privs = true;
  return Commit(ctx, std::move(next));
}

// Options about this process that are one number.
Result<int64_t> ProcessOption(SyscallContext& ctx) {
  ThreadGroup& group = ctx.group();
  switch (ctx.Int(0)) {
    case PR_GET_DUMPABLE:
      return int64_t{group.dumpable};
    case PR_SET_DUMPABLE:
      if (ctx.Arg(1) > 1) return Errno::kINVAL;
      group.dumpable = static_cast<int>(ctx.Arg(1));
      return int64_t{0};
    case PR_SET_CHILD_SUBREAPER:
      group.child_subreaper = ctx.Arg(1) != 0;
      return int64_t{0};
    case PR_GET_CHILD_SUBREAPER:
      return Done(ctx.Out<int32_t>(1).Store(ctx.mm(), group.child_subreaper ? 1 : 0));
    case PR_SET_PDEATHSIG: {
      const SigNo sig = static_cast<SigNo>(ctx.Arg(1));
      if (ctx.Arg(1) > uint64_t{kNumSignals}) return Errno::kINVAL;
      ctx.task().SetParentDeathSignal(sig);
      return int64_t{0};
    }
    case PR_GET_PDEATHSIG:
      return Done(ctx.Out<int32_t>(1).Store(ctx.mm(), ToInt(ctx.task().parent_death_signal())));
    case PR_GET_TIMERSLACK:
      return static_cast<int64_t>(ctx.task().settings().timer_slack_ns);
    case PR_SET_TIMERSLACK: {
      Task::Settings settings = ctx.task().settings();
      const bool reset = ctx.Long(1) <= 0;
      settings.timer_slack_ns = reset ? settings.default_timer_slack_ns : ctx.Arg(1);
      ctx.task().SetSettings(std::move(settings));
      return int64_t{0};
    }
    case PR_GET_TIMING:
      return int64_t{PR_TIMING_STATISTICAL};
    case PR_SET_TIMING:
      return ctx.Arg(1) == PR_TIMING_STATISTICAL ? Result<int64_t>(int64_t{0}) : Errno::kINVAL;
    case PR_GET_TSC:
      return Done(ctx.Out<int32_t>(1).Store(ctx.mm(), PR_TSC_ENABLE));
    case PR_SET_TSC:
      return ctx.Arg(1) == PR_TSC_ENABLE ? Result<int64_t>(int64_t{0}) : Errno::kINVAL;
    case PR_GET_SECCOMP:
      return int64_t{0};
    case PR_GET_THP_DISABLE:
      return RestIsZero(ctx, 1) ? Result<int64_t>(int64_t{0}) : Errno::kINVAL;
    case PR_SET_THP_DISABLE:
      return RestIsZero(ctx, 2) ? Result<int64_t>(int64_t{0}) : Errno::kINVAL;
    default:
      return Errno::kINVAL;
  }
}

}  // namespace

Result<int64_t> SysPrctl(SyscallContext& ctx) {
  switch (ctx.Int(0)) {
    case PR_SET_NAME:
      return SetName(ctx);
    case PR_GET_NAME:
      return GetName(ctx);
    case PR_SET_KEEPCAPS:
      return SetKeepCaps(ctx);
    case PR_GET_KEEPCAPS:
      return int64_t{(ctx.call().creds->securebits & kSecureKeepCaps) != 0};
    case PR_CAPBSET_READ:
      if (ctx.Arg(1) > kLastCapability) return Errno::kINVAL;
      return static_cast<int64_t>((ctx.call().creds->bounding >> ctx.Arg(1)) & 1);
    case PR_CAPBSET_DROP:
      return DropBounding(ctx);
    case PR_GET_SECUREBITS:
      return int64_t{ctx.call().creds->securebits};
    case PR_SET_SECUREBITS:
      return SetSecurebits(ctx);
    case PR_CAP_AMBIENT:
      return Ambient(ctx);
    case PR_SET_NO_NEW_PRIVS:
      return NoNewPrivs(ctx, true);
    case PR_GET_NO_NEW_PRIVS:
      return NoNewPrivs(ctx, false);
    default:
      return ProcessOption(ctx);
  }
}

}  // namespace ringfence::sentry
