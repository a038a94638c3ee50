#include "sentry/kernel/kill.h"

#include <limits>
#include <vector>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/signal_sender.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapKill = 5;

SigInfo UserInfo(Task& sender, SigNo sig, int32_t code) {
  return SigInfo::User(sig, code, sender.tgid(), sender.creds()->ruid);
}

}  // namespace

bool SignalSender::IgnoredLocked(const ThreadGroup& group, const Task& receiver,
                                 const QueuedSignal& signal) {
  const SigNo sig = signal.info.sig();
  // Blocked now, it may have a handler when it is unblocked.
  if (receiver.mask_.Has(sig) || receiver.awaited_.Has(sig)) return false;
  if (group.immune_ && !signal.from_outside && group.actions_->Get(sig).handler == kSigDfl) {
    return true;
  }
  return group.actions_->IsIgnored(sig);
}

// SIGCONT and stop signals cancel each other, whatever is done with them (signal(7)).
void SignalSender::PrepareLocked(ThreadGroup& group, SigNo sig) {
  SigSet cancelled;
  if (kStopSignals.Has(sig)) cancelled = SigSet::Of(SigNo::kCont);
  if (sig == SigNo::kCont) cancelled = kStopSignals;
  if (cancelled.empty()) return;
  group.pending_.Discard(cancelled);
  for (Task* task : group.tasks_) task->pending_.Discard(cancelled);
  if (sig == SigNo::kCont) group.ContinueLocked();
}

Result<void> SignalSender::ChargeLocked(ThreadGroup& group, QueuedSignal* signal,
                                        const PendingSignals& queue) {
  const SigNo sig = signal->info.sig();
  if (!IsRealTime(sig)) return Ok();
  Task& receiver = *group.tasks_.front();
  uint64_t* counter = &group.kernel_->queued_signals_[receiver.creds()->ruid];
  Result<SignalCharge> charge =
      SignalCharge::Take(counter, group.limits_.Get(Resource::kSigpending).cur);
  if (charge.ok()) {
    signal->charge = std::move(charge).value();
    return Ok();
  }
  // kill(2) never fails for want of room: the signal arrives, once.
  if (signal->info.code == kSiUser && !queue.set().Has(sig)) return Ok();
  return Errno::kAGAIN;
}

// Picks who takes a signal sent to the whole group: the leader if it can, else a task that can and
// has nothing else to do, else any that can.
void SignalSender::WakeOneLocked(ThreadGroup& group, SigNo sig) {
  Task* chosen = nullptr;
  for (Task* task : group.tasks_) {
    if (task->awaited_.Has(sig)) task->Wake();
    if (task->mask_.Has(sig) || task->MustExit()) continue;
    if (chosen == nullptr || (chosen->HasPendingWork() && !task->HasPendingWork())) chosen = task;
  }
  if (chosen != nullptr) chosen->AddWork(Task::kWorkSignal);
}

Result<void> SignalSender::SendLocked(ThreadGroup& group, Task* target, QueuedSignal signal) {
  const SigNo sig = signal.info.sig();
  if (group.tasks_.empty() || (target != nullptr && target->finished_)) return Ok();
  PrepareLocked(group, sig);
  const Task& receiver = target != nullptr ? *target : *group.tasks_.front();
  if (IgnoredLocked(group, receiver, signal)) return Ok();
  if (sig == SigNo::kKill) {
    group.StartExitLocked(KilledStatus(ToInt(sig), false));
    return Ok();
  }
  PendingSignals& queue = target != nullptr ? target->pending_ : group.pending_;
  TRY(ChargeLocked(group, &signal, queue));
  if (!queue.Add(std::move(signal))) return Ok();
  if (target == nullptr) {
    WakeOneLocked(group, sig);
  } else {
    if (target->awaited_.Has(sig)) target->Wake();
    if (!target->mask_.Has(sig)) target->AddWork(Task::kWorkSignal);
  }
  group.signal_queue_.Notify(kEventIn);
  return Ok();
}

void SignalSender::SendTimer(ThreadGroup& group, int32_t tid, const SigInfo& info) {
  absl::MutexLock lock(&task_tree_mutex);
  Task* target = nullptr;
  for (Task* task : group.tasks_) {
    if (task->tid() == tid) target = task;
  }
  if (tid != 0 && target == nullptr) return;
  PendingSignals& queue = target != nullptr ? target->pending_ : group.pending_;
  if (!queue.AddOverrun(info)) (void)SendLocked(group, target, {info});
}

void SignalSender::SendToProcessGroupLocked(ProcessGroup& process_group, const SigInfo& info,
                                            bool from_outside) {
  for (ThreadGroup* member : process_group.members_) {
    (void)SendLocked(*member, nullptr, {info, from_outside});
  }
}

