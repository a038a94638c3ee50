// TerminalControl: who a terminal belongs to (tty_ioctl(4), credentials(7)): its session and
// foreground process group. Internal to sentry/kernel; terminals see JobControl.
#ifndef RINGFENCE_SENTRY_KERNEL_TERMINAL_CONTROL_H_
#define RINGFENCE_SENTRY_KERNEL_TERMINAL_CONTROL_H_

#include <memory>

#include "sentry/kernel/kernel.h"
#include "sentry/vfs/job_control.h"

namespace ringfence::sentry {

class TerminalControl final : public JobControl {
 public:
  TerminalControl(Kernel* kernel, uint64_t device) : kernel_(kernel), device_(device) {}
  ~TerminalControl() override;
  uint64_t device() const { return device_; }

  Result<int32_t> GetForegroundGroup(const CallContext& ctx) override;
  Result<void> SetForegroundGroup(const CallContext& ctx, int32_t pgid) override;
  Result<int32_t> GetSession(const CallContext& ctx) override;
  Result<void> Acquire(const CallContext& ctx, int32_t steal) override;
  Result<void> Release(const CallContext& ctx) override;
  Result<void> CheckUse(const CallContext& ctx, Use use) override;
  void Opened(const CallContext& ctx) override;
  void SignalForeground(SigNo sig) override;
  void HangUp() override;
  int32_t ForegroundId() override;
  int32_t SessionId() override;

  // Makes it the controlling terminal of a session leader that has none.
  void AdoptLocked(ThreadGroup& leader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // The leader of `session` gives its terminal up: SIGHUP and SIGCONT to the foreground.
  static void GiveUpLocked(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // The leader of `session` has exited: SIGHUP to the foreground, the terminal is free. Where the
  // terminal was hung up before, the foreground of that time gets SIGHUP and SIGCONT.
  static void LeaderExitedLocked(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // Null where there is none.
  static ProcessGroup* ForegroundLocked(const Session& session)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

 private:
  // The caller, if this is its controlling terminal; ENOTTY.
  Result<TaskRef> CallerLocked(const CallContext& ctx) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // Takes it from its session; the foreground group it had.
  std::shared_ptr<ProcessGroup> DetachLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  bool BlocksLocked(Task& caller, SigNo sig) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  Kernel* const kernel_;
  const uint64_t device_;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(task_tree_mutex);
  std::shared_ptr<ProcessGroup> foreground_ ABSL_GUARDED_BY(task_tree_mutex);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_TERMINAL_CONTROL_H_
