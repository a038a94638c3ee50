// The receiving side of signals: masks, delivery, stops, what becomes of interrupted calls.
#include "absl/strings/str_format.h"
#include "sentry/kernel/arch_call.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace ringfence::sentry {

// --- masks and queues ---

SigSet Task::signal_mask() const {
  absl::MutexLock lock(&task_tree_mutex);
  return mask_;
}

void Task::SetMaskLocked(SigSet mask) {
  const SigSet newly_blocked = mask & ~mask_;
  mask_ = mask & ~kUnblockableSignals;
  UpdateSignalWork();
  // A signal of the group that was this task's to take may now be another's.
  if (!(group_->pending_.set() & newly_blocked).empty()) group_->UpdateSignalWorkLocked();
}

void Task::SetSignalMask(SigSet mask) {
  absl::MutexLock lock(&task_tree_mutex);
  SetMaskLocked(mask);
}

void Task::SetTemporarySignalMask(SigSet mask) {
  absl::MutexLock lock(&task_tree_mutex);
  if (!mask_saved_) saved_mask_ = mask_;
  mask_saved_ = true;
  SetMaskLocked(mask);
}

void Task::RestoreSignalMask() {
  absl::MutexLock lock(&task_tree_mutex);
  if (!std::exchange(mask_saved_, false)) return;
  SetMaskLocked(saved_mask_);
}

SigSet Task::PendingSignalSet() const {
  absl::MutexLock lock(&task_tree_mutex);
  return (pending_.set() | group_->pending_.set()) & mask_;
}

Task::SignalState Task::GetSignalState() const {
  const uint32_t user = creds()->ruid;
  absl::MutexLock lock(&task_tree_mutex);
  SignalState state;
  state.pending = pending_.set();
  state.group_pending = group_->pending_.set();
  state.blocked = mask_;
  const auto queued = kernel_->queued_signals_.find(user);
  if (queued != kernel_->queued_signals_.end()) state.queued = queued->second;
  if (group_->actions_ == nullptr) return state;
  for (int32_t number = 1; number <= kNumSignals; ++number) {
    const SigNo sig = static_cast<SigNo>(number);
    const uint64_t handler = group_->actions_->Get(sig).handler;
    if (handler == kSigIgn) state.ignored.Add(sig);
    if (handler != kSigIgn && handler != kSigDfl) state.caught.Add(sig);
  }
  return state;
}

void Task::UpdateSignalWork() {
  const SigSet pending = (pending_.set() | group_->pending_.set()) & ~mask_;
  if (pending.empty()) {
    ClearWork(kWorkSignal);
  } else if ((work_.load() & kWorkSignal) == 0) {
    AddWork(kWorkSignal);
  }
}

std::optional<QueuedSignal> Task::TakeSignalLocked(SigSet wanted) {
  std::optional<QueuedSignal> signal = pending_.Take(wanted);
  if (!signal.has_value()) signal = group_->pending_.Take(wanted);
  UpdateSignalWork();
  if (signal.has_value() && signal->info.code == kSiTimer) {
    group_->timers_.SignalTaken(signal->info.timer.id, signal->info.timer.overrun);
  }
  return signal;
}

Result<SigInfo> Task::TakeSignal(SigSet wanted) {
  absl::MutexLock lock(&task_tree_mutex);
  std::optional<QueuedSignal> signal = TakeSignalLocked(wanted & ~kUnblockableSignals);
  if (!signal.has_value()) return Errno::kAGAIN;
  return signal->info;
}

Result<SigInfo> Task::WaitForSignal(const CallContext& ctx, SigSet wanted,
                                    const Deadline& deadline) {
  while (true) {
    Result<SigInfo> signal = TakeSignal(wanted);
    if (signal.ok() || deadline.Passed()) return signal;
    TRY(ctx.RequireBlocking());
    {
      // Whoever sends from here on wakes us, though the signal is blocked.
      absl::MutexLock lock(&task_tree_mutex);
      awaited_ = wanted;
      const SigSet came = (pending_.set() | group_->pending_.set()) & wanted;
      if (!came.empty()) sleeper_.Wake();
    }
    const Result<void> slept = Block(deadline);
    {
      absl::MutexLock lock(&task_tree_mutex);
      awaited_ = {};
    }
    if (slept.ok()) continue;
    signal = TakeSignal(wanted);
    if (signal.ok()) return signal;
    return slept.error() == Errno::kTIMEDOUT ? Errno::kAGAIN : Errno::kINTR;
  }
}