// kill(2), "Permissions".
Result<void> SignalSender::CheckLocked(Task& sender, ThreadGroup& group, SigNo sig) {
  if (sig != SigNo::kNone && !IsValid(sig)) return Errno::kINVAL;
  if (&group == &sender.group()) return Ok();
  const CredentialsRef from = sender.creds();
  if (from->HasCapability(kCapKill)) return Ok();
  const CredentialsRef to = group.leader_->creds();
  if (from->euid == to->suid || from->euid == to->ruid || from->ruid == to->suid ||
      from->ruid == to->ruid) {
    return Ok();
  }
  if (sig == SigNo::kCont &&
      group.process_group_->session() == sender.group().process_group_->session()) {
    return Ok();
  }
  return Errno::kPERM;
}

Result<void> SignalSender::CheckAndSendLocked(Task& sender, ThreadGroup& group,
                                              const SigInfo& info) {
  TRY(CheckLocked(sender, group, info.sig()));
  if (info.sig() == SigNo::kNone) return Ok();
  return SendLocked(group, nullptr, {info});
}

Result<void> SignalSender::SendToGroupLocked(Task& sender, ThreadGroup& group,
                                             const SigInfo& info) {
  if (group.process_group_ == nullptr) return Errno::kSRCH;
  return CheckAndSendLocked(sender, group, info);
}

Result<void> SignalSender::KillGroupLocked(Task& sender, int32_t pgid, const SigInfo& info) {
  const std::shared_ptr<ProcessGroup> process_group =
      pgid == 0 ? sender.group().process_group_ : sender.kernel().FindProcessGroupLocked(pgid);
  if (process_group == nullptr) return Errno::kSRCH;
  bool sent = false;
  Result<void> result = Errno::kSRCH;
  for (ThreadGroup* member : process_group->members_) {
    result = CheckAndSendLocked(sender, *member, info);
    sent |= result.ok();
  }
  return sent ? Ok() : result;
}

Result<void> SignalSender::KillAllLocked(Task& sender, const SigInfo& info) {
  bool any = false;
  Result<void> result;
  for (const auto& [tgid, group] : sender.kernel().groups_) {
    if (tgid <= 1 || group.get() == &sender.group()) continue;
    any = true;
    const Result<void> one = CheckAndSendLocked(sender, *group, info);
    if (!one.ok() && one.error() != Errno::kPERM) result = one;
  }
  return any ? result : Errno::kSRCH;
}

Result<void> SignalSender::KillLocked(Task& sender, int32_t pid, const SigInfo& info) {
  if (pid == -1) return KillAllLocked(sender, info);
  if (pid == std::numeric_limits<int32_t>::min()) return Errno::kSRCH;
  if (pid <= 0) return KillGroupLocked(sender, -pid, info);
  const TaskRef task = sender.kernel().FindTaskLocked(pid);
  if (task == nullptr) return Errno::kSRCH;
  return CheckAndSendLocked(sender, task->group(), info);
}

Result<void> SignalSender::SendToThreadLocked(Task& sender, int32_t tgid, int32_t tid,
                                              const SigInfo& info) {
  const TaskRef task = sender.kernel().FindTaskLocked(tid);
  if (task == nullptr || (tgid > 0 && task->tgid() != tgid)) return Errno::kSRCH;
  TRY(CheckLocked(sender, task->group(), info.sig()));
  if (info.sig() == SigNo::kNone) return Ok();
  return SendLocked(task->group(), task.get(), {info});
}

Result<void> Kill(Task& sender, int32_t pid, SigNo sig) {
  const SigInfo info = UserInfo(sender, sig, kSiUser);
  absl::MutexLock lock(&task_tree_mutex);
  return SignalSender::KillLocked(sender, pid, info);
}

Result<void> Tgkill(Task& sender, int32_t tgid, int32_t tid, SigNo sig) {
  if (tid <= 0 || tgid < 0) return Errno::kINVAL;
  const SigInfo info = UserInfo(sender, sig, kSiTkill);
  absl::MutexLock lock(&task_tree_mutex);
  return SignalSender::SendToThreadLocked(sender, tgid, tid, info);
}

Result<void> QueueSignal(Task& sender, int32_t tgid, int32_t tid, const SigInfo& info) {
  if ((info.code >= 0 || info.code == kSiTkill) && tgid != sender.tgid()) return Errno::kPERM;
  absl::MutexLock lock(&task_tree_mutex);
  if (tid != 0) {
    if (tid < 0 || tgid <= 0) return Errno::kINVAL;
    return SignalSender::SendToThreadLocked(sender, tgid, tid, info);
  }
  if (tgid <= 0) return Errno::kSRCH;
  return SignalSender::KillLocked(sender, tgid, info);
}

Result<void> SignalProcess(Task& sender, ThreadGroup& target, const SigInfo& info) {
  absl::MutexLock lock(&task_tree_mutex);
  return SignalSender::SendToGroupLocked(sender, target, info);
}

void SendToProcess(ThreadGroup& group, const SigInfo& info) {
  absl::MutexLock lock(&task_tree_mutex);
  (void)SignalSender::SendLocked(group, nullptr, {info});
}

void SendToTask(Task& task, const SigInfo& info) {
  absl::MutexLock lock(&task_tree_mutex);
  (void)SignalSender::SendLocked(task.group(), &task, {info});
}

}  // namespace ringfence::sentry
