// New tasks: clone(2), fork(2), vfork(2).
#include <algorithm>

#include "sentry/kernel/arch_call.h"
#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21, kCapSysResource = 24;
constexpr uint64_t kNamespaces = kCloneNewNs | kCloneNewCgroup | kCloneNewUts | kCloneNewIpc |
                                 kCloneNewUser | kCloneNewPid | kCloneNewNet | kCloneNewTime;

// Combinations that clone(2) refuses.
Result<void> CheckFlags(uint64_t flags, const Credentials& creds) {
  const auto has = [flags](uint64_t bits) { return (flags & bits) == bits; };
  if (has(kCloneNewNs | kCloneFs) || has(kCloneNewUser | kCloneFs)) return Errno::kINVAL;
  if (has(kCloneThread) && !has(kCloneSighand)) return Errno::kINVAL;
  if (has(kCloneSighand) && !has(kCloneVm)) return Errno::kINVAL;
  if (has(kCloneSighand | kCloneClearSighand)) return Errno::kINVAL;
  if (has(kCloneThread) && (flags & (kCloneNewUser | kCloneNewPid)) != 0) return Errno::kINVAL;
  // Namespaces answer as on a kernel built without them.
  if ((flags & kNamespaces & ~kCloneNewUser) != 0 && !has(kCloneNewUser) &&
      !creds.HasCapability(kCapSysAdmin)) {
    return Errno::kPERM;
  }
  if ((flags & kNamespaces) != 0) return Errno::kINVAL;
  return Ok();
}

// The child runs on its parent's stack, or on one of its own, and is told its number.
MemoryManager::ForkHints HintsForFork(const MemoryManagerRef& mm, const platform::ArchState& arch,
                                      const CloneArgs& args) {
  MemoryManager::ForkHints hints;
  hints.alone = mm.use_count() == 1;
  hints.written.push_back(VirtAddr(StackPointer(arch)));
  if (args.stack != 0) hints.written.push_back(VirtAddr(args.stack - 1));
  if ((args.flags & kCloneChildSetTid) != 0) hints.written.push_back(args.child_tid);
  return hints;
}

}  // namespace

// What the child gets of the parent's: copies or the same objects, by flags.
Result<Task::Init> Task::PrepareChild(const CloneArgs& args) {
  const uint64_t flags = args.flags;
  Init child;
  child.kernel = kernel_;
  child.context = TRY(kernel_->platform().NewContext());
  child.context->DescendFrom(*context_);
  child.mm = (flags & kCloneVm) != 0 ? mm_ : TRY(mm_->Fork(HintsForFork(mm_, arch_, args)));
  child.fds = (flags & kCloneFiles) != 0 ? fds_ : fds_->Clone();
  child.fs = (flags & kCloneFs) != 0 ? fs_ : fs_->Clone();
  child.creds = creds();
  child.comm = comm();
  child.settings = settings();
  child.settings.default_timer_slack_ns = child.settings.timer_slack_ns;
  if (std::exchange(child.settings.reset_on_fork, false)) {
    // Fair policies stay.
    child.settings.nice = std::max(child.settings.nice, 0);
  }
  // The alternative stack of another task in the same memory is not ours to run on.
  if ((flags & (kCloneVm | kCloneVfork)) != kCloneVm) child.alt_stack = alt_stack_;
  if ((flags & kCloneVm) == 0) child.rseq = rseq_;
  std::optional<uint64_t> tls;
  if ((flags & kCloneSetTls) != 0) tls = args.tls;
  child.arch = ChildState(arch_, args.stack, tls);
  child.fpu = std::make_unique<platform::FpuState>();
  context_->SaveFpu(child.fpu.get());
  if ((flags & kCloneChildClearTid) != 0) child.clear_child_tid = args.child_tid;
  if ((flags & kCloneChildSetTid) != 0) child.set_child_tid = args.child_tid;
  return child;
}

// RLIMIT_NPROC counts the tasks of the real user.
Result<void> Task::CheckTaskLimitLocked() const {
  const CredentialsRef mine = creds();
  const uint64_t limit = group_->limits_.Get(Resource::kNproc).cur;
  if (limit == kRlimInfinity || mine->ruid == 0 || mine->HasCapability(kCapSysResource) ||
      mine->HasCapability(kCapSysAdmin)) {
    return Ok();
  }
  uint64_t count = 0;
  for (const auto& [tid, task] : kernel_->tasks_) {
    if (task != nullptr && task->creds()->ruid == mine->ruid) ++count;
  }
  if (count >= limit) return Errno::kAGAIN;
  return Ok();
}

