// Task: a thread of the guest (task_struct of Linux).
//
// Each task is run by one host thread, in Task::Run: it delivers pending work (signals, stops,
// exit), enters the guest, serves the exit, and so on until the task ends. Calls that cannot block
// may be served by a service thread meanwhile (Serve).
//
// Who may touch what:
//   - "own" members: by the task's host thread, and by a service thread inside Serve (the host
//     thread is inside Switch then);
//   - members under mutex_: pointers that others may ask for (/proc);
//   - members under task_tree_mutex: the process tree and signal state.
// Lifetime: shared; the pid table holds one reference until the task is reaped, its host thread
// one until it ends.
#ifndef RINGFENCE_SENTRY_KERNEL_TASK_H_
#define RINGFENCE_SENTRY_KERNEL_TASK_H_

#include <time.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/api/platform.h"
#include "sentry/arch/signal_frame.h"
#include "sentry/base/call_context.h"
#include "sentry/base/wait_queue.h"
#include "sentry/kernel/call_history.h"
#include "sentry/kernel/cpu_numbers.h"
#include "sentry/kernel/deadline.h"
#include "sentry/kernel/limits.h"
#include "sentry/kernel/pi_futex.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/sleeper.h"
#include "sentry/kernel/tree_mutex.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class Kernel;
class Task;
class ThreadGroup;
using TaskRef = std::shared_ptr<Task>;
using ThreadGroupRef = std::shared_ptr<ThreadGroup>;

// clone(2) flags (linux/sched.h).
inline constexpr uint64_t kCloneVm = 0x100, kCloneFs = 0x200, kCloneFiles = 0x400,
                          kCloneSighand = 0x800, kClonePidfd = 0x1000, kClonePtrace = 0x2000,
                          kCloneVfork = 0x4000, kCloneParent = 0x8000, kCloneThread = 0x10000,
                          kCloneNewNs = 0x20000, kCloneSysvSem = 0x40000, kCloneSetTls = 0x80000,
                          kCloneParentSetTid = 0x100000, kCloneChildClearTid = 0x200000,
                          kCloneDetached = 0x400000, kCloneUntraced = 0x800000,
                          kCloneChildSetTid = 0x1000000, kCloneNewCgroup = 0x2000000,
                          kCloneNewUts = 0x4000000, kCloneNewIpc = 0x8000000,
                          kCloneNewUser = 0x10000000, kCloneNewPid = 0x20000000,
                          kCloneNewNet = 0x40000000, kCloneIo = 0x80000000,
                          kCloneClearSighand = 0x100000000, kCloneNewTime = 0x80;

struct CloneArgs {
  uint64_t flags = 0;  // without the exit signal
  SigNo exit_signal = SigNo::kChld;
  uint64_t stack = 0;  // stack pointer of the child; 0 = the parent's
  VirtAddr parent_tid, child_tid;
  uint64_t tls = 0;
  ThreadGroupRef* process = nullptr;  // gets the child's, unless null
};

struct ExecArgs {
  FileRef file;          // the program, opened for reading, execute permission checked
  std::string path;      // as given: AT_EXECFN and what an interpreter script is told
  std::string exe_path;  // absolute, for /proc/PID/exe; empty: the path of `file`
  std::vector<std::string> argv, envp;
  bool randomize = true;  // of addresses; off for personality(ADDR_NO_RANDOMIZE)
};

// Tells the parent of a vfork that its child has left the parent's memory.
class VforkCompletion {
 public:
  void Complete();
  bool done() const { return done_.load(); }
  WaitQueue& queue() { return queue_; }

 private:
  std::atomic<bool> done_{false};
  WaitQueue queue_;
};

// Wakes a task; put it on WaitQueues around Task::Block.
class TaskWaiter : public WaitEntry {
 public:
  explicit TaskWaiter(Task& task) : task_(task) {}
  void Wake(EventMask events) override;

 private:
  Task& task_;
};

// What a thread has registered by rseq(2).
struct RseqArea {
  VirtAddr address;  // null: nothing
  uint32_t length = 0, signature = 0;
};

