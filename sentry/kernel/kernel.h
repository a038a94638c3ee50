// Kernel: the sandbox's kernel as one object: tasks by number, init, and what is global.
//
// Life: Create, CreateInit, then WaitForInit from boot's thread. When init ends every task is
// killed and its host thread joined; then WaitForInit returns init's wait status. The destructor
// expects that; a Kernel whose init never ran may be destroyed at once.
// Threads: any.
#ifndef RINGFENCE_SENTRY_KERNEL_KERNEL_H_
#define RINGFENCE_SENTRY_KERNEL_KERNEL_H_

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/notification.h"
#include "platform/api/platform.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kill.h"
#include "sentry/kernel/load_average.h"
#include "sentry/kernel/pi_futex.h"
#include "sentry/kernel/syscall_dispatcher.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"
#include "sentry/kernel/timer_queue.h"
#include "sentry/kernel/wait.h"
#include "sentry/loader/loader.h"
#include "sentry/loader/vdso/vdso.h"
#include "sentry/vfs/job_control.h"

namespace ringfence::sentry {

// Init leads session 1 and process group 1.
struct InitArgs {
  CredentialsRef creds;
  std::shared_ptr<FsContext> fs;
  std::shared_ptr<FdTable> fds;
  ExecArgs exec;
  ResourceLimits limits;
  SigSet ignored;                  // signals that it begins with at SIG_IGN, as after execve(2)
  JobControl* terminal = nullptr;  // its controlling terminal, of NewTerminal(); null: none
  // Somebody outside continues init when it has been stopped (init_stopped), as the shell of the
  // operator does: its process group is not orphaned and stops for SIGTSTP.
  bool has_shell = false;
};

class Kernel {
 public:
  // A program that has been loaded and not started.
  struct Program {
    MemoryManagerRef mm;
    CredentialsRef creds;
    LoadedImage image;
    bool secure = false;  // runs with other rights than its caller's (AT_SECURE)
  };

  struct Options {
    platform::Platform* platform = nullptr;   // outlives the kernel
    SyscallDispatcher* dispatcher = nullptr;  // outlives the kernel
    std::string hostname = "ringfence";
    std::string domainname = "(none)";
    uint32_t max_tasks = 4096;   // each is a host thread; EAGAIN beyond
    uint32_t cpus = 1;           // that programs see
    const Vdso* vdso = nullptr;  // outlives the kernel; null: programs get none
    bool exitless = true;        // tasks offer their calls to service threads
    bool trace = false;          // --strace
    // pid 1 ignores signals it has no handler for, as on Linux; off for `ringfence do`, whose
    // command expects to be an ordinary process.
    bool protect_init = true;
    // Init has been stopped by a signal. Called under task_tree_mutex: must not wait.
    std::function<void()> init_stopped;
    // One line for the operator (a killed task, a host failure).
    std::function<void(std::string_view)> log;
  };
  explicit Kernel(Options options);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  platform::Platform& platform() const { return *options_.platform; }
  SyscallDispatcher& dispatcher() const { return *options_.dispatcher; }
  const Options& options() const { return options_; }
  FutexManager& futexes() { return futexes_; }
  PiFutexes& pi_futexes() { return pi_futexes_; }
  TimerQueue& timers() { return timers_; }
  // The machine's start, which CLOCK_BOOTTIME counts from, by the other clocks: for uptime, the
  // start times of /proc/PID/stat, and btime of /proc/stat.
  int64_t boot_time_ns() const { return boot_time_ns_; }
  int64_t boot_realtime_ns() const { return boot_realtime_ns_; }
  void Log(std::string_view line) const;

  // UTS names: sethostname(2), uname(2).
  std::string hostname() const;
  std::string domainname() const;
  void SetHostname(std::string_view name);
  void SetDomainname(std::string_view name);

  // Makes init (pid 1) and starts it. Errors of execve.
  Result<TaskRef> CreateInit(const InitArgs& args);
  // Blocks until init has ended and every host thread is gone; returns its wait status.
  int32_t WaitForInit();
  // Kills everything with SIGKILL (the operator gave up); WaitForInit then returns soon.
  void Kill();
  // A signal from outside, to init; default actions apply though it is init.
  void SendExternalSignal(SigNo sig);

  // --- look-up; null when there is none ---
  TaskRef FindTask(int32_t tid) const;
  ThreadGroupRef FindThreadGroup(int32_t tgid) const;  // live or zombie
  std::vector<ThreadGroupRef> ThreadGroups() const;    // by tgid
  size_t NumTasks() const;

