#include "sentry/kernel/task.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {

ABSL_CONST_INIT absl::Mutex task_tree_mutex(absl::kConstInit);

void VforkCompletion::Complete() {
  done_.store(true);
  queue_.Notify(kEventIn);
}

void TaskWaiter::Wake(EventMask) { task_.Wake(); }

Task::Task(Init init)
    : kernel_(init.kernel),
      group_(std::move(init.group)),
      tid_(init.tid),
      start_time_ns_(MonotonicNow()),
      context_(std::move(init.context)),
      initial_fpu_(std::move(init.fpu)),
      arch_(init.arch),
      clear_child_tid_(init.clear_child_tid),
      set_child_tid_(init.set_child_tid),
      alt_stack_(init.alt_stack),
      rseq_(init.rseq),
      vfork_done_(std::move(init.vfork_done)),
      mm_(std::move(init.mm)),
      fds_(std::move(init.fds)),
      fs_(std::move(init.fs)),
      creds_(std::move(init.creds)),
      comm_(std::move(init.comm)),
      settings_(std::move(init.settings)),
      mask_(init.mask) {
  if (context_ != nullptr && kernel_->options().exitless) context_->SetService(this);
  SetTraced(kernel_->options().trace);
  AnswerCredentials(*creds_);
}

Task::~Task() = default;

int32_t Task::tgid() const { return group_->tgid(); }

MemoryManagerRef Task::mm_ref() const {
  absl::MutexLock lock(&mutex_);
  return mm_;
}

std::shared_ptr<FdTable> Task::fds_ref() const {
  absl::MutexLock lock(&mutex_);
  return fds_;
}

std::shared_ptr<FsContext> Task::fs_ref() const {
  absl::MutexLock lock(&mutex_);
  return fs_;
}

CredentialsRef Task::creds() const {
  absl::MutexLock lock(&mutex_);
  return creds_;
}

std::string Task::comm() const {
  absl::MutexLock lock(&mutex_);
  return comm_;
}

CallContext Task::call_context() const {
  CallContext ctx{creds(), true, tgid(), tid()};
  ctx.file_size_limit = group_->file_size_limit.load(std::memory_order_relaxed);
  return ctx;
}

void Task::SetCreds(CredentialsRef creds) {
  const CredentialsRef old = this->creds();
  const bool more_private = old->euid != creds->euid || old->egid != creds->egid ||
                            old->fsuid != creds->fsuid || old->fsgid != creds->fsgid ||
                            (creds->permitted & ~old->permitted) != 0;
  if (more_private) {
    // What the process knew under its old identity is not for the new one's peers
    // (PR_SET_DUMPABLE, PR_SET_PDEATHSIG of prctl(2)).
    group_->dumpable.store(0);
    SetParentDeathSignal(SigNo::kNone);
  }
  AnswerCredentials(*creds);
  absl::MutexLock lock(&mutex_);
  creds_.swap(creds);
}

Task::Settings Task::settings() const {
  absl::MutexLock lock(&mutex_);
  return settings_;
}

void Task::SetSettings(Settings settings) {
  absl::MutexLock lock(&mutex_);
  settings_ = std::move(settings);
}

void Task::SetComm(std::string_view comm) {
  constexpr size_t kMaxComm = 15;
  absl::MutexLock lock(&mutex_);
  comm_ = comm.substr(0, kMaxComm);
}

void Task::SetFds(std::shared_ptr<FdTable> fds) {
  // The old table may be the last of its kind: it closes its files after the lock is gone.
  absl::MutexLock lock(&mutex_);
  fds_.swap(fds);
}

void Task::SetFs(std::shared_ptr<FsContext> fs) {
  absl::MutexLock lock(&mutex_);
  fs_.swap(fs);
}

void Task::SetRobustList(VirtAddr head) {
  absl::MutexLock lock(&mutex_);
  robust_list_ = head;
}

VirtAddr Task::robust_list() const {
  absl::MutexLock lock(&mutex_);
  return robust_list_;
}

