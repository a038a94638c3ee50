#include "sentry/boot/process_source.h"

#include <algorithm>

#include "sentry/kernel/thread_group.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

void FillProcess(const ThreadGroup& group, TaskSnapshot* out) {
  out->tgid = group.tgid();
  out->ppid = group.ppid();
  out->pgid = group.PgidOrGone().value_or(0);
  out->sid = group.SidOrGone().value_or(0);
  const ThreadGroup::Terminal terminal = group.terminal();
  out->tty_device = terminal.device;
  out->foreground_pgid = terminal.foreground_pgid;
  out->threads = static_cast<uint32_t>(std::max<size_t>(group.NumTasks(), 1));
  out->oom_score_adj = group.oom_score_adj.load(std::memory_order_relaxed);
  const Rusage children = group.ChildrenUsage();
  out->children_user_ns = children.user_ns;
  out->children_system_ns = children.system_ns;
  for (uint32_t i = 0; i < kNumResources; ++i) {
    const RLimit limit = group.GetLimit(static_cast<Resource>(i));
    out->limits[i] = {.soft = limit.cur, .hard = limit.max};
  }
}

void FillUsage(const Rusage& usage, TaskSnapshot* out) {
  out->user_ns = usage.user_ns;
  out->system_ns = usage.system_ns;
  out->minor_faults = usage.minor_faults;
  out->major_faults = usage.major_faults;
  out->voluntary_switches = usage.voluntary_switches;
  out->involuntary_switches = usage.involuntary_switches;
}

void FillSignals(const Task& task, TaskSnapshot* out) {
  const Task::SignalState signals = task.GetSignalState();
  out->pending = signals.pending.bits;
  out->group_pending = signals.group_pending.bits;
  out->blocked = signals.blocked.bits;
  out->ignored = signals.ignored.bits;
  out->caught = signals.caught.bits;
  out->queued_signals = signals.queued;
}

}  // namespace

std::vector<int32_t> ProcessSource::Processes() const {
  std::vector<int32_t> numbers;
  for (const ThreadGroupRef& group : kernel_->ThreadGroups()) numbers.push_back(group->tgid());
  return numbers;
}

std::vector<int32_t> ProcessSource::Threads(int32_t tgid) const {
  std::vector<int32_t> numbers;
  const ThreadGroupRef group = kernel_->FindThreadGroup(tgid);
  if (group == nullptr) return numbers;
  for (const TaskRef& task : group->Tasks()) numbers.push_back(task->tid());
  // A leader that has ended still stands for its group.
  if (numbers.empty() || numbers.front() != tgid) numbers.insert(numbers.begin(), tgid);
  return numbers;
}

std::optional<TaskSnapshot> ProcessSource::Find(int32_t tid) const {
  const TaskRef task = kernel_->FindTask(tid);
  if (task == nullptr) return std::nullopt;
  TaskSnapshot out;
  out.tid = task->tid();
  out.state = task->StateLetter();
  out.comm = task->comm();
  out.creds = task->creds();
  out.mm = task->mm_ref();
  out.fds = task->fds_ref();
  out.fs = task->fs_ref();
  out.nice = task->settings().nice;
  out.start_ns = task->start_time_ns() - kernel_->boot_time_ns();
  FillProcess(task->group(), &out);
  // /proc/PID/stat speaks of the process, /proc/PID/task/TID/stat of the thread; the leader stands
  // for both.
  FillUsage(task->IsLeader() ? task->group().Usage() : task->Usage(), &out);
  FillSignals(*task, &out);
  return out;
}

SystemSnapshot ProcessSource::System() const {
  SystemSnapshot out;
  out.hostname = kernel_->hostname();
  out.domainname = kernel_->domainname();
  out.uptime_ns = MonotonicNow() - kernel_->boot_time_ns();
  out.boot_realtime_sec = kernel_->boot_realtime_ns() / kSecond;
  out.memory_bytes = memory_bytes_;
  const uint64_t used = kernel_->platform().memory().GetStats().anonymous_bytes;
  out.memory_free_bytes = memory_bytes_ - std::min(used, memory_bytes_);
  out.cpus = cpus_;
  out.forks = kernel_->forks();
  out.tasks = static_cast<uint32_t>(kernel_->NumTasks());
  for (const ThreadGroupRef& group : kernel_->ThreadGroups()) {
    const Rusage usage = group->Usage();
    out.user_ns += usage.user_ns;
    out.system_ns += usage.system_ns;
    out.last_pid = std::max(out.last_pid, group->tgid());
    for (const TaskRef& task : group->Tasks()) out.running += task->StateLetter() == 'R' ? 1 : 0;
  }
  return out;
}

void ProcessSource::SetComm(int32_t tid, std::string_view name) const {
  if (const TaskRef task = kernel_->FindTask(tid)) task->SetComm(name);
}

void ProcessSource::SetOomScoreAdjust(int32_t tid, int32_t value) const {
  if (const TaskRef task = kernel_->FindTask(tid)) task->group().oom_score_adj.store(value);
}

std::vector<MountNamespace::MountInfo> ProcessSource::Mounts(const FsContext& fs) const {
  return mounts_ == nullptr ? std::vector<MountNamespace::MountInfo>() : mounts_->List(fs.root());
}

std::string ProcessSource::UnixSockets() const {
  return unix_domain_ == nullptr ? std::string() : unix_domain_->Describe();
}

}  // namespace ringfence::sentry
