// execve(2): the new program is loaded first; then the other threads end, and the task takes the
// new memory. A failure leaves the old program as it was, or kills it where Linux would have thrown
// it away already.
#include "sentry/kernel/exec.h"

#include "sentry/kernel/kernel.h"
#include "sentry/loader/loader.h"

namespace ringfence::sentry {

namespace {

// For /proc/PID/exe: where the file was opened, as the process sees it.
std::string ExePath(const FsContext& fs, const ExecArgs& args) {
  if (!args.exe_path.empty()) return args.exe_path;
  if (args.file->dentry() == nullptr) return args.file->AnonymousName();
  return Vfs::PathOf(args.file->dentry(), fs.root());
}

}  // namespace

Result<ExecTransaction::Program> ExecTransaction::Load(Kernel& kernel, const CallContext& ctx,
                                                       const FsContext& fs, const ExecArgs& args,
                                                       const MemoryManager::Limits& limits,
                                                       bool* point_of_no_return) {
  Program program;
  const ExecCredentials credentials = TRY(CredentialsAfterExec(ctx, *args.file));
  program.creds = credentials.creds;
  program.secure = credentials.secure;
  program.mm = TRY(MemoryManager::Create(&kernel.platform(), {.randomize = args.randomize}));
  program.mm->SetLimits(limits);
  const auto open = [&ctx, &fs](std::string_view path) -> Result<FileRef> {
    return OpenProgram(ctx, PathBase{&fs, nullptr}, path);
  };
  const LoadRequest request{
      .ctx = ctx,
      .executable = args.file,
      .path = args.path,
      .exe_path = ExePath(fs, args),
      .open = open,
      .argv = args.argv,
      .envp = args.envp,
      .mm = program.mm.get(),
      .vdso = kernel.options().vdso,
      .secure = credentials.secure,
      .randomize = args.randomize,
      .stack_limit = limits.stack,
      .point_of_no_return = point_of_no_return,
  };
  program.image = TRY(LoadImage(request));
  return program;
}

// Ends the other threads (de_thread of Linux) and makes the task the leader. False: the task itself
// is to end, since somebody else ended the group first.
bool ExecTransaction::TakeOverGroup(Task& task) {
  ThreadGroup& group = *task.group_;
  {
    absl::MutexLock lock(&task_tree_mutex);
    if (group.exiting_ || group.exec_task_ != nullptr) return false;
    group.exec_task_ = &task;
    for (Task* other : group.tasks_) {
      if (other != &task) other->AddWork(Task::kWorkExit);
    }
  }
  while (!AloneOrKilled(task)) (void)task.Block(Deadline::Never(), Task::Wakeup::kKillOnly);
  absl::MutexLock lock(&task_tree_mutex);
  group.exec_task_ = nullptr;
  if (task.MustExit()) return false;
  if (group.leader_.get() == &task) return true;
  Kernel& kernel = *task.kernel_;
  kernel.tasks_.erase(task.tid());
  task.tid_.store(group.tgid_);
  group.leader_ = task.shared_from_this();
  kernel.tasks_[group.tgid_] = group.leader_;
  task.AnswerPlaceLocked();
  return true;
}

bool ExecTransaction::AloneOrKilled(Task& task) {
  absl::MutexLock lock(&task_tree_mutex);
  return task.MustExit() || task.group_->tasks_.size() == 1;
}

void ExecTransaction::ReplaceMemory(Task& task, MemoryManagerRef mm) {
  const Rusage old = task.MemoryUsage();
  task.ReleaseMemory();
  task.kernel_->pi_futexes().OwnerGone(task.tid());
  {
    absl::MutexLock lock(&task.mutex_);
    task.mm_.swap(mm);
  }
  absl::MutexLock lock(&task_tree_mutex);
  task.group_->finished_usage_.Add(old);
}

void ExecTransaction::ResetSignals(Task& task) {
  ThreadGroup& group = *task.group_;
  task.alt_stack_ = SigAltStack{};
  absl::MutexLock lock(&task_tree_mutex);
  if (group.actions_.use_count() > 1) group.actions_ = group.actions_->Clone();
  group.actions_->ResetForExec();
  group.exit_signal_ = SigNo::kChld;
  group.execed_ = true;
}

void ExecTransaction::Commit(Task& task, Program program) {
  task.ForgetRseq();
  ReplaceMemory(task, std::move(program.mm));
  ResetSignals(task);
  task.group_->timers().DeletePosixTimers();
  if (task.fds_.use_count() > 1) task.SetFds(task.fds_->Clone());
  task.fds_->CloseOnExec();
  task.group_->membarrier_registered.store(false);
  task.group_->membarrier_rseq_registered.store(false);
  task.group_->dumpable.store(program.secure ? 0 : 1);
  task.SetCreds(std::move(program.creds));
  task.SetComm(program.image.comm);
  task.restart_ = nullptr;
  task.arch_ = program.image.entry;
  task.context_->LoadFpu(platform::InitialFpuState());
  task.registers_replaced_ = true;
  task.restart_pending_ = false;
}

Result<void> Task::Exec(const CallContext& ctx, const ExecArgs& args) {
  MemoryManager::Limits limits;
  {
    absl::MutexLock lock(&task_tree_mutex);
    limits = group_->MemoryLimitsLocked();
  }
  bool old_program_gone = false;
  Result<ExecTransaction::Program> program =
      ExecTransaction::Load(*kernel_, ctx, *fs_, args, limits, &old_program_gone);
  if (!program.ok()) {
    absl::MutexLock lock(&task_tree_mutex);
    if (old_program_gone) group_->DefaultLocked(SigNo::kSegv);
    return program.error();
  }
  if (!ExecTransaction::TakeOverGroup(*this)) return Errno::kRESTARTNOINTR;
  ExecTransaction::Commit(*this, std::move(program).value());
  return Ok();
}

}  // namespace ringfence::sentry