  // --- terminals ---
  // State of a new terminal that is nobody's controlling terminal yet; `device` as in st_rdev. The
  // kernel outlives it.
  std::unique_ptr<JobControl> NewTerminal(uint64_t device);
  // The controlling terminal of the caller, to tell it by; null: none.
  const JobControl* ControllingTerminal(const CallContext& ctx) const;
  // A key of the operator's terminal (SIGINT, SIGQUIT, SIGTSTP) or SIGWINCH: to the foreground
  // group of init's terminal, or to init where there is none.
  void SignalForeground(SigNo sig);

  // prlimit(2) and kin: may `caller` see and change `target`'s limits? EPERM.
  Result<void> CheckLimitAccess(Task& caller, const ThreadGroup& target) const;

  // Of all processes since boot, also those that are gone, without the memory figures of live ones.
  Rusage TotalUsage() const;
  // The mean number of tasks on a CPU over the last 1, 5 and 15 minutes, as of this call.
  std::array<double, 3> LoadAverages();
  // Forks since boot, for /proc/stat.
  uint64_t forks() const { return forks_.load(std::memory_order_relaxed); }

 private:
  friend class Task;
  friend class ThreadGroup;
  friend class SignalSender;
  friend class Reaper;
  friend class ExecTransaction;
  friend class TerminalControl;
  friend class ChildWaiter;
  friend class KernelTester;

  // A number that names no task, group or session. EAGAIN when there is none.
  Result<int32_t> AllocateTidLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  TaskRef FindTaskLocked(int32_t tid) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  std::shared_ptr<ProcessGroup> FindProcessGroupLocked(int32_t pgid) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);
  Result<TaskRef> LaunchInit(Program program, const InitArgs& args);
  void RegisterInit(const TaskRef& task, const InitArgs& args);
  // One of the max_tasks places, false: none is left. First of all when a task is made, and without
  // a lock: at the limit a fork bomb must not cost more than its system calls. A task whose thread
  // has started keeps its place until the thread ends.
  bool TakePlace();
  void ReturnPlace() { places_taken_.fetch_sub(1, std::memory_order_relaxed); }
  // Starts the host thread of a registered task that has a place. EAGAIN.
  Result<void> StartThread(const TaskRef& task);
  static void* ThreadEntry(void* start);
  void ThreadEnded();
  // Forgets a task whose thread could not be started.
  void Unregister(const TaskRef& task);
  void InitEndedLocked(int32_t status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(task_tree_mutex);

  const Options options_;
  const int64_t boot_time_ns_;
  const int64_t boot_realtime_ns_;
  FutexManager futexes_;
  PiFutexes pi_futexes_;
  TimerQueue timers_;
  LoadAverage load_;
  std::atomic<uint64_t> forks_{0};
  std::atomic<uint32_t> places_taken_{0};
  std::atomic<uint32_t> fatal_reports_{0};  // lines logged about fatal faults

  mutable absl::Mutex uts_mutex_;
  std::string hostname_ ABSL_GUARDED_BY(uts_mutex_);
  std::string domainname_ ABSL_GUARDED_BY(uts_mutex_);

  std::map<int32_t, TaskRef> tasks_ ABSL_GUARDED_BY(task_tree_mutex);
  std::map<int32_t, ThreadGroupRef> groups_ ABSL_GUARDED_BY(task_tree_mutex);
  std::map<int32_t, std::weak_ptr<ProcessGroup>> process_groups_ ABSL_GUARDED_BY(task_tree_mutex);
  std::map<int32_t, std::weak_ptr<Session>> sessions_ ABSL_GUARDED_BY(task_tree_mutex);
  std::map<uint32_t, uint64_t> queued_signals_ ABSL_GUARDED_BY(task_tree_mutex);  // by ruid
  int32_t last_tid_ ABSL_GUARDED_BY(task_tree_mutex) = 0;
  ThreadGroup* init_ ABSL_GUARDED_BY(task_tree_mutex) = nullptr;
  bool init_has_shell_ ABSL_GUARDED_BY(task_tree_mutex) = false;
  bool shutting_down_ ABSL_GUARDED_BY(task_tree_mutex) = false;
  int32_t init_status_ ABSL_GUARDED_BY(task_tree_mutex) = 0;
  Rusage released_usage_ ABSL_GUARDED_BY(task_tree_mutex);  // of processes that are gone
  absl::Notification init_ended_;

  // Host threads. One that ends joins the one that ended before it, so at most one is unjoined.
  absl::Mutex threads_mutex_;
  uint32_t live_threads_ ABSL_GUARDED_BY(threads_mutex_) = 0;
  std::optional<pthread_t> ended_thread_ ABSL_GUARDED_BY(threads_mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_KERNEL_H_
