#include "sentry/kernel/thread_group.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/reaper.h"
#include "sentry/kernel/signal_sender.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysResource = 24;

}  // namespace

ThreadGroup::ThreadGroup(Kernel* kernel, int32_t tgid)
    : kernel_(kernel), tgid_(tgid), timers_(this), cpu_numbers_(kernel->options().cpus) {}

ThreadGroup::~ThreadGroup() = default;

int32_t ThreadGroup::ppid() const {
  absl::MutexLock lock(&task_tree_mutex);
  return parent_ == nullptr ? 0 : parent_->tgid_;
}

TaskRef ThreadGroup::leader() const {
  absl::MutexLock lock(&task_tree_mutex);
  return leader_;
}

std::vector<TaskRef> ThreadGroup::Tasks() const {
  absl::MutexLock lock(&task_tree_mutex);
  std::vector<TaskRef> tasks;
  for (Task* task : tasks_) tasks.push_back(task->shared_from_this());
  return tasks;
}

size_t ThreadGroup::NumTasks() const {
  absl::MutexLock lock(&task_tree_mutex);
  return tasks_.size();
}

std::vector<ThreadGroupRef> ThreadGroup::Children() const {
  absl::MutexLock lock(&task_tree_mutex);
  std::vector<ThreadGroupRef> children;
  for (ThreadGroup* child : children_) children.push_back(child->shared_from_this());
  return children;
}

bool ThreadGroup::IsZombie() const {
  absl::MutexLock lock(&task_tree_mutex);
  return zombie_;
}

bool ThreadGroup::HasExeced() const {
  absl::MutexLock lock(&task_tree_mutex);
  return execed_;
}

// --- signals ---

Result<SigAction> ThreadGroup::SetAction(SigNo sig, const SigAction* action) {
  if (!IsValid(sig)) return Errno::kINVAL;
  if (action != nullptr && kUnblockableSignals.Has(sig)) return Errno::kINVAL;
  absl::MutexLock lock(&task_tree_mutex);
  const SigAction old = actions_->Get(sig);
  if (action == nullptr) return old;
  SigAction stored = *action;
  stored.mask = stored.mask & ~kUnblockableSignals;
  stored.flags &= ~kSaUnsupported;
  actions_->Set(sig, stored);
  if (actions_->IsIgnored(sig)) {
    pending_.Discard(SigSet::Of(sig));
    for (Task* task : tasks_) task->pending_.Discard(SigSet::Of(sig));
  }
  return old;
}

void ThreadGroup::UpdateSignalWorkLocked() {
  for (Task* task : tasks_) task->UpdateSignalWork();
}

void ThreadGroup::DefaultLocked(SigNo sig) {
  switch (DefaultActionOf(sig)) {
    case DefaultAction::kIgnore:
    case DefaultAction::kContinue:
      return;
    case DefaultAction::kStop:
      // Nobody could continue the jobs of an orphaned group (credentials(7)).
      if (sig != SigNo::kStop && Reaper::IsOrphanedLocked(*process_group_, nullptr)) return;
      StartStopLocked(sig);
      return;
    case DefaultAction::kTerminate:
      StartExitLocked(KilledStatus(ToInt(sig), false));
      return;
    case DefaultAction::kCore: {
      const bool core = limits_.Get(Resource::kCore).cur != 0 && dumpable.load() == 1;
      StartExitLocked(KilledStatus(ToInt(sig), core));
      return;
    }
  }
}

// --- exit and stop ---

void ThreadGroup::StartExitLocked(int32_t status) {
  if (exiting_) return;
  exiting_ = true;
  exit_status_ = status;
  for (Task* task : tasks_) task->AddWork(Task::kWorkExit);
}

void ThreadGroup::StartStopLocked(SigNo sig) {
  if (stop_requested_ || exiting_) return;
  stop_requested_ = true;
  stop_reported_ = false;
  stop_signal_ = sig;
  continue_waitable_ = false;
  for (Task* task : tasks_) task->AddWork(Task::kWorkStop);
}

void ThreadGroup::ContinueLocked() {
  if (!stop_requested_) return;
  stop_requested_ = false;
  stop_waitable_ = false;
  for (Task* task : tasks_) task->Wake();
  if (!std::exchange(stop_reported_, false)) return;
  continue_waitable_ = true;
  Reaper::TellParentLocked(*this, kCldContinued, ToInt(SigNo::kCont));
}

void ThreadGroup::CheckStoppedLocked() {
  if (!stop_requested_ || stop_reported_ || tasks_.empty()) return;
  for (Task* task : tasks_) {
    if (!task->parked_) return;
  }
  stop_reported_ = true;
  stop_waitable_ = true;
  Reaper::TellParentLocked(*this, kCldStopped, ToInt(stop_signal_));
  if (kernel_->init_ == this && kernel_->options().init_stopped) kernel_->options().init_stopped();
}

// --- limits ---

RLimit ThreadGroup::GetLimit(Resource r) const {
  absl::MutexLock lock(&task_tree_mutex);
  return limits_.Get(r);
}

Result<RLimit> ThreadGroup::SetLimit(const Credentials& creds, Resource r, const RLimit& limit) {
  if (limit.cur > limit.max) return Errno::kINVAL;
  RLimit old;
  MemoryManagerRef mm;
  MemoryManager::Limits memory;
  {
    absl::MutexLock lock(&task_tree_mutex);
    old = limits_.Get(r);
    if (limit.max > old.max && !creds.HasCapability(kCapSysResource)) return Errno::kPERM;
    limits_.Set(r, limit);
    if (leader_ != nullptr) mm = leader_->mm_ref();
    memory = MemoryLimitsLocked();
  }
  if (mm != nullptr) mm->SetLimits(memory);
  if (r == Resource::kFsize) file_size_limit.store(limit.cur);
  if (r == Resource::kCpu) {
    has_cpu_limit.store(limit.cur != kRlimInfinity);
    timers_.WatchCpuLimit(limit.cur, limit.max);
  }
  return old;
}

MemoryManager::Limits ThreadGroup::MemoryLimitsLocked() const {
  MemoryManager::Limits memory;
  memory.address_space = limits_.Get(Resource::kAs).cur;
  memory.data = limits_.Get(Resource::kData).cur;
  memory.stack = limits_.Get(Resource::kStack).cur;
  return memory;
}

// --- accounting ---

Rusage ThreadGroup::Usage() const {
  Rusage usage;
  TaskRef task;
  {
    absl::MutexLock lock(&task_tree_mutex);
    usage = UsageLocked();
    if (!tasks_.empty()) task = tasks_.front()->shared_from_this();
  }
  // The memory's own lock may be held for long.
  if (task != nullptr) usage.Add(task->MemoryUsage());
  return usage;
}

// Without the memory figures of live tasks.
Rusage ThreadGroup::UsageLocked() const {
  Rusage usage = finished_usage_;
  for (const Task* task : tasks_) usage.Add(task->Usage());
  return usage;
}

int64_t ThreadGroup::UserTimeNs() const {
  absl::MutexLock lock(&task_tree_mutex);
  return UsageLocked().user_ns;
}

Rusage ThreadGroup::ChildrenUsage() const {
  absl::MutexLock lock(&task_tree_mutex);
  return children_usage_;
}

int64_t ThreadGroup::CpuTimeNs() const {
  absl::MutexLock lock(&task_tree_mutex);
  int64_t ns = finished_usage_.user_ns + finished_usage_.system_ns;
  for (const Task* task : tasks_) ns += task->CpuTimeNs();
  return ns;
}

}  // namespace ringfence::sentry
