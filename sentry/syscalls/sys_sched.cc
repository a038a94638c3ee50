// Scheduling: sched_yield(2), affinity, policies, getcpu(2).
// Guest threads are host threads of ordinary priority: real-time policies are refused as without
// CAP_SYS_NICE; fair ones, affinity and nice values are remembered.
#include <sched.h>

#include <algorithm>

#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/struct_arg.h"
#include "sentry/syscalls/sys_priority.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kFlagReset = 1, kFlagKeepPolicy = 8, kFlagKeepParams = 0x10, kFlagsUtil = 0x60,
                   kFlags = 0x7f;  // of struct sched_attr
constexpr int kBatch = 3, kIdle = 5, kDeadline = 6;
constexpr int kResetOnFork = 0x40000000;  // SCHED_RESET_ON_FORK

Result<TaskRef> FindTarget(SyscallContext& ctx, int32_t pid) {
  if (pid < 0) return Errno::kINVAL;
  TaskRef task = pid == 0 ? ctx.task().shared_from_this() : ctx.kernel().FindTask(pid);
  if (task == nullptr) return Errno::kSRCH;
  return task;
}

// sched_getaffinity(2) and sched_setaffinity(2) look for a task of any number.
Result<TaskRef> FindAffinityTarget(SyscallContext& ctx, int32_t pid) {
  if (pid < 0) return Errno::kSRCH;
  return FindTarget(ctx, pid);
}

bool IsFairPolicy(int policy) {
  return policy == SCHED_OTHER || policy == kBatch || policy == kIdle;
}

// sched_setscheduler(2) for a policy and its priority.
Result<void> CheckPolicy(int policy, int priority) {
  if (IsFairPolicy(policy)) return priority == 0 ? Result<void>() : Errno::kINVAL;
  if (policy != SCHED_FIFO && policy != SCHED_RR && policy != kDeadline) return Errno::kINVAL;
  if (policy != kDeadline && (priority < 1 || priority > 99)) return Errno::kINVAL;
  return Errno::kPERM;
}

Result<void> SetPolicy(SyscallContext& ctx, Task& task, int policy, int priority,
                       bool reset_on_fork) {
  TRY(CheckPolicy(policy, priority));
  if (!MaySchedule(ctx, task)) return Errno::kPERM;
  Task::Settings settings = task.settings();
  settings.policy = policy;
  settings.reset_on_fork = reset_on_fork;
  task.SetSettings(std::move(settings));
  return Ok();
}

std::vector<uint8_t> AllCpus(uint32_t cpus) {
  std::vector<uint8_t> mask((cpus + 63) / 64 * 8, 0);
  for (uint32_t i = 0; i < cpus; ++i) mask[i / 8] |= static_cast<uint8_t>(1u << (i % 8));
  return mask;
}

// The structure of sched_setattr(2). E2BIG for a size that is not known, and then the structure
// says which is.
Result<GuestSchedAttr> LoadSchedAttr(SyscallContext& ctx) {
  constexpr uint32_t kFirstSize = 48;
  uint32_t size = TRY(ctx.In<uint32_t>(1).Load(ctx.mm()));
  if (size == 0) size = kFirstSize;
  Result<GuestSchedAttr> attr = Errno::k2BIG;
  if (size >= kFirstSize) {
    attr = LoadStruct<GuestSchedAttr>(ctx.mm(), ctx.Addr(1), size, kFirstSize);
  }
  if (!attr.ok() && attr.error() == Errno::k2BIG) {
    TRY(ctx.Out<uint32_t>(1).Store(ctx.mm(), sizeof(GuestSchedAttr)));
  }
  return attr;
}

// What rseq(2) has told the task, else the host's CPU as far as the affinity allows it.
uint32_t CpuOf(SyscallContext& ctx) {
  if (const std::optional<uint32_t> number = ctx.task().cpu_number()) return *number;
  const uint32_t cpus = ctx.services().cpus;
  const int host = sched_getcpu();
  uint32_t cpu = host < 0 ? 0 : static_cast<uint32_t>(host) % cpus;
  const CpuMask allowed = ctx.task().settings().affinity;
  for (uint32_t tries = 0; tries < cpus && !Allows(allowed, cpu); ++tries) cpu = (cpu + 1) % cpus;
  return cpu;
}

}  // namespace

Result<int64_t> SysSchedYield(SyscallContext&) {
  sched_yield();
  return int64_t{0};
}

Result<int64_t> SysSchedGetaffinity(SyscallContext& ctx) {
  const uint32_t length = ctx.Uint(1), cpus = ctx.services().cpus;
  if (uint64_t{length} * 8 < cpus || length % 8 != 0) return Errno::kINVAL;
  std::vector<uint8_t> mask = TRY(FindAffinityTarget(ctx, ctx.Int(0)))->settings().affinity;
  if (mask.empty()) mask = AllCpus(cpus);
  const size_t n = std::min<size_t>(length, mask.size());
  TRY(ctx.mm().CopyOut(ctx.Addr(2), mask.data(), n));
  return static_cast<int64_t>(n);
}

