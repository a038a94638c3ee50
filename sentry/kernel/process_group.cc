// Process groups and sessions: setpgid(2), setsid(2), credentials(7).
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/terminal_control.h"
#include "sentry/kernel/thread_group.h"

namespace ringfence::sentry {

int32_t ThreadGroup::pgid() const {
  absl::MutexLock lock(&task_tree_mutex);
  return process_group_->id();
}

int32_t ThreadGroup::sid() const {
  absl::MutexLock lock(&task_tree_mutex);
  return process_group_->session()->id();
}

void ThreadGroup::JoinGroupLocked(std::shared_ptr<ProcessGroup> group) {
  if (process_group_ != nullptr) process_group_->members_.erase(this);
  process_group_ = std::move(group);
  if (process_group_ == nullptr) return;
  process_group_->members_.insert(this);
  AnswerPlaceLocked();
}

void ThreadGroup::StartSessionLocked() {
  auto session = std::make_shared<Session>(tgid_);
  session->leader_ = this;
  auto group = std::make_shared<ProcessGroup>(tgid_, session);
  kernel_->sessions_[tgid_] = session;
  kernel_->process_groups_[tgid_] = group;
  JoinGroupLocked(std::move(group));
}

Result<int32_t> ThreadGroup::SetSid() {
  absl::MutexLock lock(&task_tree_mutex);
  if (process_group_->session()->leader_ == this) return Errno::kPERM;
  if (kernel_->FindProcessGroupLocked(tgid_) != nullptr) return Errno::kPERM;
  StartSessionLocked();
  return tgid_;
}

// The process that setpgid is about: the caller or a child of it that has not run execve yet.
Result<ThreadGroup*> ThreadGroup::FindForSetPgidLocked(int32_t pid) {
  const TaskRef task = kernel_->FindTaskLocked(pid);
  if (task == nullptr) return Errno::kSRCH;
  ThreadGroup* group = &task->group();
  if (group->tgid_ != pid) return Errno::kINVAL;
  if (group == this) return group;
  if (group->parent_ != this) return Errno::kSRCH;
  if (group->process_group_->session() != process_group_->session()) return Errno::kPERM;
  if (group->execed_) return Errno::kACCES;
  return group;
}

Result<void> ThreadGroup::SetPgid(int32_t pid, int32_t pgid) {
  if (pid == 0) pid = tgid_;
  if (pgid == 0) pgid = pid;
  if (pgid < 0) return Errno::kINVAL;
  absl::MutexLock lock(&task_tree_mutex);
  ThreadGroup* group = TRY(FindForSetPgidLocked(pid));
  const std::shared_ptr<Session> session = group->process_group_->session();
  if (session->leader_ == group) return Errno::kPERM;
  std::shared_ptr<ProcessGroup> target = kernel_->FindProcessGroupLocked(pgid);
  if (pgid == pid && target == nullptr) {
    target = std::make_shared<ProcessGroup>(pgid, session);
    kernel_->process_groups_[pgid] = target;
  }
  if (target == nullptr || target->session() != session) return Errno::kPERM;
  group->JoinGroupLocked(std::move(target));
  return Ok();
}

Result<void> SetPgid(Task& caller, int32_t pid, int32_t pgid) {
  return caller.group().SetPgid(pid, pgid);
}

Result<int32_t> GetPgid(Task& caller, int32_t pid) {
  if (pid == 0) return caller.group().pgid();
  const TaskRef task = caller.kernel().FindTask(pid);
  if (task == nullptr) return Errno::kSRCH;
  return task->group().PgidOrGone();
}

Result<int32_t> GetSid(Task& caller, int32_t pid) {
  if (pid == 0) return caller.group().sid();
  const TaskRef task = caller.kernel().FindTask(pid);
  if (task == nullptr) return Errno::kSRCH;
  return task->group().SidOrGone();
}

// The task that was looked up may have been reaped since.
Result<int32_t> ThreadGroup::PgidOrGone() const {
  absl::MutexLock lock(&task_tree_mutex);
  if (process_group_ == nullptr) return Errno::kSRCH;
  return process_group_->id();
}

Result<int32_t> ThreadGroup::SidOrGone() const {
  absl::MutexLock lock(&task_tree_mutex);
  if (process_group_ == nullptr) return Errno::kSRCH;
  return process_group_->session()->id();
}

ThreadGroup::Terminal ThreadGroup::terminal() const {
  absl::MutexLock lock(&task_tree_mutex);
  if (process_group_ == nullptr) return {};
  const Session& session = *process_group_->session();
  if (session.terminal_ == nullptr) return {};
  const ProcessGroup* foreground = TerminalControl::ForegroundLocked(session);
  return {.device = session.terminal_->device(),
          .foreground_pgid = foreground == nullptr ? 0 : foreground->id()};
}

}  // namespace ringfence::sentry