void Task::SetParentDeathSignal(SigNo sig) {
  absl::MutexLock lock(&task_tree_mutex);
  parent_death_signal_ = sig;
}

SigNo Task::parent_death_signal() const {
  absl::MutexLock lock(&task_tree_mutex);
  return parent_death_signal_;
}

// --- blocking ---

void Task::AddWork(uint32_t bits) {
  if (finished_) return;
  work_.fetch_or(bits);
  sleeper_.Wake();
  // EnterGuest sets in_guest_ before it looks at work_: one of the two sees the other.
  if (in_guest_.load()) context_->Interrupt();
}

Result<void> Task::Block(const Deadline& deadline, Wakeup wakeup) {
  const uint32_t interrupts = wakeup == Wakeup::kKillOnly ? kWorkExit : ~uint32_t{0};
  if ((work_.load() & interrupts) != 0) return Errno::kRESTARTSYS;
  context_->Release();
  MarkTime(&sentry_wall_ns_);
  sleeping_.store(true, std::memory_order_relaxed);
  const bool woken = sleeper_.Sleep(deadline);
  sleeping_.store(false, std::memory_order_relaxed);
  sleeps_.fetch_add(1, std::memory_order_relaxed);
  MarkTime(nullptr);
  if ((work_.load() & interrupts) != 0) return Errno::kRESTARTSYS;
  if (!woken) return Errno::kTIMEDOUT;
  return Ok();
}

int64_t Task::Restart() {
  RestartFn restart = std::exchange(restart_, nullptr);
  if (restart == nullptr) return -static_cast<int>(Errno::kINTR);
  return restart(*this);
}

// --- accounting ---

// Adds the wall time since the last mark to `account`, or drops it.
void Task::MarkTime(std::atomic<int64_t>* account) {
  const int64_t now = MonotonicNow();
  const int64_t passed = now - std::exchange(last_mark_ns_, now);
  if (account != nullptr) account->fetch_add(passed, std::memory_order_relaxed);
}

int64_t Task::CpuTimeNs() const {
  absl::MutexLock lock(&mutex_);
  if (!cpu_clock_.has_value()) return final_cpu_ns_;
  struct timespec ts;
  if (clock_gettime(*cpu_clock_, &ts) != 0) return final_cpu_ns_;
  return int64_t{ts.tv_sec} * kNanosPerSecond + ts.tv_nsec;
}

Rusage Task::Usage() const {
  Rusage usage;
  const int64_t cpu = CpuTimeNs();
  const double guest = static_cast<double>(guest_wall_ns_.load(std::memory_order_relaxed));
  const double sentry = static_cast<double>(sentry_wall_ns_.load(std::memory_order_relaxed));
  const double share = guest + sentry > 0 ? guest / (guest + sentry) : 1.0;
  usage.user_ns =
      std::clamp(static_cast<int64_t>(static_cast<double>(cpu) * share), int64_t{0}, cpu);
  usage.system_ns = cpu - usage.user_ns;
  usage.voluntary_switches = sleeps_.load(std::memory_order_relaxed);
  usage.read_calls = read_calls_.load(std::memory_order_relaxed);
  usage.read_bytes = read_bytes_.load(std::memory_order_relaxed);
  usage.write_calls = write_calls_.load(std::memory_order_relaxed);
  usage.written_bytes = written_bytes_.load(std::memory_order_relaxed);
  return usage;
}

Rusage Task::MemoryUsage() const {
  Rusage usage;
  const MemoryManagerRef mm = mm_ref();
  if (mm == nullptr) return usage;
  const MemoryManager::Usage memory = mm->GetUsage();
  usage.max_rss_bytes = memory.peak_resident_bytes;
  usage.minor_faults = memory.minor_faults;
  usage.major_faults = memory.major_faults;
  return usage;
}

char Task::StateLetter() const {
  absl::MutexLock lock(&task_tree_mutex);
  if (finished_) return 'Z';
  if (parked_) return 'T';
  return sleeping_.load(std::memory_order_relaxed) ? 'S' : 'R';
}

}  // namespace ringfence::sentry