Result<SigAltStack> Task::SetAltStack(const std::optional<SigAltStack>& stack) {
  constexpr uint64_t kMinSigStack = 2048;  // MINSIGSTKSZ; what it is too small for is found later
  const bool enabled = (alt_stack_.flags & kSsDisable) == 0;
  const bool on_stack = enabled && (alt_stack_.flags & kSsAutoDisarm) == 0 &&
                        alt_stack_.Contains(StackPointer(arch_));
  SigAltStack old = alt_stack_;
  if (on_stack) old.flags |= kSsOnStack;
  if (!stack.has_value()) return old;
  if (on_stack) return Errno::kPERM;
  const uint32_t mode = stack->flags & ~kSsAutoDisarm;
  if (mode != 0 && mode != kSsOnStack && mode != kSsDisable) return Errno::kINVAL;
  if (mode == kSsDisable) {
    alt_stack_ = SigAltStack{};
    alt_stack_.flags = stack->flags;
    return old;
  }
  if (stack->size < kMinSigStack) return Errno::kNOMEM;
  alt_stack_ = *stack;
  alt_stack_.flags = stack->flags & kSsAutoDisarm;
  return old;
}

// --- delivery ---

void Task::HandleWork() {
  while (!MustExit() && HandleOneSignal()) {
  }
  if (MustExit()) return;
  ResolveRestart(nullptr);
  RestoreSignalMask();
}

// Init has no use for a signal it has not asked for, unless the operator sent it.
bool Task::SuppressedLocked(const QueuedSignal& signal, const SigAction& action) const {
  if (action.handler == kSigIgn) return true;
  if (action.handler != kSigDfl) return false;
  const DefaultAction what = DefaultActionOf(signal.info.sig());
  if (what == DefaultAction::kIgnore || what == DefaultAction::kContinue) return true;
  return group_->immune_ && !signal.from_outside;
}

// Takes one step; false when there is nothing left to do.
bool Task::HandleOneSignal() {
  if (ParkForStop()) return true;
  SigInfo info;
  SigAction action;
  {
    absl::MutexLock lock(&task_tree_mutex);
    const std::optional<QueuedSignal> signal = TakeSignalLocked(~mask_);
    if (!signal.has_value()) return false;
    info = signal->info;
    action = group_->actions_->Get(info.sig());
    if (SuppressedLocked(*signal, action)) return true;
    if (action.handler == kSigDfl) {
      group_->DefaultLocked(info.sig());
      return true;
    }
    if ((action.flags & kSaResetHand) != 0) {
      SigAction reset = action;
      reset.handler = kSigDfl;
      group_->actions_->Set(info.sig(), reset);
    }
  }
  if (!DeliverSignal(info, action)) FailDelivery(info.sig());
  return true;
}

bool Task::DeliverSignal(const SigInfo& info, const SigAction& action) {
  ResolveRestart(&action);
  // The handler returns to where the aborted critical section goes on.
  if (!rseq_.address.is_null() && !AbortCriticalSection()) return false;
  SignalFrameRequest request;
  request.action = action;
  request.info = info;
  request.altstack = alt_stack_;
  request.trap = trap_;
  {
    absl::MutexLock lock(&task_tree_mutex);
    request.saved_mask = mask_saved_ ? saved_mask_ : mask_;
  }
  platform::FpuState fpu;
  context_->SaveFpu(&fpu);
  if (!BuildSignalFrame(*mm_, arch_, fpu, request).ok()) return false;
  context_->LoadFpu(fpu);
  LeaveCall(arch_);
  bus_error_rip_ = 0;
  if ((alt_stack_.flags & kSsAutoDisarm) != 0) alt_stack_ = SigAltStack{};
  absl::MutexLock lock(&task_tree_mutex);
  mask_saved_ = false;
  SigSet mask = mask_ | action.mask;
  if ((action.flags & kSaNoDefer) == 0) mask.Add(info.sig());
  SetMaskLocked(mask);
  return true;
}

