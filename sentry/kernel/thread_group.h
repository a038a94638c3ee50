// ThreadGroup: a process (signal_struct of Linux); ProcessGroup and Session (credentials(7),
// setpgid(2), setsid(2)).
//
// Lifetime: shared by its tasks and by the pid table until it has been reaped. The tree (parents,
// children, groups, sessions) is guarded by task_tree_mutex.
#ifndef RINGFENCE_SENTRY_KERNEL_THREAD_GROUP_H_
#define RINGFENCE_SENTRY_KERNEL_THREAD_GROUP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "sentry/kernel/task.h"
#include "sentry/kernel/timers.h"

namespace ringfence::sentry {

class ProcessGroup;
class TerminalControl;

class Session {
 public:
  explicit Session(int32_t id) : id_(id) {}
  int32_t id() const { return id_; }

 private:
  friend class ThreadGroup;
  friend class Kernel;
  friend class Reaper;
  friend class TerminalControl;
  const int32_t id_;
  ThreadGroup* leader_ ABSL_GUARDED_BY(task_tree_mutex) = nullptr;        // null once it has exited
  TerminalControl* terminal_ ABSL_GUARDED_BY(task_tree_mutex) = nullptr;  // the controlling one
  // The foreground group when the terminal was hung up: it is told when the leader exits.
  std::weak_ptr<ProcessGroup> lost_foreground_ ABSL_GUARDED_BY(task_tree_mutex);
};

class ProcessGroup {
 public:
  ProcessGroup(int32_t id, std::shared_ptr<Session> session)
      : id_(id), session_(std::move(session)) {}
  int32_t id() const { return id_; }
  const std::shared_ptr<Session>& session() const { return session_; }

 private:
  friend class ThreadGroup;
  friend class Kernel;
  friend class Reaper;
  friend class SignalSender;
  friend class TerminalControl;
  const int32_t id_;
  const std::shared_ptr<Session> session_;
  std::set<ThreadGroup*> members_ ABSL_GUARDED_BY(task_tree_mutex);
};

class ThreadGroup : public std::enable_shared_from_this<ThreadGroup> {
 public:
  ThreadGroup(Kernel* kernel, int32_t tgid);
  ~ThreadGroup();

  Kernel& kernel() const { return *kernel_; }
  int32_t tgid() const { return tgid_; }
  // Parent's tgid as getppid(2) says it: 0 for init.
  int32_t ppid() const;
  TaskRef leader() const;              // null only while exec changes it
  std::vector<TaskRef> Tasks() const;  // live ones, leader first
  size_t NumTasks() const;
  std::vector<ThreadGroupRef> Children() const;

  // --- groups and sessions ---
  int32_t pgid() const;  // of a live process
  int32_t sid() const;
  Result<int32_t> SetSid();  // setsid(2): EPERM
  // setpgid(2) called by this process: ESRCH, EPERM, EACCES, EINVAL. pid 0: this, pgid 0: pid.
  Result<void> SetPgid(int32_t pid, int32_t pgid);
  Result<int32_t> PgidOrGone() const;  // ESRCH once reaped
  Result<int32_t> SidOrGone() const;
  // The controlling terminal, as /proc/PID/stat shows it.
  struct Terminal {
    uint64_t device = 0;           // 0: none
    int32_t foreground_pgid = -1;  // -1: no terminal
  };
  Terminal terminal() const;

  // --- signals ---
  // sigaction(2) without the copies: EINVAL for SIGKILL, SIGSTOP and numbers out of range (a
  // query of the former is allowed). Setting "ignored" drops pending ones.
  Result<SigAction> SetAction(SigNo sig, const SigAction* action);
  // Notified (kEventIn) when a signal becomes pending for the group or a task of it: signalfd.
  WaitQueue& signal_queue() { return signal_queue_; }

  // --- limits: rlimits of the process (shared by its threads) ---
  RLimit GetLimit(Resource r) const;
  // prlimit(2) rules: EINVAL (cur > max), EPERM (raising max without CAP_SYS_RESOURCE).
  Result<RLimit> SetLimit(const Credentials& creds, Resource r, const RLimit& limit);

  // RLIMIT_FSIZE again, for every call's context.
  std::atomic<uint64_t> file_size_limit{kRlimInfinity};
  std::atomic<bool> has_cpu_limit{false};  // RLIMIT_CPU is not infinite

  ProcessTimers& timers() { return timers_; }
  CpuNumbers& cpu_numbers() { return cpu_numbers_; }

  // --- accounting ---
  Rusage Usage() const;          // live and finished threads
  Rusage ChildrenUsage() const;  // waited-for children
  int64_t CpuTimeNs() const;
  int64_t UserTimeNs() const;

