// arch_prctl(2).
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kSetGs = 0x1001, kSetFs = 0x1002, kGetFs = 0x1003, kGetGs = 0x1004;
constexpr int kGetCpuid = 0x1011, kSetCpuid = 0x1012;

Result<int64_t> SetBase(uint64_t* base, VirtAddr addr) {
  if (addr >= platform::kUserEnd) return Errno::kPERM;
  *base = addr.value();
  return int64_t{0};
}

}  // namespace

Result<int64_t> SysArchPrctl(SyscallContext& ctx) {
  platform::ArchState& state = ctx.task().arch();
  switch (ctx.Int(0)) {
    case kSetFs:
      return SetBase(&state.fs_base, ctx.Addr(1));
    case kSetGs:
      return SetBase(&state.gs_base, ctx.Addr(1));
    case kGetFs:
      return Done(ctx.Out<uint64_t>(1).Store(ctx.mm(), state.fs_base));
    case kGetGs:
      return Done(ctx.Out<uint64_t>(1).Store(ctx.mm(), state.gs_base));
    case kGetCpuid:
      return int64_t{1};
    case kSetCpuid:
      return Errno::kNODEV;
    default:
      return Errno::kINVAL;
  }
}

}  // namespace ringfence::sentry
