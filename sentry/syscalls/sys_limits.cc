// getrlimit(2), setrlimit(2), prlimit64(2).
#include <algorithm>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMaxFiles = 1 << 20;  // fs.nr_open

Result<Resource> DecodeResource(uint32_t number) {
  if (number >= kNumResources) return Errno::kINVAL;
  return static_cast<Resource>(number);
}

// Limits that others enforce have to be told.
void Propagate(MemoryManager& mm, const ThreadGroup& group) {
  MemoryManager::Limits limits;
  limits.address_space = group.GetLimit(Resource::kAs).cur;
  limits.data = group.GetLimit(Resource::kData).cur;
  limits.stack = group.GetLimit(Resource::kStack).cur;
  mm.SetLimits(limits);
}

Result<RLimit> SetLimitOf(SyscallContext& ctx, ThreadGroup& target, Resource resource,
                          const RLimit& limit) {
  if (limit.cur > limit.max) return Errno::kINVAL;
  if (resource == Resource::kNofile && limit.max > kMaxFiles) return Errno::kPERM;
  const RLimit old = TRY(target.SetLimit(*ctx.call().creds, resource, limit));
  if (resource == Resource::kCpu) target.timers().WatchCpuLimit(limit.cur, limit.max);
  const TaskRef leader = target.leader();
  const MemoryManagerRef mm = leader == nullptr ? nullptr : leader->mm_ref();
  if (mm != nullptr) Propagate(*mm, target);
  return old;
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
