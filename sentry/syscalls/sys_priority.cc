// getpriority(2), setpriority(2), ioprio_get(2), ioprio_set(2): of a thread, of a process group or
// of a user. Remembered by thread and inherited, without effect: guest threads are host threads of
// ordinary priority.
#include "sentry/syscalls/sys_priority.h"

#include <sys/resource.h>

#include <algorithm>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

enum class Whose : uint8_t { kThread, kGroup, kUser };

// Priorities of I/O: class << 13 | data, of which the low 3 bits are a level and others hints.
constexpr uint32_t kIoClassShift = 13, kIoDataMask = 0x1fff, kIoLevelMask = 7;
constexpr uint32_t kIoNone = 0, kIoRealTime = 1, kIoBestEffort = 2, kIoIdle = 3;

bool InGroup(const ThreadGroup& group, int32_t pgid) {
  return group.PgidOrGone().value_or(0) == pgid;
}

// The threads meant; 0 is the caller or its group. ESRCH when there are none.
Result<std::vector<TaskRef>> Targets(SyscallContext& ctx, Whose whose, int32_t who) {
  if (whose == Whose::kThread) {
    TaskRef task = who == 0 ? ctx.task().shared_from_this() : ctx.kernel().FindTask(who);
    if (task == nullptr) return Errno::kSRCH;
    return std::vector<TaskRef>{std::move(task)};
  }
  const int32_t pgid = who == 0 ? ctx.group().pgid() : who;
  std::vector<TaskRef> found;
  for (const ThreadGroupRef& group : ctx.kernel().ThreadGroups()) {
    if (whose == Whose::kGroup && !InGroup(*group, pgid)) continue;
    for (TaskRef& task : group->Tasks()) {
      if (whose == Whose::kUser && task->creds()->ruid != static_cast<Uid>(who)) continue;
      found.push_back(std::move(task));
    }
  }
  if (found.empty()) return Errno::kSRCH;
  return found;
}

void SetIoPriority(Task& task, uint16_t priority) {
  Task::Settings settings = task.settings();
  settings.io_priority = priority;
  task.SetSettings(std::move(settings));
}

// What counts when none was set: a level by the nice value.
uint16_t EffectiveIoPriority(const Task::Settings& settings) {
  if (settings.io_priority >> kIoClassShift != kIoNone) return settings.io_priority;
  const auto level = static_cast<uint32_t>(settings.nice + 20) / 5;
  return static_cast<uint16_t>(kIoBestEffort << kIoClassShift | level);
}

Result<Whose> IoWhose(int32_t which) {
  switch (which) {
    case 1:
      return Whose::kThread;
    case 2:
      return Whose::kGroup;
    case 3:
      return Whose::kUser;
    default:
      return Errno::kINVAL;
  }
}

Result<Whose> NiceWhose(int32_t which) {
  switch (which) {
    case PRIO_PROCESS:
      return Whose::kThread;
    case PRIO_PGRP:
      return Whose::kGroup;
    case PRIO_USER:
      return Whose::kUser;
    default:
      return Errno::kINVAL;
  }
}

// As Targets; 0 is also the caller's user, which it is not to ioprio_set(2).
Result<std::vector<TaskRef>> NiceTargets(SyscallContext& ctx) {
  const Whose whose = TRY(NiceWhose(ctx.Int(0)));
  const int32_t who = ctx.Int(1);
  const bool own_user = whose == Whose::kUser && who == 0;
  return Targets(ctx, whose, own_user ? static_cast<int32_t>(ctx.call().creds->ruid) : who);
}

}  // namespace

bool MaySchedule(SyscallContext& ctx, const Task& target) {
  const Credentials& mine = *ctx.call().creds;
  const CredentialsRef theirs = target.creds();
  return mine.euid == theirs->euid || mine.euid == theirs->ruid || mine.HasCapability(kCapSysNice);
}

Result<void> SetNice(SyscallContext& ctx, Task& target, int32_t nice) {
  if (!MaySchedule(ctx, target)) return Errno::kPERM;
  Task::Settings settings = target.settings();
  const RLimit limit = target.group().GetLimit(Resource::kNice);
  const bool lower = nice<settings.nice&& static_cast<uint64_t>(20 - nice)> limit.cur;
  if (lower && !ctx.call().creds->HasCapability(kCapSysNice)) return Errno::kACCES;
  settings.nice = nice;
  target.SetSettings(std::move(settings));
  return Ok();
}

Result<int64_t> SysGetpriority(SyscallContext& ctx) {
  int32_t best = 19;
  for (const TaskRef& task : TRY(NiceTargets(ctx))) {
    best = std::min(best, task->settings().nice);
  }
  return int64_t{20 - best};
}

Result<int64_t> SysSetpriority(SyscallContext& ctx) {
  const int32_t nice = std::clamp(ctx.Int(2), -20, 19);
  Result<void> last = Ok();
  for (const TaskRef& task : TRY(NiceTargets(ctx))) {
    const Result<void> set = SetNice(ctx, *task, nice);
    if (!set.ok()) last = set;
  }
  return Done(last);
}

// A thread's own as it was set; of several the best that counts.
Result<int64_t> SysIoprioGet(SyscallContext& ctx) {
  const Whose whose = TRY(IoWhose(ctx.Int(0)));
  const std::vector<TaskRef> tasks = TRY(Targets(ctx, whose, ctx.Int(1)));
  if (whose == Whose::kThread) return int64_t{tasks[0]->settings().io_priority};
  uint16_t best = UINT16_MAX;
  for (const TaskRef& task : tasks) best = std::min(best, EffectiveIoPriority(task->settings()));
  return int64_t{best};
}

Result<int64_t> SysIoprioSet(SyscallContext& ctx) {
  const auto priority = static_cast<uint16_t>(ctx.Uint(2));
  const uint32_t io_class = priority >> kIoClassShift, data = priority & kIoDataMask;
  if (io_class > kIoIdle || (io_class == kIoNone && (data & kIoLevelMask) != 0)) {
    return Errno::kINVAL;
  }
  if (io_class == kIoRealTime && !ctx.call().creds->HasCapability(kCapSysNice)) return Errno::kPERM;
  const Whose whose = TRY(IoWhose(ctx.Int(0)));
  for (const TaskRef& task : TRY(Targets(ctx, whose, ctx.Int(1)))) {
    if (!MaySchedule(ctx, *task)) return Errno::kPERM;
    SetIoPriority(*task, priority);
  }
  return int64_t{0};
}

}  // namespace ringfence::sentry