// No room for the frame: SIGSEGV, which must not find the handler it has just failed to reach.
void Task::FailDelivery(SigNo sig) {
  if (sig == SigNo::kSegv) {
    absl::MutexLock lock(&task_tree_mutex);
    SigAction action = group_->actions_->Get(sig);
    action.handler = kSigDfl;
    group_->actions_->Set(sig, action);
  }
  ForceSignal(SigInfo::Kernel(SigNo::kSegv));
}

void Task::ForceSignal(const SigInfo& info) {
  const SigNo sig = info.sig();
  {
    absl::MutexLock lock(&task_tree_mutex);
    SigAction action = group_->actions_->Get(sig);
    const bool blocked = mask_.Has(sig);
    if (blocked || action.handler == kSigIgn) {
      action.handler = kSigDfl;
      group_->actions_->Set(sig, action);
      mask_.Remove(sig);
    }
    if (action.handler != kSigDfl) {
      pending_.Add({info});
      UpdateSignalWork();
      return;
    }
  }
  ReportFatal(info);  // without the lock: whoever reads the log may be slow
  absl::MutexLock lock(&task_tree_mutex);
  group_->DefaultLocked(sig);
}

// As Linux does in its log (show_signal_msg), and as often at most as an operator wants to read it.
void Task::ReportFatal(const SigInfo& info) {
  constexpr uint32_t kMaxReports = 100;
  if (kernel_->fatal_reports_.fetch_add(1, std::memory_order_relaxed) >= kMaxReports) return;
  kernel_->Log(absl::StrFormat("%s[%d]: signal %d code %d at %x ip %x sp %x error %x", comm(),
                               tid(), info.signo, info.code, info.fault.addr, ProgramCounter(arch_),
                               StackPointer(arch_), trap_.error_code));
}

void Task::SignalReturn() {
  registers_replaced_ = true;
  platform::FpuState fpu;
  context_->SaveFpu(&fpu);
  const Result<RestoredSignalFrame> frame = RestoreSignalFrame(*mm_, arch_, fpu);
  LeaveCall(arch_);
  if (!frame.ok()) {
    ForceSignal(SigInfo::Kernel(SigNo::kSegv));
    return;
  }
  context_->LoadFpu(fpu);
  (void)SetAltStack(frame->altstack);
  SetSignalMask(frame->mask);
}

// --- interrupted calls (signal(7), "Interruption of system calls") ---

// Decides what becomes of a call that was interrupted: `action` is the handler that runs first, or
// null when none does.
void Task::ResolveRestart(const SigAction* action) {
  if (!std::exchange(restart_pending_, false)) return;
  const bool handler = action != nullptr;
  bool repeat = !handler;
  switch (static_cast<Errno>(-call_result_)) {
    case Errno::kRESTARTNOINTR:
      repeat = true;
      break;
    case Errno::kRESTARTSYS:
      if (handler) repeat = (action->flags & kSaRestart) != 0;
      break;
    case Errno::kRESTART_RESTARTBLOCK:
      if (!handler) {
        RepeatAsRestartSyscall(arch_);
        return;
      }
      break;
    default:
      break;
  }
  if (repeat) {
    RepeatCall(arch_);
  } else {
    SetCallResult(arch_, -static_cast<int>(Errno::kINTR));
  }
}

// --- stops ---

// Sleeps while the group is stopped; true when it was.
bool Task::ParkForStop() {
  if ((work_.load() & kWorkStop) == 0) return false;
  context_->Release();
  while (true) {
    {
      absl::MutexLock lock(&task_tree_mutex);
      if (!group_->stop_requested_ || MustExit()) {
        parked_ = false;
        ClearWork(kWorkStop);
        break;
      }
      if (!parked_) {
        parked_ = true;
        group_->CheckStoppedLocked();
      }
    }
    (void)sleeper_.Sleep(Deadline::Never());
  }
  MarkTime(nullptr);
  return true;
}

}  // namespace ringfence::sentry
