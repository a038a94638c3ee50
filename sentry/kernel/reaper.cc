#include "sentry/kernel/reaper.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/signal_sender.h"
#include "sentry/kernel/terminal_control.h"

namespace ringfence::sentry {

ChildCode CodeOf(int32_t wait_status) {
  const int32_t sig = wait_status & 0x7f;
  if (sig == 0) return {kCldExited, (wait_status >> 8) & 0xff};
  return {(wait_status & 0x80) != 0 ? kCldDumped : kCldKilled, sig};
}

int32_t Reaper::StatusLocked(const ThreadGroup& group) { return group.exit_status_; }

SigInfo Reaper::ChildInfoLocked(ThreadGroup& group, SigNo sig, int32_t code, int32_t status) {
  constexpr int64_t kNanosPerTick = kNanosPerSecond / 100;  // USER_HZ
  const Rusage usage = group.UsageLocked();
  SigInfo info;
  info.signo = ToInt(sig);
  info.code = code;
  info.child = {group.tgid_, group.leader_->creds()->ruid,  status,
                0,           usage.user_ns / kNanosPerTick, usage.system_ns / kNanosPerTick};
  return info;
}

void Reaper::TellParentLocked(ThreadGroup& group, int32_t code, int32_t status) {
  ThreadGroup* parent = group.parent_;
  if (parent == nullptr) return;
  const SigAction& action = parent->actions_->Get(SigNo::kChld);
  if (action.handler != kSigIgn && (action.flags & kSaNoCldStop) == 0) {
    const SigInfo info = ChildInfoLocked(group, SigNo::kChld, code, status);
    (void)SignalSender::SendLocked(*parent, nullptr, {info});
  }
  parent->child_queue_.Notify(kEventIn);
}

// --- orphaned process groups (credentials(7), POSIX 2.4.3) ---

bool Reaper::IsOrphanedLocked(const ProcessGroup& process_group, const ThreadGroup* without) {
  for (const ThreadGroup* member : process_group.members_) {
    if (member == without || member->tasks_.empty()) continue;
    const Kernel& kernel = *member->kernel_;
    if (member == kernel.init_ && kernel.init_has_shell_) return false;
    if (member->parent_ == nullptr) continue;
    const ProcessGroup& above = *member->parent_->process_group_;
    if (&above != &process_group && above.session() == process_group.session()) return false;
  }
  return true;
}

// `parent` ceases to be the one who could continue the jobs of `group`'s process group.
void Reaper::CheckOrphanLocked(ThreadGroup& group, ThreadGroup* parent,
                               const ThreadGroup* without) {
  ProcessGroup& jobs = *group.process_group_;
  if (parent == nullptr || parent->process_group_ == nullptr) return;
  if (parent->process_group_.get() == &jobs || parent->process_group_->session() != jobs.session())
    return;
  if (!IsOrphanedLocked(jobs, without)) return;
  const bool stopped = std::any_of(jobs.members_.begin(), jobs.members_.end(),
                                   [](const ThreadGroup* member) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                     return member->stop_requested_;
                                   });
  if (!stopped) return;
  SignalSender::SendToProcessGroupLocked(jobs, SigInfo::Kernel(SigNo::kHup));
  SignalSender::SendToProcessGroupLocked(jobs, SigInfo::Kernel(SigNo::kCont));
}

// --- children ---

// The nearest living ancestor that is a subreaper (PR_SET_CHILD_SUBREAPER), else init.
ThreadGroup* Reaper::NewParentLocked(ThreadGroup& group) {
  for (ThreadGroup* up = group.parent_; up != nullptr; up = up->parent_) {
    if (up->child_subreaper.load() && !up->tasks_.empty()) return up;
  }
  ThreadGroup* init = group.kernel_->init_;
  return init == &group ? nullptr : init;
}

