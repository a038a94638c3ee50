// How a task ends: exit(2), exit_group(2), _exit's duties towards futexes, parents and siblings.
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/reaper.h"
#include "sentry/kernel/task.h"

namespace ringfence::sentry {

void Task::Exit(int32_t code) {
  absl::MutexLock lock(&task_tree_mutex);
  // The code of the last thread is the process's (Linux since 6.0).
  if (!group_->exiting_) group_->exit_status_ = ExitedStatus(code);
  AddWork(kWorkExit);
}

void Task::ExitGroup(int32_t code) {
  absl::MutexLock lock(&task_tree_mutex);
  group_->StartExitLocked(ExitedStatus(code));
}

void Task::CompleteVfork() {
  if (vfork_done_ == nullptr) return;
  vfork_done_->Complete();
  vfork_done_ = nullptr;
}

// The task leaves its memory (exit, execve): futexes it holds are marked, who waits for its end is
// woken (set_tid_address(2)).
void Task::ReleaseMemory() {
  const VirtAddr robust = robust_list();
  SetRobustList(VirtAddr());
  if (!robust.is_null()) kernel_->futexes().ExitRobustList(*mm_, robust, tid());
  const VirtAddr clear = std::exchange(clear_child_tid_, VirtAddr());
  // Nobody else can look at memory that only this task has.
  if (!clear.is_null() && mm_.use_count() > 1) {
    const int32_t zero = 0;
    if (mm_->CopyOut(clear, &zero, sizeof(zero)).ok()) {
      (void)kernel_->futexes().Wake(*mm_, clear, false, 1, FutexManager::kMatchAny);
    }
  }
  CompleteVfork();
}

void Task::Finish() {
  Rusage memory = MemoryUsage();
  ForgetRseq();
  futex_state_.store(FutexState::kLeaving);
  ReleaseMemory();
  futex_state_.store(FutexState::kGone);
  kernel_->pi_futexes().OwnerGone(tid());
  {
    // Closing files may take long: after the locks.
    MemoryManagerRef mm;
    std::shared_ptr<FdTable> fds;
    std::shared_ptr<FsContext> fs;
    absl::MutexLock lock(&mutex_);
    mm.swap(mm_);
    fds.swap(fds_);
    fs.swap(fs_);
  }
  restart_ = nullptr;
  context_->Release();
  MarkTime(&sentry_wall_ns_);
  {
    const int64_t cpu = CpuTimeNs();
    absl::MutexLock lock(&mutex_);
    final_cpu_ns_ = cpu;
    cpu_clock_.reset();
  }
  const bool last = LeaveGroup(memory);
  context_.reset();
  if (!last) return;
  group_->timers_.Shutdown();
  absl::MutexLock lock(&task_tree_mutex);
  Reaper::GroupEndedLocked(*group_);
}

// True for the last task of the group.
bool Task::LeaveGroup(const Rusage& memory) {
  absl::MutexLock lock(&task_tree_mutex);
  finished_ = true;
  pending_.Discard(SigSet{~uint64_t{0}});
  std::erase(group_->tasks_, this);
  group_->finished_usage_.Add(Usage());
  Reaper::SendDeathSignalsLocked(*this);
  if (group_->exec_task_ != nullptr) group_->exec_task_->Wake();
  if (group_->tasks_.empty()) {
    group_->finished_usage_.Add(memory);
    return true;
  }
  // The leader stays, as a zombie, until the group ends.
  if (group_->leader_.get() != this) kernel_->tasks_.erase(tid());
  group_->CheckStoppedLocked();
  group_->UpdateSignalWorkLocked();
  return false;
}

}  // namespace ringfence::sentry
