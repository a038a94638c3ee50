// rseq(2) and membarrier(2).
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kOffered = MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_PRIVATE_EXPEDITED |
                             MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                             MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ |
                             MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;

// Every thread of the process that runs is out of its critical section when this returns; with
// `cpu` >= 0 those on that CPU.
void RestartSections(ThreadGroup& group, int64_t cpu) {
  constexpr int kPollMicros = 20;
  std::vector<TaskRef> told;
  for (const TaskRef& task : group.Tasks()) {
    const std::optional<uint32_t> number = task->cpu_number();
    if (!number.has_value() || (cpu >= 0 && *number != cpu)) continue;
    task->RestartRseq();
    told.push_back(task);
  }
  for (const TaskRef& task : told) {
    while (!task->RseqRestarted()) usleep(kPollMicros);
  }
}

// Guest threads are threads of this process, in the guest or not, so the host's barrier covers
// them.
Result<int64_t> HostBarrier() {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0) return LastHostErrno();
  return int64_t{0};
}

}  // namespace

Result<int64_t> SysRseq(SyscallContext& ctx) {
  const RseqArea area{.address = ctx.Addr(0), .length = ctx.Uint(1), .signature = ctx.Uint(3)};
  constexpr int kUnregister = 1;  // RSEQ_FLAG_UNREGISTER
  const int flags = ctx.Int(2);
  if (flags == kUnregister) return Done(ctx.task().UnregisterRseq(area));
  if (flags != 0) return Errno::kINVAL;
  return Done(ctx.task().RegisterRseq(area));
}

Result<int64_t> SysMembarrier(SyscallContext& ctx) {
  const bool restarts = ctx.Int(0) == MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ;
  const uint32_t flags = ctx.Uint(1);
  if (flags != 0 && !(restarts && flags == MEMBARRIER_CMD_FLAG_CPU)) return Errno::kINVAL;
  switch (ctx.Int(0)) {
    case MEMBARRIER_CMD_QUERY:
      return kOffered;
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
      ctx.group().membarrier_registered.store(true);
      return int64_t{0};
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ:
      ctx.group().membarrier_rseq_registered.store(true);
      return int64_t{0};
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
      if (!ctx.group().membarrier_registered.load()) return Errno::kPERM;
      return HostBarrier();
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ:
      if (!ctx.group().membarrier_rseq_registered.load()) return Errno::kPERM;
      if (flags != 0 && ctx.Int(2) < 0) return int64_t{0};
      RestartSections(ctx.group(), flags != 0 ? ctx.Int(2) : -1);
      return int64_t{0};
    case MEMBARRIER_CMD_GLOBAL:
      return HostBarrier();
    default:
      return Errno::kINVAL;
  }
}

}  // namespace ringfence::sentry
