#include "sentry/kernel/kernel.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sentry/kernel/exec.h"
#include "sentry/kernel/signal_sender.h"
#include "sentry/kernel/terminal_control.h"

namespace ringfence::sentry {
namespace {

constexpr int32_t kPidMax = 32768;        // numbers are below (proc(5), pid_max)
constexpr int32_t kFirstReusedPid = 300;  // after the numbers wrapped (RESERVED_PIDS)
constexpr int kCapSysResource = 24;

}  // namespace

Kernel::Kernel(Options options)
    : options_(std::move(options)),
      boot_time_ns_(MonotonicNow() - BoottimeNow()),
      boot_realtime_ns_(RealtimeNow() - BoottimeNow()),
      load_(MonotonicNow()),
      hostname_(options_.hostname),
      domainname_(options_.domainname) {}

Kernel::~Kernel() {
  // Tasks and groups refer to each other.
  std::map<int32_t, TaskRef> tasks;
  absl::MutexLock lock(&task_tree_mutex);
  for (auto& [tgid, group] : groups_) {
    group->JoinGroupLocked(nullptr);
    group->leader_ = nullptr;
  }
  groups_.clear();
  tasks.swap(tasks_);
}

void Kernel::Log(std::string_view line) const {
  if (options_.log) options_.log(line);
}

std::string Kernel::hostname() const {
  absl::MutexLock lock(&uts_mutex_);
  return hostname_;
}

std::string Kernel::domainname() const {
  absl::MutexLock lock(&uts_mutex_);
  return domainname_;
}

void Kernel::SetHostname(std::string_view name) {
  absl::MutexLock lock(&uts_mutex_);
  hostname_ = name;
}

void Kernel::SetDomainname(std::string_view name) {
  absl::MutexLock lock(&uts_mutex_);
  domainname_ = name;
}

// --- numbers ---

Result<int32_t> Kernel::AllocateTidLocked() {
  std::erase_if(process_groups_, [](const auto& entry) { return entry.second.expired(); });
  std::erase_if(sessions_, [](const auto& entry) { return entry.second.expired(); });
  for (int32_t tries = 0; tries < kPidMax; ++tries) {
    if (++last_tid_ >= kPidMax) last_tid_ = kFirstReusedPid;
    const int32_t tid = last_tid_;
    if (!tasks_.contains(tid) && !process_groups_.contains(tid) && !sessions_.contains(tid)) {
      return tid;
    }
  }
  return Errno::kAGAIN;
}

TaskRef Kernel::FindTaskLocked(int32_t tid) const {
  const auto it = tasks_.find(tid);
  return it == tasks_.end() ? nullptr : it->second;
}

std::shared_ptr<ProcessGroup> Kernel::FindProcessGroupLocked(int32_t pgid) const {
  const auto it = process_groups_.find(pgid);
  if (it == process_groups_.end()) return nullptr;
  std::shared_ptr<ProcessGroup> group = it->second.lock();
  // One without members is only kept by those who still look at it.
  if (group != nullptr && group->members_.empty()) return nullptr;
  return group;
}

TaskRef Kernel::FindTask(int32_t tid) const {
  absl::MutexLock lock(&task_tree_mutex);
  return FindTaskLocked(tid);
}

ThreadGroupRef Kernel::FindThreadGroup(int32_t tgid) const {
  absl::MutexLock lock(&task_tree_mutex);
  const auto it = groups_.find(tgid);
  return it == groups_.end() ? nullptr : it->second;
}

std::vector<ThreadGroupRef> Kernel::ThreadGroups() const {
  absl::MutexLock lock(&task_tree_mutex);
  std::vector<ThreadGroupRef> groups;
  for (const auto& [tgid, group] : groups_) groups.push_back(group);
  return groups;
}

size_t Kernel::NumTasks() const {
  absl::MutexLock lock(&task_tree_mutex);
  return tasks_.size();
}

Rusage Kernel::TotalUsage() const {
  absl::MutexLock lock(&task_tree_mutex);
  Rusage total = released_usage_;
  for (const auto& [tgid, group] : groups_) total.Add(group->UsageLocked());
  return total;
}

std::array<double, 3> Kernel::LoadAverages() {
  const Rusage total = TotalUsage();
  return load_.Update(MonotonicNow(), total.user_ns + total.system_ns);
}

// --- init ---

Result<TaskRef> Kernel::CreateInit(const InitArgs& args) {
  const CallContext ctx{args.creds, true, 0, 0};
  MemoryManager::Limits limits;
  limits.address_space = args.limits.Get(Resource::kAs).cur;
  limits.data = args.limits.Get(Resource::kData).cur;
  limits.stack = args.limits.Get(Resource::kStack).cur;
  bool point_of_no_return = false;  // there is no old program
  return LaunchInit(
      TRY(ExecTransaction::Load(*this, ctx, *args.fs, args.exec, limits, &point_of_no_return)),
      args);
}

Result<TaskRef> Kernel::LaunchInit(Program program, const InitArgs& args) {
  Task::Init init;
  init.kernel = this;
  {
    absl::MutexLock lock(&task_tree_mutex);
    init.tid = TRY(AllocateTidLocked());
  }
  init.group = std::make_shared<ThreadGroup>(this, init.tid);
  init.context = TRY(platform().NewContext());
  init.fpu = std::make_unique<platform::FpuState>(platform::InitialFpuState());
  init.arch = program.image.entry;
  init.mm = std::move(program.mm);
  init.fds = args.fds;
  init.fs = args.fs;
  init.creds = std::move(program.creds);
  init.comm = program.image.comm;
  const TaskRef task = std::make_shared<Task>(std::move(init));
  RegisterInit(task, args);
  const bool has_place = TakePlace();
  const Result<void> started = has_place ? StartThread(task) : Errno::kAGAIN;
  if (!started.ok()) {
    if (has_place) ReturnPlace();
    Unregister(task);
    return started.error();
  }
  const RLimit cpu = args.limits.Get(Resource::kCpu);
  if (cpu.cur != kRlimInfinity) task->group().timers().WatchCpuLimit(cpu.cur, cpu.max);
  return task;
}

void Kernel::RegisterInit(const TaskRef& task, const InitArgs& args) {
  absl::MutexLock lock(&task_tree_mutex);
  ThreadGroup& group = task->group();
  group.limits_ = args.limits;
  group.file_size_limit.store(args.limits.Get(Resource::kFsize).cur);
  group.has_cpu_limit.store(args.limits.Get(Resource::kCpu).cur != kRlimInfinity);
  group.actions_ = std::make_shared<SignalActions>();
  SigAction ignore;
  ignore.handler = kSigIgn;
  for (SigSet left = args.ignored; !left.empty(); left.Remove(left.First())) {
    group.actions_->Set(left.First(), ignore);
  }
  group.immune_ = options_.protect_init;
  group.execed_ = true;
  group.leader_ = task;
  group.tasks_.push_back(task.get());
  group.StartSessionLocked();
  if (args.terminal != nullptr) {
    static_cast<TerminalControl*>(args.terminal)->AdoptLocked(group);
  }
  groups_[group.tgid_] = task->group_ref();
  tasks_[task->tid()] = task;
  init_ = &group;
  init_has_shell_ = args.has_shell;
}

void Kernel::InitEndedLocked(int32_t status) {
  shutting_down_ = true;
  init_status_ = status;
  init_ended_.Notify();
  for (const auto& [tgid, group] : groups_) {
    if (group.get() != init_) group->StartExitLocked(KilledStatus(ToInt(SigNo::kKill), false));
  }
}

int32_t Kernel::WaitForInit() {
  init_ended_.WaitForNotification();
  int32_t status;
  {
    absl::MutexLock lock(&task_tree_mutex);
    status = init_status_;
  }
  std::optional<pthread_t> last;
  {
    absl::MutexLock lock(&threads_mutex_);
    threads_mutex_.Await(absl::Condition(
        +[](uint32_t* n) { return *n == 0; }, &live_threads_));
    last = std::exchange(ended_thread_, std::nullopt);
  }
  if (last.has_value()) pthread_join(*last, nullptr);
  return status;
}

void Kernel::Kill() {
  absl::MutexLock lock(&task_tree_mutex);
  if (init_ != nullptr) init_->StartExitLocked(KilledStatus(ToInt(SigNo::kKill), false));
}

void Kernel::SendExternalSignal(SigNo sig) {
  absl::MutexLock lock(&task_tree_mutex);
  if (init_ != nullptr)
    (void)SignalSender::SendLocked(*init_, nullptr, {SigInfo::Kernel(sig), true});
}

// --- terminals ---

std::unique_ptr<JobControl> Kernel::NewTerminal(uint64_t device) {
  return std::make_unique<TerminalControl>(this, device);
}

const JobControl* Kernel::ControllingTerminal(const CallContext& ctx) const {
  absl::MutexLock lock(&task_tree_mutex);
  const TaskRef task = FindTaskLocked(ctx.tid);
  if (task == nullptr || task->group().process_group_ == nullptr) return nullptr;
  return task->group().process_group_->session()->terminal_;
}

void Kernel::SignalForeground(SigNo sig) {
  absl::MutexLock lock(&task_tree_mutex);
  if (init_ == nullptr || init_->process_group_ == nullptr) return;
  ProcessGroup* group = TerminalControl::ForegroundLocked(*init_->process_group_->session());
  if (group == nullptr) group = init_->process_group_.get();
  SignalSender::SendToProcessGroupLocked(*group, SigInfo::Kernel(sig), true);
}

Result<void> Kernel::CheckLimitAccess(Task& caller, const ThreadGroup& target) const {
  if (&caller.group() == &target) return Ok();
  const CredentialsRef mine = caller.creds();
  if (mine->HasCapability(kCapSysResource)) return Ok();
  const TaskRef leader = target.leader();
  if (leader == nullptr) return Errno::kSRCH;
  const CredentialsRef theirs = leader->creds();
  const bool same_user =
      mine->ruid == theirs->ruid && mine->ruid == theirs->euid && mine->ruid == theirs->suid;
  const bool same_group =
      mine->rgid == theirs->rgid && mine->rgid == theirs->egid && mine->rgid == theirs->sgid;
  if (same_user && same_group) return Ok();
  return Errno::kPERM;
}

// --- host threads ---

bool Kernel::TakePlace() {
  if (places_taken_.fetch_add(1, std::memory_order_relaxed) < options_.max_tasks) return true;
  ReturnPlace();
  return false;
}

Result<void> Kernel::StartThread(const TaskRef& task) {
  constexpr size_t kStackBytes = size_t{1} << 20;
  {
    absl::MutexLock lock(&threads_mutex_);
    ++live_threads_;
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  auto start = std::make_unique<TaskRef>(task);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, &Kernel::ThreadEntry, start.get());
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    absl::MutexLock lock(&threads_mutex_);
    --live_threads_;
    return Errno::kAGAIN;
  }
  (void)start.release();  // ThreadEntry's now
  return Ok();
}