Result<int64_t> SysSchedSetaffinity(SyscallContext& ctx) {
  std::vector<uint8_t> mask = AllCpus(ctx.services().cpus);
  std::vector<uint8_t> wanted(mask.size());
  TRY(ctx.mm().CopyIn(wanted.data(), ctx.Addr(2), std::min<size_t>(ctx.Uint(1), mask.size())));
  const TaskRef target = TRY(FindAffinityTarget(ctx, ctx.Int(0)));
  if (!MaySchedule(ctx, *target)) return Errno::kPERM;
  bool any = false;
  for (size_t i = 0; i < mask.size(); ++i) any |= (mask[i] &= wanted[i]) != 0;
  if (!any) return Errno::kINVAL;
  Task::Settings settings = target->settings();
  settings.affinity = std::move(mask);
  target->SetSettings(std::move(settings));
  target->RestartRseq();
  return int64_t{0};
}

Result<int64_t> SysSchedSetscheduler(SyscallContext& ctx) {
  if (ctx.Arg(2) == 0 || ctx.Int(1) < 0) return Errno::kINVAL;
  const int32_t priority = TRY(ctx.In<int32_t>(2).Load(ctx.mm()));
  const TaskRef target = TRY(FindTarget(ctx, ctx.Int(0)));
  const bool reset = (ctx.Int(1) & kResetOnFork) != 0;
  return Done(SetPolicy(ctx, *target, ctx.Int(1) & ~kResetOnFork, priority, reset));
}

Result<int64_t> SysSchedGetscheduler(SyscallContext& ctx) {
  const Task::Settings settings = TRY(FindTarget(ctx, ctx.Int(0)))->settings();
  return int64_t{settings.policy | (settings.reset_on_fork ? kResetOnFork : 0)};
}

Result<int64_t> SysSchedSetparam(SyscallContext& ctx) {
  if (ctx.Arg(1) == 0) return Errno::kINVAL;
  const int32_t priority = TRY(ctx.In<int32_t>(1).Load(ctx.mm()));
  TRY(FindTarget(ctx, ctx.Int(0)));
  return Done(CheckPolicy(SCHED_OTHER, priority));
}

Result<int64_t> SysSchedGetparam(SyscallContext& ctx) {
  if (ctx.Arg(1) == 0) return Errno::kINVAL;
  TRY(FindTarget(ctx, ctx.Int(0)));
  return Done(ctx.Out<int32_t>(1).Store(ctx.mm(), 0));
}

Result<int64_t> SysSchedGetPriorityMax(SyscallContext& ctx) {
  const int policy = ctx.Int(0);
  if (policy == SCHED_FIFO || policy == SCHED_RR) return int64_t{99};
  if (IsFairPolicy(policy) || policy == kDeadline) return int64_t{0};
  return Errno::kINVAL;
}

Result<int64_t> SysSchedGetPriorityMin(SyscallContext& ctx) {
  const int policy = ctx.Int(0);
  if (policy == SCHED_FIFO || policy == SCHED_RR) return int64_t{1};
  if (IsFairPolicy(policy) || policy == kDeadline) return int64_t{0};
  return Errno::kINVAL;
}

Result<int64_t> SysSchedRrGetInterval(SyscallContext& ctx) {
  TRY(FindTarget(ctx, ctx.Int(0)));
  return Done(ctx.Out<Timespec>(1).Store(ctx.mm(), Timespec{0, 4'000'000}));
}

Result<int64_t> SysSchedSetattr(SyscallContext& ctx) {
  if (ctx.Arg(1) == 0 || ctx.Int(0) < 0 || ctx.Uint(2) != 0) return Errno::kINVAL;
  const GuestSchedAttr attr = TRY(LoadSchedAttr(ctx));
  const TaskRef target = TRY(FindTarget(ctx, ctx.Int(0)));
  if ((attr.flags & ~kFlags) != 0) return Errno::kINVAL;
  if ((attr.flags & kFlagsUtil) != 0) return Errno::kOPNOTSUPP;
  const Task::Settings before = target->settings();
  const bool keep_policy = (attr.flags & kFlagKeepPolicy) != 0;
  const int policy = keep_policy ? before.policy : static_cast<int>(attr.policy);
  TRY(SetPolicy(ctx, *target, policy, static_cast<int>(attr.priority),
                (attr.flags & kFlagReset) != 0));
  if ((attr.flags & kFlagKeepParams) != 0) return int64_t{0};
  return Done(SetNice(ctx, *target, std::clamp(attr.nice, -20, 19)));
}

Result<int64_t> SysSchedGetattr(SyscallContext& ctx) {
  constexpr uint32_t kSize = sizeof(GuestSchedAttr);
  const uint32_t size = ctx.Uint(2);
  if (ctx.Arg(1) == 0 || size < 48 || size > kPageSize || ctx.Uint(3) != 0) return Errno::kINVAL;
  const TaskRef target = TRY(FindTarget(ctx, ctx.Int(0)));
  GuestSchedAttr attr = {};
  attr.size = std::min(size, kSize);
  const Task::Settings settings = target->settings();
  attr.policy = static_cast<uint32_t>(settings.policy);
  attr.flags = settings.reset_on_fork ? kFlagReset : 0;
  attr.nice = settings.nice;
  attr.util_max = 1024;
  TRY(ctx.mm().CopyOut(ctx.Addr(1), &attr, attr.size));
  return int64_t{0};
}

Result<int64_t> SysGetcpu(SyscallContext& ctx) {
  const uint32_t cpu = CpuOf(ctx);
  if (ctx.Arg(0) != 0) TRY(ctx.Out<uint32_t>(0).Store(ctx.mm(), cpu));
  if (ctx.Arg(1) != 0) TRY(ctx.Out<uint32_t>(1).Store(ctx.mm(), 0));
  return int64_t{0};
}

}  // namespace ringfence::sentry