  // --- prctl ---
  std::atomic<bool> child_subreaper{false};
  std::atomic<int> dumpable{1};
  // What a process without CAP_SYS_RESOURCE may go down to is what one with it has set.
  std::atomic<int32_t> oom_score_adj{0}, oom_score_adj_min{0};
  // For private expedited ones, and those that restart critical sections; until execve.
  std::atomic<bool> membarrier_registered{false}, membarrier_rseq_registered{false};

  // Notified when a child changes state.
  WaitQueue& child_queue() { return child_queue_; }
  // Notified when this process has ended (kEventIn) and when it has been reaped (kEventHup).
  WaitQueue& exit_queue() { return exit_queue_; }
  bool IsZombie() const;
  bool HasExeced() const;

 private:
  friend class Kernel;
  friend class Task;
  friend class SignalSender;
  friend class Reaper;
  friend class ExecTransaction;
  friend class TerminalControl;
  friend class ProcessTimers;
  friend class ChildWaiter;

  // The kernel's default for a signal without a handler.
  void DefaultLocked(SigNo sig) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // Everybody ends; the first status counts.
  void StartExitLocked(int32_t status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void StartStopLocked(SigNo sig) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void ContinueLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // After a task has parked or left: reports the stop when it was the last one.
  void CheckStoppedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void UpdateSignalWorkLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void StartSessionLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  Result<ThreadGroup*> FindForSetPgidLocked(int32_t pid)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  MemoryManager::Limits MemoryLimitsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  Rusage UsageLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // Takes part in `group`, or in none (null: the process goes away).
  void JoinGroupLocked(std::shared_ptr<ProcessGroup> group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  // After a change of its place in the tree: guests answer questions about it (task_answers.cc).
  void AnswerPlaceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  Kernel* const kernel_;
  const int32_t tgid_;
  ProcessTimers timers_;
  CpuNumbers cpu_numbers_;
  WaitQueue child_queue_;
  WaitQueue signal_queue_;
  WaitQueue exit_queue_;

  // Tree.
  TaskRef leader_ ABSL_GUARDED_BY(task_tree_mutex);
  std::vector<Task*> tasks_ ABSL_GUARDED_BY(task_tree_mutex);  // not finished
  ThreadGroup* parent_ ABSL_GUARDED_BY(task_tree_mutex) = nullptr;
  int32_t parent_tid_ ABSL_GUARDED_BY(task_tree_mutex) = 0;  // thread that made it
  std::vector<ThreadGroup*> children_ ABSL_GUARDED_BY(task_tree_mutex);
  std::shared_ptr<ProcessGroup> process_group_ ABSL_GUARDED_BY(task_tree_mutex);
  SigNo exit_signal_ ABSL_GUARDED_BY(task_tree_mutex) = SigNo::kChld;
  bool execed_ ABSL_GUARDED_BY(task_tree_mutex) = false;

  // Signals.
  std::shared_ptr<SignalActions> actions_ ABSL_GUARDED_BY(task_tree_mutex);
  PendingSignals pending_ ABSL_GUARDED_BY(task_tree_mutex);
  bool immune_ ABSL_GUARDED_BY(task_tree_mutex) = false;  // init: SIG_DFL signals do nothing

  // Exit and stop.
  bool exiting_ ABSL_GUARDED_BY(task_tree_mutex) = false;
  int32_t exit_status_ ABSL_GUARDED_BY(task_tree_mutex) = 0;
  Task* exec_task_ ABSL_GUARDED_BY(task_tree_mutex) = nullptr;  // waits for the others to end
  bool zombie_ ABSL_GUARDED_BY(task_tree_mutex) = false;
  bool stop_requested_ ABSL_GUARDED_BY(task_tree_mutex) = false;
  bool stop_reported_ ABSL_GUARDED_BY(task_tree_mutex) = false;
  SigNo stop_signal_ ABSL_GUARDED_BY(task_tree_mutex) = SigNo::kNone;
  bool stop_waitable_ ABSL_GUARDED_BY(task_tree_mutex) = false;
  bool continue_waitable_ ABSL_GUARDED_BY(task_tree_mutex) = false;

  ResourceLimits limits_ ABSL_GUARDED_BY(task_tree_mutex);
  Rusage finished_usage_ ABSL_GUARDED_BY(task_tree_mutex);
  Rusage children_usage_ ABSL_GUARDED_BY(task_tree_mutex);
};

// setpgid(2), as ThreadGroup::SetPgid.
Result<void> SetPgid(Task& caller, int32_t pid, int32_t pgid);
// getpgid(2), getsid(2): ESRCH.
Result<int32_t> GetPgid(Task& caller, int32_t pid);
Result<int32_t> GetSid(Task& caller, int32_t pid);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_THREAD_GROUP_H_
