// SignalSender: the steps of sending a signal under task_tree_mutex (kill.h has the calls).
// Internal to sentry/kernel.
#ifndef RINGFENCE_SENTRY_KERNEL_SIGNAL_SENDER_H_
#define RINGFENCE_SENTRY_KERNEL_SIGNAL_SENDER_H_

#include <cstdint>

#include "sentry/kernel/signal.h"
#include "sentry/kernel/thread_group.h"

namespace ringfence::sentry {

class SignalSender {
 public:
  // Queues for the group (target null) or one task of it and wakes who is to take it. Discards what
  // is ignored. EAGAIN: no room for a real-time signal.
  static Result<void> SendLocked(ThreadGroup& group, Task* target, QueuedSignal signal)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static void SendToProcessGroupLocked(ProcessGroup& process_group, const SigInfo& info,
                                       bool from_outside = false)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  // An expiry of a POSIX timer; to one task when tid is not 0.
  static void SendTimer(ThreadGroup& group, int32_t tid, const SigInfo& info)
      ABSL_LOCKS_EXCLUDED(task_tree_mutex);

  // With the permission checks of kill(2); signal 0 only checks.
  static Result<void> KillLocked(Task& sender, int32_t pid, const SigInfo& info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static Result<void> SendToThreadLocked(Task& sender, int32_t tgid, int32_t tid,
                                         const SigInfo& info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // ESRCH for a process that has been reaped.
  static Result<void> SendToGroupLocked(Task& sender, ThreadGroup& group, const SigInfo& info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

 private:
  static bool IgnoredLocked(const ThreadGroup& group, const Task& receiver,
                            const QueuedSignal& signal)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static void PrepareLocked(ThreadGroup& group, SigNo sig)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static Result<void> ChargeLocked(ThreadGroup& group, QueuedSignal* signal,
                                   const PendingSignals& queue)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static void WakeOneLocked(ThreadGroup& group, SigNo sig)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static Result<void> CheckLocked(Task& sender, ThreadGroup& group, SigNo sig)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static Result<void> CheckAndSendLocked(Task& sender, ThreadGroup& group, const SigInfo& info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static Result<void> KillGroupLocked(Task& sender, int32_t pgid, const SigInfo& info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static Result<void> KillAllLocked(Task& sender, const SigInfo& info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_SIGNAL_SENDER_H_
