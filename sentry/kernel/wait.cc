#include "sentry/kernel/wait.h"

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/reaper.h"

namespace ringfence::sentry {

// One look at the children of a task.
class ChildWaiter {
 public:
  ChildWaiter(Task& task, const WaitRequest& request) : task_(task), request_(request) {}

  // EAGAIN: there are children to wait for but nothing to report; ECHILD: there are none.
  Result<WaitResult> Try() {
    absl::MutexLock lock(&task_tree_mutex);
    bool any = false;
    for (ThreadGroup* child : task_.group().children_) {
      if (!EligibleLocked(*child)) continue;
      any = true;
      if (request_.exited && child->zombie_) return TakeZombieLocked(*child);
      if (request_.stopped && child->stop_waitable_) return TakeStopLocked(*child);
      if (request_.continued && child->continue_waitable_) return TakeContinueLocked(*child);
    }
    if (!any) return Errno::kCHILD;
    return Errno::kAGAIN;
  }

 private:
  bool EligibleLocked(const ThreadGroup& child) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex) {
    if (request_.own_children_only && child.parent_tid_ != task_.tid()) return false;
    const bool normal = child.exit_signal_ == SigNo::kChld;
    if (request_.clone == WaitRequest::Clone::kNormal && !normal) return false;
    if (request_.clone == WaitRequest::Clone::kCloneOnly && normal) return false;
    switch (request_.which) {
      case WaitRequest::Which::kAny:
        return true;
      case WaitRequest::Which::kPid:
        if (request_.process != nullptr) return &child == request_.process;
        return child.tgid_ == request_.id;
      case WaitRequest::Which::kProcessGroup:
        return child.process_group_->id() ==
               (request_.id != 0 ? request_.id : task_.group().process_group_->id());
    }
    return false;
  }

  WaitResult DescribeLocked(ThreadGroup& child, int32_t status, ChildCode code)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex) {
    WaitResult result;
    result.pid = child.tgid_;
    result.uid = child.leader_->creds()->ruid;
    result.status = status;
    result.si_code = code.code;
    result.si_status = code.status;
    result.usage = child.UsageLocked();
    result.usage.Add(child.children_usage_);
    return result;
  }

  WaitResult TakeZombieLocked(ThreadGroup& child) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex) {
    const int32_t status = Reaper::StatusLocked(child);
    const WaitResult result = DescribeLocked(child, status, CodeOf(status));
    if (request_.no_reap) return result;
    task_.group().children_usage_.Add(result.usage);
    const ThreadGroupRef keep = child.shared_from_this();
    Reaper::ReleaseLocked(child);
    return result;
  }

  WaitResult TakeStopLocked(ThreadGroup& child) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex) {
    const int32_t sig = ToInt(child.stop_signal_);
    if (!request_.no_reap) child.stop_waitable_ = false;
    return DescribeLocked(child, StoppedStatus(sig), {kCldStopped, sig});
  }

  WaitResult TakeContinueLocked(ThreadGroup& child) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex) {
    if (!request_.no_reap) child.continue_waitable_ = false;
    return DescribeLocked(child, kContinuedStatus, {kCldContinued, ToInt(SigNo::kCont)});
  }

  Task& task_;
  const WaitRequest& request_;
};

Result<WaitResult> WaitForChild(Task& task, const CallContext& ctx, const WaitRequest& request) {
  ChildWaiter waiter(task, request);
  if (request.no_hang) {
    const Result<WaitResult> result = waiter.Try();
    if (!result.ok() && result.error() == Errno::kAGAIN) return WaitResult{};
    return result;
  }
  return BlockUntil(task, ctx, &task.group().child_queue(), kEventIn, Deadline::Never(),
                    [&waiter] { return waiter.Try(); });
}

}  // namespace ringfence::sentry
