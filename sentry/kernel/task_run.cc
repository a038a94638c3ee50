// The life of a task on its host thread: enter the guest, serve the exit, deliver what is pending.
#include <pthread.h>

#include "absl/strings/str_cat.h"
#include "sentry/kernel/arch_call.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/oom.h"
#include "sentry/kernel/task.h"

namespace ringfence::sentry {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

bool IsRestart(int64_t result) {
  switch (static_cast<Errno>(-result)) {
    case Errno::kRESTARTSYS:
    case Errno::kRESTARTNOINTR:
    case Errno::kRESTARTNOHAND:
    case Errno::kRESTART_RESTARTBLOCK:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Task::Run() {
  Start();
  while (true) {
    if (HasPendingWork() || restart_pending_ || mask_saved_) HandleWork();
    if (MustExit()) break;
    HandleExit(EnterGuest());
  }
  Finish();
}

void Task::Start() {
  clockid_t clock;
  if (pthread_getcpuclockid(pthread_self(), &clock) == 0) {
    absl::MutexLock lock(&mutex_);
    cpu_clock_ = clock;
  }
  last_mark_ns_ = MonotonicNow();
  if (initial_fpu_ != nullptr) context_->LoadFpu(*initial_fpu_);
  initial_fpu_.reset();
  if (!set_child_tid_.is_null()) {
    // As on Linux, a bad address is nobody's error.
    const int32_t number = tid();
    (void)mm_->CopyOut(set_child_tid_, &number, sizeof(number));
  }
}

platform::Exit Task::EnterGuest() {
  if (const Vdso* vdso = kernel_->options().vdso) vdso->time().Update();
  if (!rseq_.address.is_null() && !PrepareRseq()) return platform::InterruptedExit{};
  MarkTime(&sentry_wall_ns_);
  in_guest_.store(true);
  if (work_.load() != 0 || (!rseq_.address.is_null() && rseq_event_.load())) {
    in_guest_.store(false);
    if (cpu_turn_.serial != 0) group_->cpu_numbers().Leave(cpu_turn_);
    return platform::InterruptedExit{};
  }
  platform::Context::SwitchOptions options;
  options.exitless = kernel_->options().exitless && !traced_.load(std::memory_order_relaxed);
  platform::Exit exit = context_->Switch(mm_->space(), arch_, options);
  in_guest_.store(false);
  if (cpu_turn_.serial != 0) group_->cpu_numbers().Leave(cpu_turn_);
  MarkTime(&guest_wall_ns_);
  return exit;
}

void Task::HandleExit(const platform::Exit& exit) {
  const auto* exception = std::get_if<platform::ExceptionExit>(&exit);
  if (exception != nullptr && IsCallTailException(*exception) &&
      mm_->IsCallTail(VirtAddr(ProgramCounter(arch_)))) {
    bus_error_rip_ = 0;
    EnterCallAtTail(arch_);
    ServeSyscall();
    return;
  }
  if (const auto* call = std::get_if<platform::SyscallExit>(&exit)) {
    bus_error_rip_ = 0;
    const VirtAddr after(ProgramCounter(arch_));
    if (call->trapped && mm_->CountTrap(after)) mm_->RewriteCallSite(after);
    ServeSyscall();
    return;
  }
  LeaveCall(arch_);
  std::visit(Overloaded{
                 [](const platform::SyscallExit&) {},
                 [this](const platform::FaultExit& e) { HandleFault(e); },
                 [this](const platform::ExceptionExit& e) { HandleException(e); },
                 [this](const platform::BusErrorExit& e) { HandleBusError(e); },
                 [](const platform::InterruptedExit&) {},
                 [this](const platform::FatalExit& e) { Die(e.message); },
             },
             exit);
}

void Task::ServeSyscall() {
  registers_replaced_ = false;
  const int64_t result = kernel_->dispatcher().Dispatch(*this, CallOf(arch_));
  if (registers_replaced_) return;
  call_result_ = result;
  SetCallResult(arch_, result);
  restart_pending_ = IsRestart(result);
}

bool Task::Serve(const platform::SyscallRequest& request, int64_t* result) {
  if (HasPendingWork() || traced_.load(std::memory_order_relaxed)) return false;
  SyscallDispatcher& dispatcher = kernel_->dispatcher();
  // One exit for the sake of those to come: only the task's own thread may rewrite.
  if (request.trapped_after != 0 && dispatcher.IsExitless(request.number) &&
      mm_->CountTrap(VirtAddr(request.trapped_after))) {
    return false;
  }
  return dispatcher.ServeNonBlocking(*this, request, result);
}

void Task::HandleFault(const platform::FaultExit& fault) {
  if (fault.access == Access::kExec && EmulateFixedAddressCall(fault.address)) return;
  const uint64_t address = fault.address.value();
  SigInfo info;
  switch (mm_->HandleFault(fault.address, fault.access)) {
    case FaultResult::kHandled:
      return;
    case FaultResult::kMapError:
      info = SigInfo::FaultAt(SigNo::kSegv, kSegvMapErr, address);
      break;
    case FaultResult::kAccessError:
      info = SigInfo::FaultAt(SigNo::kSegv, kSegvAccErr, address);
      break;
    case FaultResult::kBusError:
      info = SigInfo::FaultAt(SigNo::kBus, kBusAdrErr, address);
      break;
    case FaultResult::kOutOfMemory:
      HandleOutOfMemory(*this);
      return;
  }
  trap_ = TrapOf(fault);
  ForceSignal(info);
}

bool Task::EmulateFixedAddressCall(VirtAddr address) {
  const std::optional<uint64_t> number = FixedAddressCall(address);
  if (!number.has_value()) return false;
  uint64_t return_address = 0;
  if (!mm_->CopyIn(&return_address, VirtAddr(StackPointer(arch_)), sizeof(return_address)).ok()) {
    ForceSignal(SigInfo::Kernel(SigNo::kSegv));
    return true;
  }
  platform::SyscallRequest request = CallOf(arch_);
  request.number = *number;
  const int64_t result = kernel_->dispatcher().Dispatch(*this, request);
  ReturnFromFixedAddressCall(arch_, result, return_address);
  return true;
}

void Task::HandleException(const platform::ExceptionExit& exception) {
  uint8_t byte_before = 0;
  if (NeedsByteBefore(exception)) {
    (void)mm_->CopyIn(&byte_before, VirtAddr(ProgramCounter(arch_) - 1), sizeof(byte_before));
  }
  platform::FpuState fpu;
  const bool numeric = NeedsFpuState(exception);
  if (numeric) context_->SaveFpu(&fpu);
  const ExceptionSignal signal = SignalOf(exception, arch_, byte_before, numeric ? &fpu : nullptr);
  trap_ = signal.trap;
  ForceSignal(signal.info);
}

void Task::HandleBusError(const platform::BusErrorExit& error) {
  // The first time: whatever lost its backing is unmapped, and the access faults properly, with an
  // address, when it is tried again. A second time at the same place that did not help.
  if (bus_error_rip_ != ProgramCounter(arch_)) {
    bus_error_rip_ = ProgramCounter(arch_);
    mm_->DropFileLeaves();
    return;
  }
  bus_error_rip_ = 0;
  ForceSignal(SigInfo::FaultAt(SigNo::kBus, kBusAdrErr, error.address.value()));
}

void Task::Die(std::string_view why) {
  kernel_->Log(absl::StrCat("process ", tgid(), " (", comm(),
                            ") killed: ", absl::string_view(why.data(), why.size())));
  absl::MutexLock lock(&task_tree_mutex);
  group_->StartExitLocked(KilledStatus(ToInt(SigNo::kKill), false));
}

}  // namespace ringfence::sentry
