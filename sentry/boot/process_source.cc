#include "sentry/boot/process_source.h"

#include <algorithm>
#include <set>

#include "sentry/kernel/thread_group.h"
#include "sentry/mm/shared_pages.h"
#include "sentry/syscalls/table.h"

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
  out->oom_score_adj_min = group.oom_score_adj_min.load(std::memory_order_relaxed);
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
  out->read_calls = usage.read_calls;
  out->read_bytes = usage.read_bytes;
  out->write_calls = usage.write_calls;
  out->written_bytes = usage.written_bytes;
}

// The call that a sleeping task is in.
std::string WaitsIn(Task& task) {
  const std::vector<CallHistory::Call> calls = task.history().Read();
  if (calls.empty() || calls.back().finished) return "";
  const int row = FindSyscall(calls.back().number);
  return row < 0 ? "" : SyscallRows()[row].name;
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
  const Task::Settings settings = task->settings();
  out.nice = settings.nice;
  out.personality = settings.personality;
  for (uint32_t cpu = 0; cpu < cpus_; ++cpu) {
    out.cpus_allowed.push_back(Allows(settings.affinity, cpu));
  }
  out.memory_policy = settings.memory_policy;
  out.start_ns = task->start_time_ns() - kernel_->boot_time_ns();
  FillProcess(task->group(), &out);
  // /proc/PID/stat speaks of the process, /proc/PID/task/TID/stat of the thread; the leader stands
  // for both.
  Rusage usage = task->Usage();
  if (task->IsLeader()) {
    usage = task->group().Usage();
    const Rusage children = task->group().ChildrenUsage();
    usage.read_calls += children.read_calls;
    usage.read_bytes += children.read_bytes;
    usage.write_calls += children.write_calls;
    usage.written_bytes += children.written_bytes;
  }
  FillUsage(usage, &out);
  if (out.state == 'S') out.waits_in = WaitsIn(*task);
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
  out.max_tasks = kernel_->options().max_tasks;
  out.loads = kernel_->LoadAverages();
  out.shared_bytes = AnonymousPages::TotalBytes();
  const Rusage total = kernel_->TotalUsage();
  out.user_ns = total.user_ns;
  out.system_ns = total.system_ns;
  out.switches = total.voluntary_switches + total.involuntary_switches;
  out.minor_faults = total.minor_faults;
  out.major_faults = total.major_faults;
  std::set<uint64_t> spaces;
  for (const ThreadGroupRef& group : kernel_->ThreadGroups()) {
    out.last_pid = std::max(out.last_pid, group->tgid());
    for (const TaskRef& task : group->Tasks()) {
      out.running += task->StateLetter() == 'R' ? 1 : 0;
      const MemoryManagerRef mm = task->mm_ref();
      if (mm == nullptr || !spaces.insert(mm->id()).second) continue;
      const MemoryManager::Usage usage = mm->GetUsage();
      out.table_bytes += usage.table_bytes;
      out.minor_faults += usage.minor_faults;
      out.major_faults += usage.major_faults;
    }
  }
  return out;
}

void ProcessSource::SetComm(int32_t tid, std::string_view name) const {
  if (const TaskRef task = kernel_->FindTask(tid)) task->SetComm(name);
}

void ProcessSource::SetOomScoreAdjust(int32_t tid, int32_t value, AndMinimum minimum) const {
  const TaskRef task = kernel_->FindTask(tid);
  if (task == nullptr) return;
  task->group().oom_score_adj.store(value);
  if (minimum == AndMinimum::kYes) task->group().oom_score_adj_min.store(value);
}

std::vector<MountNamespace::MountInfo> ProcessSource::Mounts(const FsContext& fs) const {
  return mounts_ == nullptr ? std::vector<MountNamespace::MountInfo>() : mounts_->List(fs.root());
}

std::string ProcessSource::SegmentTable() const {
  return segments_ == nullptr ? "" : segments_->Table();
}

std::string ProcessSource::UnixSockets() const {
  return unix_domain_ == nullptr ? std::string() : unix_domain_->Describe();
}

}  // namespace ringfence::sentry
