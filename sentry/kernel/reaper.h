// Reaper: the end of processes under task_tree_mutex: zombies, orphans, who is told, and the
// removal from the tree. Internal to sentry/kernel.
#ifndef RINGFENCE_SENTRY_KERNEL_REAPER_H_
#define RINGFENCE_SENTRY_KERNEL_REAPER_H_

#include <cstdint>

#include "sentry/kernel/thread_group.h"

namespace ringfence::sentry {

class Reaper {
 public:
  // The last task of the group has left: hands over its children, becomes a zombie, tells the
  // parent; goes away at once when the parent does not care.
  static void GroupEndedLocked(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  // Removes a zombie from the tree and the pid table. The caller holds a reference.
  static void ReleaseLocked(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  // SIGCHLD for a stop or continue, and a wake-up of those who wait.
  static void TellParentLocked(ThreadGroup& group, int32_t code, int32_t status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  // PR_SET_PDEATHSIG of the children that `task`, which ends, has made.
  static void SendDeathSignalsLocked(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  // No member, `without` set aside, has its parent in another group of the same session.
  static bool IsOrphanedLocked(const ProcessGroup& process_group, const ThreadGroup* without)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  // Wait status of a zombie.
  static int32_t StatusLocked(const ThreadGroup& group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

 private:
  static ThreadGroup* NewParentLocked(ThreadGroup& group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static void ReparentChildrenLocked(ThreadGroup& group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static void NotifyExitLocked(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static void CheckOrphanLocked(ThreadGroup& group, ThreadGroup* parent, const ThreadGroup* without)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static void EndSessionLocked(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  static SigInfo ChildInfoLocked(ThreadGroup& group, SigNo sig, int32_t code, int32_t status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
};

// CLD_* code and si_status of a wait status (waitid(2)).
struct ChildCode {
  int32_t code;
  int32_t status;
};
ChildCode CodeOf(int32_t wait_status);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_REAPER_H_