// A process of its own for a child without CLONE_THREAD.
void Task::AddProcessLocked(ThreadGroup& child, const TaskRef& leader, const CloneArgs& args) {
  const bool sibling = (args.flags & kCloneParent) != 0;
  child.parent_ = sibling ? group_->parent_ : group_.get();
  child.parent_tid_ = sibling ? group_->parent_tid_ : tid();
  child.exit_signal_ = sibling ? group_->exit_signal_ : args.exit_signal;
  child.parent_->children_.push_back(&child);
  child.limits_ = group_->limits_;
  const bool share = (args.flags & kCloneSighand) != 0;
  child.actions_ = share ? group_->actions_ : group_->actions_->Clone();
  if ((args.flags & kCloneClearSighand) != 0) child.actions_->ResetHandlers();
  child.JoinGroupLocked(group_->process_group_);
  child.leader_ = leader;
  child.dumpable.store(group_->dumpable.load());
  child.oom_score_adj.store(group_->oom_score_adj.load());
  child.oom_score_adj_min.store(group_->oom_score_adj_min.load());
  child.file_size_limit.store(group_->file_size_limit.load());
  child.has_cpu_limit.store(group_->has_cpu_limit.load());
  child.membarrier_registered.store(group_->membarrier_registered.load());
  child.membarrier_rseq_registered.store(group_->membarrier_rseq_registered.load());
  kernel_->groups_[child.tgid_] = child.shared_from_this();
}

Result<TaskRef> Task::RegisterChild(Init init, const CloneArgs& args) {
  const bool thread = (args.flags & kCloneThread) != 0;
  absl::MutexLock lock(&task_tree_mutex);
  if (MustExit() || kernel_->shutting_down_) return Errno::kRESTARTNOINTR;
  if ((args.flags & kCloneParent) != 0 && (group_->immune_ || group_->parent_ == nullptr)) {
    return Errno::kINVAL;
  }
  TRY(CheckTaskLimitLocked());
  init.tid = TRY(kernel_->AllocateTidLocked());
  init.mask = mask_;
  init.group = thread ? group_ : std::make_shared<ThreadGroup>(kernel_, init.tid);
  const ThreadGroupRef group = init.group;
  auto child = std::make_shared<Task>(std::move(init));
  if (!thread) AddProcessLocked(*group, child, args);
  group->tasks_.push_back(child.get());
  child->AnswerPlaceLocked();
  kernel_->tasks_[child->tid()] = child;
  if (group->stop_requested_) child->AddWork(kWorkStop);
  return child;
}

// A child that is registered and whose thread runs; the caller has taken a place for it.
Result<TaskRef> Task::StartChild(const CloneArgs& args,
                                 std::shared_ptr<VforkCompletion> vfork_done) {
  Init init = TRY(PrepareChild(args));
  init.vfork_done = std::move(vfork_done);
  const TaskRef child = TRY(RegisterChild(std::move(init), args));
  const int32_t number = child->tid();
  if (args.process != nullptr) *args.process = child->group_ref();
  if ((args.flags & kCloneParentSetTid) != 0) {
    (void)mm_->CopyOut(args.parent_tid, &number, sizeof(number));
  }
  const Result<void> started = kernel_->StartThread(child);
  if (!started.ok()) {
    kernel_->Unregister(child);
    return started.error();
  }
  return child;
}

Result<int32_t> Task::Clone(const CloneArgs& args) {
  TRY(CheckFlags(args.flags, *creds()));
  if (!kernel_->TakePlace()) return Errno::kAGAIN;
  // The child may be gone before this thread goes on.
  std::shared_ptr<VforkCompletion> vfork_done;
  if ((args.flags & kCloneVfork) != 0) vfork_done = std::make_shared<VforkCompletion>();
  const Result<TaskRef> child = StartChild(args, vfork_done);
  if (!child.ok()) {
    kernel_->ReturnPlace();
    return child.error();
  }
  if (group_->has_cpu_limit.load() && (args.flags & kCloneThread) == 0) {
    const RLimit cpu = group_->GetLimit(Resource::kCpu);
    (*child)->group().timers().WatchCpuLimit(cpu.cur, cpu.max);
  }
  kernel_->forks_.fetch_add(1, std::memory_order_relaxed);
  if (vfork_done != nullptr) AwaitVfork(*vfork_done);
  return (*child)->tid();
}

// Until the child has run execve or exited, or this task is killed.
void Task::AwaitVfork(VforkCompletion& completion) {
  TaskWaiter waiter(*this);
  completion.queue().Add(&waiter, kEventIn);
  while (!completion.done()) {
    if (!Block(Deadline::Never(), Wakeup::kKillOnly).ok()) break;
  }
  completion.queue().Remove(&waiter);
}

}  // namespace ringfence::sentry
