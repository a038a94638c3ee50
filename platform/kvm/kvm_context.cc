#include "platform/kvm/kvm_context.h"

#include <chrono>
#include <ctime>
#include <string>

#include "platform/kvm/arch/x86_64/registers.h"
#include "platform/kvm/kick_unsafe.h"

namespace ringfence::kvm {
namespace {

using platform::ArchState;
using platform::Exit;

constexpr uint8_t kVectorDebug = 1;
constexpr uint8_t kVectorInvalidOpcode = 6;
constexpr uint8_t kVectorGeneralProtection = 13;
// How long invalidations excuse that KVM cannot page something in: the thread of the latest one may
// wait for a CPU half-way. A page that really is gone, beside others that never stop, ends here.
constexpr auto kUnbackedPatience = std::chrono::seconds(1);
constexpr size_t kLongestInstruction = 15;
constexpr uint64_t kSyscallBytes = 2;

}  // namespace

// The stub that looks at futexes runs in ring 3.
KvmContext::KvmContext(const Shared& shared)
    : shared_(shared),
      wait_looks_(shared.flavour == Flavour::kDeprivileged && shared.service_thread->enabled()
                      ? shared.service_thread->spin_limit()
                      : 0,
                  shared.exit_ns),
      fpu_(platform::InitialFpuState()) {
  answers_.SetLooks(wait_looks_.looks());
}

KvmContext::~KvmContext() {
  if (Pin()) {
    answers_.Detach();
    shared_.pool->Yield(this, vcpu_);
  }
  shared_.pool->Synchronize();
}

bool KvmContext::TakeInterrupt() {
  if (!pending_.load(std::memory_order_relaxed)) return false;
  if (!pending_.exchange(false, std::memory_order_acq_rel)) return false;
  Count(shared_.stats->exits_interrupt);
  return true;
}

void KvmContext::Kick() {
  if (!in_guest_.load(std::memory_order_seq_cst)) return;
  Count(shared_.stats->kicks);
  SendKick(thread_.load(std::memory_order_relaxed));
}

void KvmContext::Interrupt() {
  pending_.store(true, std::memory_order_seq_cst);
  Kick();
  shared_.pool->StopWaiting(this);
}

void KvmContext::AskToYield() {
  yield_.store(true, std::memory_order_seq_cst);
  Kick();
}

bool KvmContext::TryLose() {
  uint32_t held = hold_.load(std::memory_order_relaxed);
  if (held != kHeld && held != kReleased) return false;
  if (!hold_.compare_exchange_strong(held, kNone, std::memory_order_acq_rel)) return false;
  answers_.Detach();
  if (!fpu_dirty_ && vcpu_->SaveFpu(&fpu_).ok()) fpu_dirty_ = true;
  vcpu_ = nullptr;
  return true;
}

int64_t KvmContext::CpuNanos() const {
  timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return used.tv_sec * int64_t{1000000000} + used.tv_nsec;
}

bool KvmContext::Pin() {
  uint32_t held = hold_.load(std::memory_order_relaxed);
  while (held == kHeld || held == kReleased) {
    if (hold_.compare_exchange_weak(held, kPinned, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void KvmContext::Unpin() { hold_.store(kHeld, std::memory_order_release); }

Result<void> KvmContext::PinAny() {
  if (Pin()) return Ok();
  PooledVcpu* vcpu = TRY(shared_.pool->Acquire(this));
  vcpu_ = static_cast<Vcpu*>(vcpu);
  vcpu_->Adopt();
  vcpu_->ForgetBases();
  answers_.Attach(vcpu_->answers());
  fpu_dirty_ = true;
  // Not before: a slice that ends while the thread still waits for its vCPU would never let it run.
  shared_.pool->StartSlice(vcpu_);
  yield_.store(false, std::memory_order_relaxed);
  hold_.store(kPinned, std::memory_order_release);
  return Ok();
}

void KvmContext::YieldVcpu() {
  answers_.Detach();
  if (!fpu_dirty_ && vcpu_->SaveFpu(&fpu_).ok()) fpu_dirty_ = true;
  Vcpu* vcpu = vcpu_;
  vcpu_ = nullptr;
  yield_.store(false, std::memory_order_relaxed);
  hold_.store(kNone, std::memory_order_release);
  shared_.pool->Yield(this, vcpu);
}

void KvmContext::SaveFpu(platform::FpuState* out) {
  if (!Pin()) {
    shared_.pool->Synchronize();
    *out = fpu_;
    return;
  }
  if (fpu_dirty_ || !vcpu_->SaveFpu(out).ok()) *out = fpu_;
  Unpin();
}

void KvmContext::LoadFpu(const platform::FpuState& in) {
  const bool pinned = Pin();
  if (!pinned) shared_.pool->Synchronize();
  fpu_ = in;
  platform::SanitizeFpuState(&fpu_);
  fpu_dirty_ = true;
  if (pinned) Unpin();
}

void KvmContext::Release() {
  if (!Pin()) return;
  if (shared_.pool->Contended()) {
    YieldVcpu();
  } else {
    hold_.store(kReleased, std::memory_order_release);
  }
}

Exit KvmContext::Switch(platform::AddressSpace& space, ArchState& state,
                        const SwitchOptions& options) {
  auto& kvm_space = static_cast<KvmAddressSpace&>(space);
  thread_.store(CurrentThread(), std::memory_order_relaxed);
  AdjustLooks();
  for (;;) {
    if (TakeInterrupt()) return platform::InterruptedExit{};
    Result<void> pinned = PinAny();
    if (!pinned.ok()) {
      if (pinned.error() == Errno::kINTR) continue;
      return platform::FatalExit{"no virtual CPU: " + std::string(ErrnoName(pinned.error()))};
    }
    // Here, not when the guest has been left: who serves a call keeps the vCPU meanwhile, so that
    // no more threads crowd the sentry's locks than there are vCPUs.
    if (yield_.load(std::memory_order_relaxed)) {
      YieldVcpu();
      continue;
    }
    std::optional<Exit> exit = Enter(kvm_space, state, options);
    Unpin();
    if (exit.has_value()) return *std::move(exit);
  }
}

std::optional<Exit> KvmContext::Enter(KvmAddressSpace& space, ArchState& state,
                                      const SwitchOptions& options) {
  Result<void> loaded = vcpu_->SetSpace(space);
  if (loaded.ok() && fpu_dirty_) {
    loaded = vcpu_->LoadFpu(fpu_);
    fpu_dirty_ = false;
  }
  if (!loaded.ok()) {
    return platform::FatalExit{"cannot load the virtual CPU: " +
                               std::string(ErrnoName(loaded.error()))};
  }
  vcpu_->Load(state);
  DecodedExit exit = Run(options, Flags::kLook);
  // An exception that KVM is about to deliver belongs to the registers that are in the vCPU: it
  // would forget one if they were loaded again. Delivered, it ends the next KVM_RUN for sure.
  while (exit.kind == ExitKind::kRetry) {
    Count(shared_.stats->exits_other);
    exit = Run(options, Flags::kWait);
  }
  return Dispatch(exit, space, state);
}

DecodedExit KvmContext::Run(const SwitchOptions& options, Flags flags) {
  CallPage* page = vcpu_->page();
  const bool exitless =
      options.exitless && service_ != nullptr && shared_.service_thread->enabled();
  posting_ = exitless && shared_.service_thread->active();
  page->mode.store(posting_, std::memory_order_relaxed);
  page->state.store(CallPage::kIdle, std::memory_order_relaxed);
  if (exitless) {
    page->spin_limit.store(shared_.service_thread->spin_limit(), std::memory_order_relaxed);
    // Open without posting, too: the policy wants to know who runs.
    vcpu_->gate().Open(page, service_);
  }
  kvm_run* run = vcpu_->run();
  const KickTarget target(run);
  __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_RELAXED);
  in_guest_.store(true, std::memory_order_seq_cst);
  const bool stop = flags == Flags::kLook && (pending_.load(std::memory_order_seq_cst) ||
                                              yield_.load(std::memory_order_seq_cst));
  generation_ = shared_.memory->InvalidationGeneration();
  // Nothing has run: the caller's state is still the truth.
  DecodedExit exit = stop ? DecodedExit{ExitKind::kNotEntered} : vcpu_->Run();
  in_guest_.store(false, std::memory_order_relaxed);
  if (exitless) {
    vcpu_->gate().Close();
    punted_ = vcpu_->gate().TakePunted();
  }
  return exit;
}

std::optional<Exit> KvmContext::Dispatch(const DecodedExit& exit, KvmAddressSpace& space,
                                         ArchState& state) {
  if (exit.kind != ExitKind::kNotBacked) unbacked_since_.reset();
  switch (exit.kind) {
    case ExitKind::kNotEntered:
    case ExitKind::kRetry:  // Enter's
      return std::nullopt;
    case ExitKind::kCall:
      return OnCall(state);
    case ExitKind::kKicked:
      return OnKick(space, state);
    case ExitKind::kException:
      return OnException(exit.vector, space, state);
    case ExitKind::kGuestIo:
      vcpu_->StoreGuestIo(space, &state);
      Count(shared_.stats->exits_exception);
      return platform::ExceptionExit{kVectorGeneralProtection, 0};
    case ExitKind::kNotBacked:
      return OnNotBacked(space, state);
    case ExitKind::kInvalidInstruction:
      vcpu_->Store(&state);
      Count(shared_.stats->exits_exception);
      return platform::ExceptionExit{kVectorInvalidOpcode, 0};
    case ExitKind::kFatal:
      break;
  }
  vcpu_->Store(&state);
  Count(shared_.stats->exits_other);
  return platform::FatalExit{exit.text};
}

std::optional<Exit> KvmContext::OnCall(ArchState& state) {
  vcpu_->Store(&state);
  state.rip = state.rcx;
  state.rflags = RingThreeFlags(state.r11);
  CallPage& page = *vcpu_->page();
  if (posting_ && page.state.load(std::memory_order_relaxed) == CallPage::kDone) {
    // Answered after the stub had given up.
    state.rax = page.rax.load(std::memory_order_relaxed);
    Count(shared_.stats->exits_other);
    return std::nullopt;
  }
  if (posting_) {
    if (!punted_) shared_.service_thread->OnNotServed();
  } else if (service_ != nullptr) {
    shared_.service_thread->OnExitedCall(&burst_);
  }
  return ReportCall(state);
}

Exit KvmContext::ReportCall(ArchState& state) {
  state.orig_rax = state.rax;
  Count(shared_.stats->exits_syscall);
  const bool trapped = vcpu_->page()->by_syscall.load(std::memory_order_relaxed) != 0;
  if (trapped) Count(shared_.stats->trapped_calls);
  // A service thread may have answered the call that the flag is of.
  if (vcpu_->page()->in_vain.exchange(0, std::memory_order_relaxed) != 0 &&
      state.orig_rax == ANSWER_FUTEX) {
    waiting_since_ = std::chrono::steady_clock::now();
    waits_seen_ = vcpu_->page()->seen.load(std::memory_order_relaxed);
  }
  return platform::SyscallExit{.trapped = trapped};
}

void KvmContext::AdjustLooks() {
  if (!waiting_since_.has_value()) return;
  const uint32_t before = wait_looks_.looks();
  const std::chrono::nanoseconds waited = std::chrono::steady_clock::now() - *waiting_since_;
  wait_looks_.OnWaited(waited.count(), waits_seen_);
  waiting_since_.reset();
  if (wait_looks_.looks() != before) answers_.SetLooks(wait_looks_.looks());
}

bool KvmContext::IsAtFutex(uint64_t rip) const {
  const TrampolineRegions& regions = TrampolineTable(shared_.flavour);
  const uint64_t offset = vcpu_->TrampolineOffset(rip);
  return vcpu_->MayRunTrampoline() && offset >= regions.futex && offset < regions.futex_end;
}

std::optional<CallProgress> KvmContext::Rebuild(KvmAddressSpace& space, ArchState& state) {
  if (!vcpu_->MayRunTrampoline()) return std::nullopt;
  if (const auto site = space.CallSiteOf(VirtAddr(state.rip))) {
    // As good as in the trampoline.
    state.rip = state.rcx = site->after.value();
    if (site->number.has_value()) state.rax = *site->number;
    state.r11 = RingThreeFlags(state.rflags);
    vcpu_->page()->by_syscall.store(0, std::memory_order_relaxed);
    return CallProgress::kNotServed;
  }
  const uint64_t offset = vcpu_->TrampolineOffset(state.rip);
  return RebuildCaller(TrampolineTable(shared_.flavour), offset, *vcpu_->page(), &state);
}

std::optional<Exit> KvmContext::OnKick(KvmAddressSpace& space, ArchState& state) {
  vcpu_->Store(&state);
  if (Rebuild(space, state) == CallProgress::kNotServed) return ReportCall(state);
  if (TakeInterrupt()) return platform::InterruptedExit{};
  Count(shared_.stats->exits_other);
  return std::nullopt;
}

std::optional<Exit> KvmContext::OnException(uint8_t vector, KvmAddressSpace& space,
                                            ArchState& state) {
  const RawException raw = vcpu_->StoreException(vector, &state);
  if (vector == kVectorDebug) {
    const auto site = space.CallSiteOf(VirtAddr(state.rip));
    if (site && site->number) {
      // It has stepped over what it takes for the load of its number.
      state.rip = site->after.value() - kSyscallBytes;
      state.rax = *site->number;
      Count(shared_.stats->exits_exception);
      return platform::ExceptionExit{kVectorDebug, 0};
    }
    // A program that came to the stub by a jump, with TF set.
    const std::optional<CallProgress> progress = Rebuild(space, state);
    if (progress == CallProgress::kServed) {
      Count(shared_.stats->exits_other);
      return std::nullopt;
    }
    if (progress == CallProgress::kNotServed) return ReportCall(state);
  }
  if (IsAtFutex(state.rip) && Rebuild(space, state) == CallProgress::kNotServed) {
    return ReportCall(state);
  }
  uint8_t code[kLongestInstruction];
  size_t code_bytes = 0;
  if (ExceptionNeedsCode(vector)) {
    code_bytes = space.PeekCode(VirtAddr(state.rip), code, sizeof(code));
  }
  Exit exit = DecodeException(raw, code, code_bytes, &state.rip);
  Count(std::holds_alternative<platform::FaultExit>(exit) ? shared_.stats->exits_fault
                                                          : shared_.stats->exits_exception);
  return exit;
}

std::optional<Exit> KvmContext::OnNotBacked(KvmAddressSpace& space, ArchState& state) {
  vcpu_->Store(&state);
  if (IsAtFutex(state.rip) && Rebuild(space, state) == CallProgress::kNotServed) {
    return ReportCall(state);
  }
  // The page may just have been on its way out of KVM's tables and back.
  const auto now = std::chrono::steady_clock::now();
  if (!unbacked_since_.has_value()) unbacked_since_ = now;
  if (shared_.memory->InvalidatedSince(generation_) && now - *unbacked_since_ < kUnbackedPatience) {
    Count(shared_.stats->exits_other);
    return std::nullopt;
  }
  unbacked_since_.reset();
  Count(shared_.stats->exits_fault);
  return platform::BusErrorExit{VirtAddr()};
}

}  // namespace ringfence::kvm