void* Kernel::ThreadEntry(void* start) {
  std::unique_ptr<TaskRef> task(static_cast<TaskRef*>(start));
  Kernel* kernel = &(*task)->kernel();
  (*task)->Run();
  task.reset();
  kernel->ThreadEnded();
  return nullptr;
}

void Kernel::ThreadEnded() {
  std::optional<pthread_t> previous;
  {
    absl::MutexLock lock(&threads_mutex_);
    previous = std::exchange(ended_thread_, pthread_self());
    ReturnPlace();
    --live_threads_;
  }
  if (previous.has_value()) pthread_join(*previous, nullptr);
}

void Kernel::Unregister(const TaskRef& task) {
  absl::MutexLock lock(&task_tree_mutex);
  ThreadGroup& group = task->group();
  std::erase(group.tasks_, task.get());
  task->finished_ = true;
  if (group.leader_ != task) {
    tasks_.erase(task->tid());
    return;
  }
  if (group.parent_ != nullptr) std::erase(group.parent_->children_, &group);
  group.parent_ = nullptr;
  group.JoinGroupLocked(nullptr);
  group.leader_ = nullptr;
  if (init_ == &group) init_ = nullptr;
  tasks_.erase(task->tid());
  groups_.erase(group.tgid_);
}

}  // namespace ringfence::sentry