void Reaper::SendDeathSignalsLocked(Task& task) {
  for (ThreadGroup* child : task.group_->children_) {
    if (child->parent_tid_ != task.tid()) continue;
    for (Task* thread : std::vector<Task*>(child->tasks_)) {
      if (thread->parent_death_signal_ == SigNo::kNone) continue;
      const SigInfo info =
          SigInfo::User(thread->parent_death_signal_, kSiUser, task.tgid(), task.creds()->ruid);
      (void)SignalSender::SendLocked(*child, nullptr, {info});
    }
  }
}

void Reaper::ReparentChildrenLocked(ThreadGroup& group) {
  ThreadGroup* heir = NewParentLocked(group);
  const std::vector<ThreadGroup*> children = std::exchange(group.children_, {});
  for (ThreadGroup* child : children) {
    // The group may go away below.
    const ThreadGroupRef keep = child->shared_from_this();
    child->parent_ = heir;
    child->AnswerPlaceLocked();
    child->exit_signal_ = SigNo::kChld;
    if (heir == nullptr) {
      if (child->zombie_) ReleaseLocked(*child);
      continue;
    }
    child->parent_tid_ = heir->tgid_;
    heir->children_.push_back(child);
    if (child->zombie_) {
      NotifyExitLocked(*child);
    } else {
      CheckOrphanLocked(*child, &group, nullptr);
    }
  }
}

// --- the end ---

// Tells the parent of a zombie; releases it when the parent has said that it will not wait.
void Reaper::NotifyExitLocked(ThreadGroup& group) {
  ThreadGroup* parent = group.parent_;
  if (parent == nullptr || parent->tasks_.empty()) {
    // A parent that is about to end has yet to hand its children on, zombies too.
    const bool handed_on = parent != nullptr && !parent->zombie_;
    if (!handed_on && group.kernel_->init_ != &group) ReleaseLocked(group);
    return;
  }
  const SigAction& action = parent->actions_->Get(SigNo::kChld);
  const bool normal = group.exit_signal_ == SigNo::kChld;
  const bool unwanted = normal && (action.handler == kSigIgn || (action.flags & kSaNoCldWait) != 0);
  if (IsValid(group.exit_signal_) && !(normal && action.handler == kSigIgn)) {
    const ChildCode what = CodeOf(StatusLocked(group));
    const SigInfo info = ChildInfoLocked(group, group.exit_signal_, what.code, what.status);
    (void)SignalSender::SendLocked(*parent, nullptr, {info});
  }
  if (unwanted) ReleaseLocked(group);
  parent->child_queue_.Notify(kEventIn);
}

void Reaper::EndSessionLocked(ThreadGroup& group) {
  Session& session = *group.process_group_->session();
  if (session.leader_ != &group) return;
  TerminalControl::LeaderExitedLocked(session);
  session.leader_ = nullptr;
}

void Reaper::GroupEndedLocked(ThreadGroup& group) {
  group.zombie_ = true;
  group.exit_queue_.Notify(kEventIn);
  group.pending_.Discard(SigSet{~uint64_t{0}});
  EndSessionLocked(group);
  CheckOrphanLocked(group, group.parent_, &group);
  ReparentChildrenLocked(group);
  if (group.kernel_->init_ == &group) {
    group.kernel_->InitEndedLocked(StatusLocked(group));
    return;
  }
  NotifyExitLocked(group);
}

void Reaper::ReleaseLocked(ThreadGroup& group) {
  Kernel& kernel = *group.kernel_;
  kernel.released_usage_.Add(group.UsageLocked());
  if (ThreadGroup* parent = group.parent_) std::erase(parent->children_, &group);
  group.parent_ = nullptr;
  group.JoinGroupLocked(nullptr);
  group.leader_ = nullptr;
  kernel.tasks_.erase(group.tgid_);
  kernel.groups_.erase(group.tgid_);
  group.exit_queue_.Notify(kEventIn | kEventHup);
}

}  // namespace ringfence::sentry
