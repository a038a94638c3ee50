#include "sentry/kernel/terminal_control.h"

#include <utility>

#include "sentry/kernel/reaper.h"
#include "sentry/kernel/signal_sender.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21;

}  // namespace

TerminalControl::~TerminalControl() {
  absl::MutexLock lock(&task_tree_mutex);
  if (session_ != nullptr) session_->terminal_ = nullptr;
}

Result<TaskRef> TerminalControl::CallerLocked(const CallContext& ctx) const {
  TaskRef task = kernel_->FindTaskLocked(ctx.tid);
  if (task == nullptr || session_ == nullptr) return Errno::kNOTTY;
  if (task->group().process_group_->session() != session_) return Errno::kNOTTY;
  return task;
}

Result<int32_t> TerminalControl::GetForegroundGroup(const CallContext& ctx) {
  absl::MutexLock lock(&task_tree_mutex);
  (void)TRY(CallerLocked(ctx));
  return foreground_ == nullptr ? 0 : foreground_->id();
}

Result<int32_t> TerminalControl::GetSession(const CallContext& ctx) {
  absl::MutexLock lock(&task_tree_mutex);
  (void)TRY(CallerLocked(ctx));
  return session_->id();
}

Result<void> TerminalControl::SetForegroundGroup(const CallContext& ctx, int32_t pgid) {
  TRY(CheckUse(ctx, Use::kControl));
  absl::MutexLock lock(&task_tree_mutex);
  (void)TRY(CallerLocked(ctx));
  if (pgid < 0) return Errno::kINVAL;
  std::shared_ptr<ProcessGroup> group = kernel_->FindProcessGroupLocked(pgid);
  if (group == nullptr) return Errno::kSRCH;
  if (group->session() != session_) return Errno::kPERM;
  foreground_ = std::move(group);
  return Ok();
}

Result<void> TerminalControl::Acquire(const CallContext& ctx, int32_t steal) {
  absl::MutexLock lock(&task_tree_mutex);
  const TaskRef task = kernel_->FindTaskLocked(ctx.tid);
  if (task == nullptr) return Errno::kIO;
  const std::shared_ptr<Session> session = task->group().process_group_->session();
  if (session->leader_ == &task->group() && session == session_) return Ok();
  if (session->leader_ != &task->group() || session->terminal_ != nullptr) return Errno::kPERM;
  if (session_ != nullptr) {
    if (steal != 1 || !ctx.creds->HasCapability(kCapSysAdmin)) return Errno::kPERM;
    session_->terminal_ = nullptr;
  }
  AdoptLocked(task->group());
  return Ok();
}

void TerminalControl::AdoptLocked(ThreadGroup& leader) {
  foreground_ = leader.process_group_;
  session_ = foreground_->session();
  session_->terminal_ = this;
}

Result<void> TerminalControl::Release(const CallContext& ctx) {
  absl::MutexLock lock(&task_tree_mutex);
  const TaskRef task = TRY(CallerLocked(ctx));
  // Only the leader gives it up for its session.
  if (session_->leader_ == &task->group()) GiveUpLocked(*session_);
  return Ok();
}

std::shared_ptr<ProcessGroup> TerminalControl::DetachLocked() {
  if (session_ != nullptr) session_->terminal_ = nullptr;
  session_ = nullptr;
  return std::exchange(foreground_, nullptr);
}

void TerminalControl::GiveUpLocked(Session& session) {
  if (session.terminal_ == nullptr) return;
  const std::shared_ptr<Session> keep = session.terminal_->session_;
  const std::shared_ptr<ProcessGroup> foreground = session.terminal_->DetachLocked();
  if (foreground == nullptr) return;
  SignalSender::SendToProcessGroupLocked(*foreground, SigInfo::Kernel(SigNo::kHup));
  SignalSender::SendToProcessGroupLocked(*foreground, SigInfo::Kernel(SigNo::kCont));
}

// disassociate_ctty of Linux, on exit.
void TerminalControl::LeaderExitedLocked(Session& session) {
  if (session.terminal_ != nullptr) {
    const std::shared_ptr<Session> keep = session.terminal_->session_;
    const std::shared_ptr<ProcessGroup> foreground = session.terminal_->DetachLocked();
    if (foreground == nullptr) return;
    SignalSender::SendToProcessGroupLocked(*foreground, SigInfo::Kernel(SigNo::kHup));
    return;
  }
  const std::shared_ptr<ProcessGroup> lost = session.lost_foreground_.lock();
  if (lost == nullptr) return;
  SignalSender::SendToProcessGroupLocked(*lost, SigInfo::Kernel(SigNo::kHup));
  SignalSender::SendToProcessGroupLocked(*lost, SigInfo::Kernel(SigNo::kCont));
}

void TerminalControl::HangUp() {
  absl::MutexLock lock(&task_tree_mutex);
  if (session_ == nullptr) return;
  const std::shared_ptr<Session> session = session_;
  session->lost_foreground_ = DetachLocked();
  ThreadGroup* leader = session->leader_;
  if (leader == nullptr) return;
  (void)SignalSender::SendLocked(*leader, nullptr, {SigInfo::Kernel(SigNo::kHup)});
  (void)SignalSender::SendLocked(*leader, nullptr, {SigInfo::Kernel(SigNo::kCont)});
}

void TerminalControl::Opened(const CallContext& ctx) {
  absl::MutexLock lock(&task_tree_mutex);
  const TaskRef task = kernel_->FindTaskLocked(ctx.tid);
  if (task == nullptr || session_ != nullptr) return;
  const Session& session = *task->group().process_group_->session();
  if (session.leader_ == &task->group() && session.terminal_ == nullptr) AdoptLocked(task->group());
}

void TerminalControl::SignalForeground(SigNo sig) {
  absl::MutexLock lock(&task_tree_mutex);
  if (foreground_ == nullptr) return;
  SignalSender::SendToProcessGroupLocked(*foreground_, SigInfo::Kernel(sig));
}

int32_t TerminalControl::ForegroundId() {
  absl::MutexLock lock(&task_tree_mutex);
  return foreground_ == nullptr ? 0 : foreground_->id();
}

int32_t TerminalControl::SessionId() {
  absl::MutexLock lock(&task_tree_mutex);
  return session_ == nullptr ? 0 : session_->id();
}

ProcessGroup* TerminalControl::ForegroundLocked(const Session& session) {
  return session.terminal_ == nullptr ? nullptr : session.terminal_->foreground_.get();
}

bool TerminalControl::BlocksLocked(Task& caller, SigNo sig) const {
  return caller.mask_.Has(sig) || caller.group().actions_->Get(sig).handler == kSigIgn;
}

// tty_check_change and job_control of Linux's line discipline.
Result<void> TerminalControl::CheckUse(const CallContext& ctx, Use use) {
  absl::MutexLock lock(&task_tree_mutex);
  const Result<TaskRef> caller = CallerLocked(ctx);
  if (!caller.ok()) return Ok();
  Task& task = **caller;
  ProcessGroup& group = *task.group().process_group_;
  if (foreground_ == nullptr || foreground_.get() == &group) return Ok();
  const SigNo sig = use == Use::kRead ? SigNo::kTtin : SigNo::kTtou;
  if (BlocksLocked(task, sig)) {
    if (use == Use::kRead) return Errno::kIO;
    return Ok();
  }
  if (Reaper::IsOrphanedLocked(group, nullptr)) return Errno::kIO;
  SignalSender::SendToProcessGroupLocked(group, SigInfo::Kernel(sig));
  return Errno::kRESTARTSYS;
}

}  // namespace ringfence::sentry