class Task final : public platform::SyscallService,
                   private CpuUser,
                   public std::enable_shared_from_this<Task> {
 public:
  // What a thread asks for and is told again, mostly without other effect. Inherited by children,
  // kept over execve.
  struct Settings {
    uint64_t timer_slack_ns = 50000, default_timer_slack_ns = 50000;  // prctl(PR_SET_TIMERSLACK)
    int policy = 0;              // SCHED_OTHER, SCHED_BATCH or SCHED_IDLE
    bool reset_on_fork = false;  // SCHED_RESET_ON_FORK
    int32_t nice = 0;
    uint16_t io_priority = 0;  // ioprio_set(2); 0: none was set
    uint32_t personality = 0;  // personality(2)
    CpuMask affinity;
    MemoryPolicy memory_policy;  // set_mempolicy(2)
  };

  // What a new task starts with; Kernel and Clone make them.
  struct Init {
    Kernel* kernel = nullptr;
    ThreadGroupRef group;
    int32_t tid = 0;
    std::unique_ptr<platform::Context> context;
    std::unique_ptr<platform::FpuState> fpu;
    platform::ArchState arch;
    MemoryManagerRef mm;
    std::shared_ptr<FdTable> fds;
    std::shared_ptr<FsContext> fs;
    CredentialsRef creds;
    std::string comm;
    Settings settings;
    SigSet mask;
    SigAltStack alt_stack;
    VirtAddr clear_child_tid, set_child_tid;
    RseqArea rseq;
    std::shared_ptr<VforkCompletion> vfork_done;
  };
  explicit Task(Init init);
  ~Task() override;

  // --- identity; any thread ---
  int32_t tid() const { return tid_.load(std::memory_order_relaxed); }  // execve may change it
  int32_t tgid() const;
  Kernel& kernel() const { return *kernel_; }
  ThreadGroup& group() const { return *group_; }
  const ThreadGroupRef& group_ref() const { return group_; }
  bool IsLeader() const { return tid() == tgid(); }

  // --- own ---
  platform::ArchState& arch() { return arch_; }
  platform::Context& context() { return *context_; }
  MemoryManager& mm() { return *mm_; }
  FdTable& fds() { return *fds_; }
  FsContext& fs() { return *fs_; }
  CallContext call_context() const;

  // --- shared pointers for others; null after exit (not creds) ---
  MemoryManagerRef mm_ref() const;
  std::shared_ptr<FdTable> fds_ref() const;
  std::shared_ptr<FsContext> fs_ref() const;
  CredentialsRef creds() const;
  std::string comm() const;             // at most 15 bytes
  void SetCreds(CredentialsRef creds);  // own
  void SetComm(std::string_view comm);
  void SetFds(std::shared_ptr<FdTable> fds);  // own; unshare(CLONE_FILES)
  void SetFs(std::shared_ptr<FsContext> fs);  // own; unshare(CLONE_FS)

  // --- blocking; own thread only ---
  enum class Wakeup : uint8_t { kSignals, kKillOnly };  // interruptible or killable
  // Sleeps until a registered TaskWaiter is woken (ok), the deadline (kTIMEDOUT), or a signal,
  // stop or exit is pending (kRESTARTSYS). The caller tries its condition again after ok, since
  // wake-ups may be spurious. Releases the vCPU.
  Result<void> Block(const Deadline& deadline, Wakeup wakeup = Wakeup::kSignals);
  void Wake() { sleeper_.Wake(); }  // any thread, takes no lock
  // A signal, stop or exit is waiting to be handled; calls return soon.
  bool HasPendingWork() const { return work_.load(std::memory_order_acquire) != 0; }

  // restart_syscall(2): a call that answers kRESTART_RESTARTBLOCK leaves here what goes on with
  // the rest of it. Own.
  using RestartFn = std::function<int64_t(Task&)>;
  void SetRestart(RestartFn fn) { restart_ = std::move(fn); }
  int64_t Restart();  // EINTR when there is nothing

  // --- life; own thread ---
  Result<int32_t> Clone(const CloneArgs& args);  // also fork and vfork; the child's tid
  // execve: on success the registers are the new program's. After the point of no return a
  // failure ends the task with SIGSEGV or SIGKILL as on Linux.
  Result<void> Exec(const CallContext& ctx, const ExecArgs& args);
  void Exit(int32_t code);       // exit(2); takes effect when the call returns
  void ExitGroup(int32_t code);  // exit_group(2)

  // --- signals ---
  SigSet signal_mask() const;       // any thread
  void SetSignalMask(SigSet mask);  // own; SIGKILL and SIGSTOP are left out
  // sigsuspend, ppoll, pselect, epoll_pwait: `mask` holds until the call has been left and a
  // signal, if any, has been delivered; the old mask is then back (in the frame). Own.
  void SetTemporarySignalMask(SigSet mask);
  void RestoreSignalMask();         // cancels it (the call succeeded). Own
  SigSet PendingSignalSet() const;  // sigpending(2): own and group, masked
  // What /proc/PID/status says. Any thread.
  struct SignalState {
    SigSet pending, group_pending, blocked, ignored, caught;
    uint64_t queued = 0;  // by this user, counted against RLIMIT_SIGPENDING
  };
  SignalState GetSignalState() const;
  // sigtimedwait(2): EAGAIN at the deadline, EINTR.
  Result<SigInfo> WaitForSignal(const CallContext& ctx, SigSet wanted, const Deadline& deadline);
  // signalfd: takes a pending signal of `wanted` for this task; EAGAIN.
  Result<SigInfo> TakeSignal(SigSet wanted);
  // sigaltstack(2): EPERM while on it, EINVAL, ENOMEM. Own.
  Result<SigAltStack> SetAltStack(const std::optional<SigAltStack>& stack);
  // rt_sigreturn(2); a bad frame raises SIGSEGV. Own.
  void SignalReturn();
  // Raises a synchronous signal on this task (a fault); cannot be ignored or blocked. Own.
  void ForceSignal(const SigInfo& info);

  // --- thread state the ABI keeps ---
  void SetClearChildTid(VirtAddr addr) { clear_child_tid_ = addr; }  // own
  void SetRobustList(VirtAddr head);                                 // own
  FutexState futex_state() const { return futex_state_.load(); }     // any thread
  VirtAddr robust_list() const;                                      // any thread
  void SetParentDeathSignal(SigNo sig);
  SigNo parent_death_signal() const;

  // --- rseq(2) ---
  // What registers and unregisters says of wrong arguments: EINVAL, EPERM, EBUSY, EFAULT. Own.
  Result<void> RegisterRseq(const RseqArea& area);
  Result<void> UnregisterRseq(const RseqArea& area);
  // The CPU the task says it runs on, as in its area. Any thread.
  std::optional<uint32_t> cpu_number() const;
  // Aborts the critical section, if any, and looks again at the affinity, before the program goes
  // on. Any thread; has happened when RseqRestarted() is true.
  void RestartRseq();
  bool RseqRestarted() const {
    return !in_guest_.load() || !rseq_event_.load() || cpu_number_.load() < 0;
  }

  // A fatal signal or the end of the group has come: calls that take long give up. Any thread.
  bool MustExit() const { return (work_.load() & kWorkExit) != 0; }

  // --- Settings; any thread ---
  Settings settings() const;
  void SetSettings(Settings settings);

  CallHistory& history() { return history_; }  // Begin, End: who serves the call; Read: any thread

  // --- accounting; any thread ---
  Rusage Usage() const;
  int64_t CpuTimeNs() const;                                // user + system
  int64_t start_time_ns() const { return start_time_ns_; }  // monotonic
  char StateLetter() const;                                 // R, S, T, Z as in /proc/PID/stat
  // A call that moved bytes of a file; who serves it.
  void CountRead(uint64_t bytes) { CountMove(&read_calls_, &read_bytes_, bytes); }
  void CountWrite(uint64_t bytes) { CountMove(&write_calls_, &written_bytes_, bytes); }
  // Somebody wants to see each call of this task (--strace): its own thread serves them all then,
  // none is answered by a service thread or by the guest itself. Own.
  void SetTraced(bool traced);

  // --- platform::SyscallService ---
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override;

  // Body of the host thread; returns when the task has ended. Called by Kernel.
  void Run();

 private:
  friend class ExecTransaction;
  friend class Kernel;
  friend class Reaper;
  friend class SignalSender;
  friend class TerminalControl;
  friend class ThreadGroup;

  // Reasons not to go back to the guest and not to sleep.
  static constexpr uint32_t kWorkSignal = 1;  // an unblocked signal may be pending
  static constexpr uint32_t kWorkStop = 2;    // the group is to stop
  static constexpr uint32_t kWorkExit = 4;    // the task is to end
  // Sets bits and makes the task notice, wherever it is.
  void AddWork(uint32_t bits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void ClearWork(uint32_t bits) { work_.fetch_and(~bits); }

  // One writer at a time.
  static void CountMove(std::atomic<uint64_t>* calls, std::atomic<uint64_t>* bytes, uint64_t n) {
    calls->store(calls->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    bytes->store(bytes->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  // task_run.cc
  void Start();
  platform::Exit EnterGuest();
  void HandleExit(const platform::Exit& exit);
  void ServeSyscall();
  void HandleFault(const platform::FaultExit& fault);
  void HandleException(const platform::ExceptionExit& exception);
  void HandleBusError(const platform::BusErrorExit& error);
  bool EmulateFixedAddressCall(VirtAddr address);
  void Die(std::string_view why);
  void MarkTime(std::atomic<int64_t>* account);

  // task_rseq.cc
  bool PrepareRseq();
  bool AbortCriticalSection();
  Result<void> LeaveCriticalSection();
  Result<void> StoreCpuNumber(uint32_t number);
  void ForgetRseq();
  void LeaveGuest() override { context_->Interrupt(); }
  void WakeUp() override { sleeper_.Wake(); }
  void Doze(int64_t ns) override;
  bool MustNotWait() const override { return work_.load() != 0; }

  // task_answers.cc
  void AnswerPlaceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void AnswerCredentials(const Credentials& creds);

  // task_signals.cc
  void HandleWork();
  bool HandleOneSignal();
  bool DeliverSignal(const SigInfo& info, const SigAction& action);
  void FailDelivery(SigNo sig);
  void ReportFatal(const SigInfo& info);
  void ResolveRestart(const SigAction* action);
  bool ParkForStop();
  void UpdateSignalWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void SetMaskLocked(SigSet mask) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  std::optional<QueuedSignal> TakeSignalLocked(SigSet wanted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  bool SuppressedLocked(const QueuedSignal& signal, const SigAction& action) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  // clone.cc
  Result<Init> PrepareChild(const CloneArgs& args);
  Result<TaskRef> RegisterChild(Init init, const CloneArgs& args);
  Result<TaskRef> StartChild(const CloneArgs& args, std::shared_ptr<VforkCompletion> vfork_done);
  void AddProcessLocked(ThreadGroup& child, const TaskRef& leader, const CloneArgs& args)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  Result<void> CheckTaskLimitLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  void AwaitVfork(VforkCompletion& completion);

  // task_exit.cc
  void Finish();
  bool LeaveGroup(const Rusage& memory);
  void ReleaseMemory();
  void CompleteVfork();
  Rusage MemoryUsage() const;

  Kernel* const kernel_;
  const ThreadGroupRef group_;
  std::atomic<int32_t> tid_;
  const int64_t start_time_ns_;

  // Own.
  std::unique_ptr<platform::Context> context_;
  std::unique_ptr<platform::FpuState> initial_fpu_;  // loaded by Run before the first Switch
  platform::ArchState arch_;
  VirtAddr clear_child_tid_;
  VirtAddr set_child_tid_;  // CLONE_CHILD_SETTID: stored by the child itself
  SigAltStack alt_stack_;
  TrapInfo trap_;  // the last fault, for signal frames
  RestartFn restart_;
  bool registers_replaced_ = false;  // by execve or rt_sigreturn during the present call
  bool restart_pending_ = false;     // the call's result is an internal kRESTART*
  int64_t call_result_ = 0;
  bool mask_saved_ = false;  // saved_mask_ is to come back
  RseqArea rseq_;
  CpuNumbers::Turn cpu_turn_;
  uint64_t bus_error_rip_ = 0;
  int64_t last_mark_ns_ = 0;
  std::shared_ptr<VforkCompletion> vfork_done_;  // the parent waits for it

  CallHistory history_;
  Sleeper sleeper_;
  std::atomic<uint32_t> work_{0};
  std::atomic<bool> in_guest_{false};
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> traced_{false};
  std::atomic<FutexState> futex_state_{FutexState::kOwned};
  std::atomic<bool> rseq_event_{false};  // RestartRseq
  std::atomic<int64_t> cpu_number_{-1};  // of cpu_turn_; -1: none is told

  mutable absl::Mutex mutex_;
  // The own thread writes under mutex_ and reads without; others read under mutex_.
  MemoryManagerRef mm_;
  std::shared_ptr<FdTable> fds_;
  std::shared_ptr<FsContext> fs_;
  CredentialsRef creds_ ABSL_GUARDED_BY(mutex_);
  std::string comm_ ABSL_GUARDED_BY(mutex_);
  Settings settings_ ABSL_GUARDED_BY(mutex_);
  VirtAddr robust_list_ ABSL_GUARDED_BY(mutex_);
  std::optional<clockid_t> cpu_clock_ ABSL_GUARDED_BY(mutex_);  // while the host thread lives
  int64_t final_cpu_ns_ ABSL_GUARDED_BY(mutex_) = 0;

  // Wall time inside of Switch, and outside of it but not asleep: how CPU time is split into user
  // and system time.
  std::atomic<int64_t> guest_wall_ns_{0}, sentry_wall_ns_{0};
  std::atomic<uint64_t> sleeps_{0};
  std::atomic<uint64_t> read_calls_{0}, read_bytes_{0}, write_calls_{0}, written_bytes_{0};

  PendingSignals pending_ ABSL_GUARDED_BY(task_tree_mutex);
  SigSet mask_ ABSL_GUARDED_BY(task_tree_mutex);
  SigSet saved_mask_ ABSL_GUARDED_BY(task_tree_mutex);
  SigSet awaited_ ABSL_GUARDED_BY(task_tree_mutex);  // by sigtimedwait
  SigNo parent_death_signal_ ABSL_GUARDED_BY(task_tree_mutex) = SigNo::kNone;
  bool parked_ ABSL_GUARDED_BY(task_tree_mutex) = false;    // in a group stop
  bool finished_ ABSL_GUARDED_BY(task_tree_mutex) = false;  // has left the group
};

// Loops try -> EAGAIN -> register -> try -> Block. `try_fn` returns Result<T> and has no effect
// when it answers EAGAIN. EAGAIN is never returned; kTIMEDOUT at the deadline; kRESTARTSYS;
// kWOULDBLOCK_RETRY_ON_TASK when ctx may not block.
template <typename F>
auto BlockUntil(Task& task, const CallContext& ctx, WaitQueue* queue, EventMask events,
                const Deadline& deadline, F&& try_fn) -> decltype(try_fn()) {
  auto result = try_fn();
  if (result.ok() || result.error() != Errno::kAGAIN) return result;
  if (!ctx.may_block) return Errno::kWOULDBLOCK_RETRY_ON_TASK;
  TaskWaiter waiter(task);
  if (queue != nullptr) queue->Add(&waiter, events);
  while (true) {
    result = try_fn();
    if (result.ok() || result.error() != Errno::kAGAIN) break;
    const auto slept = task.Block(deadline);
    if (slept.ok()) continue;
    // What happened meanwhile counts before the signal that came with it (SIGCHLD and wait4).
    result = try_fn();
    if (!result.ok() && result.error() == Errno::kAGAIN) result = slept.error();
    break;
  }
  if (queue != nullptr) queue->Remove(&waiter);
  return result;
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_TASK_H_
