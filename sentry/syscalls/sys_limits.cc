// getrlimit(2), setrlimit(2), prlimit64(2).
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMaxFiles = 1 << 20;  // fs.nr_open

Result<Resource> DecodeResource(uint32_t number) {
  if (number >= kNumResources) return Errno::kINVAL;
  return static_cast<Resource>(number);
}

Result<RLimit> SetLimitOf(SyscallContext& ctx, ThreadGroup& target, Resource resource,
                          const RLimit& limit) {
  if (limit.cur > limit.max) return Errno::kINVAL;
  if (resource == Resource::kNofile && limit.max > kMaxFiles) return Errno::kPERM;
  // A timer that is taken away is waited for.
  if (resource == Resource::kCpu) TRY(ctx.RequireBlocking());
  return target.SetLimit(*ctx.call().creds, resource, limit);
}

}  // namespace

Result<int64_t> SysGetrlimit(SyscallContext& ctx) {
  const Resource resource = TRY(DecodeResource(ctx.Uint(0)));
  return Done(ctx.Out<RLimit>(1).Store(ctx.mm(), ctx.group().GetLimit(resource)));
}

Result<int64_t> SysSetrlimit(SyscallContext& ctx) {
  const RLimit limit = TRY(ctx.In<RLimit>(1).Load(ctx.mm()));
  const Resource resource = TRY(DecodeResource(ctx.Uint(0)));
  TRY(SetLimitOf(ctx, ctx.group(), resource, limit));
  return int64_t{0};
}

Result<int64_t> SysPrlimit64(SyscallContext& ctx) {
  const Resource resource = TRY(DecodeResource(ctx.Uint(1)));
  RLimit limit;
  if (ctx.Arg(2) != 0) limit = TRY(ctx.In<RLimit>(2).Load(ctx.mm()));
  ThreadGroupRef target = ctx.task().group_ref();
  if (ctx.Int(0) != 0) {
    // Another process may end meanwhile, and its memory with the reference to it that is held here.
    TRY(ctx.RequireBlocking());
    const TaskRef task = ctx.kernel().FindTask(ctx.Int(0));
    if (task == nullptr) return Errno::kSRCH;
    target = task->group_ref();
    TRY(ctx.kernel().CheckLimitAccess(ctx.task(), *target));
  }
  RLimit old = target->GetLimit(resource);
  if (ctx.Arg(2) != 0) old = TRY(SetLimitOf(ctx, *target, resource, limit));
  if (ctx.Arg(3) != 0) TRY(ctx.Out<RLimit>(3).Store(ctx.mm(), old));
  return int64_t{0};
}

}  // namespace ringfence::sentry
