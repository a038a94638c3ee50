#include "platform/kvm/probe.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "platform/kvm/arch/x86_64/cpu_relax.h"
#include "platform/kvm/arch/x86_64/host_tsc.h"

namespace ringfence::kvm {
namespace {

constexpr VirtAddr kCode{0x400000};
constexpr VirtAddr kStack{0x401000};  // never touched
constexpr uint8_t kVectorPageFault = 14;

// rdtsc; shl rdx, 32; or rax, rdx; mov rdi, rax; syscall; ud2
constexpr uint8_t kProgram[] = {0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09,
                                0xd0, 0x48, 0x89, 0xc7, 0x0f, 0x05, 0x0f, 0x0b};
// syscall; jmp back
constexpr uint8_t kCallLoop[] = {0x0f, 0x05, 0xeb, 0xfc};
constexpr size_t kMeasuredExits = 16;
constexpr int kMaxTries = 100;

int64_t NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

absl::Status Failed(const char* what, Errno error) {
  const std::string text = absl::StrCat("probing KVM: ", what, ": ", std::string(ErrnoName(error)));
  return error == Errno::kNOMEM ? absl::ResourceExhaustedError(text)
                                : absl::FailedPreconditionError(text);
}

// An address space with one page of code.
class ProbeSpace {
 public:
  static absl::StatusOr<std::unique_ptr<ProbeSpace>> Create(const SpaceShared* shared,
                                                            const uint8_t* code, size_t bytes) {
    auto space = KvmAddressSpace::Create(shared);
    if (!space.ok()) return Failed("address space", space.error());
    std::unique_ptr<ProbeSpace> self(new ProbeSpace(shared->memory, std::move(space).value()));
    auto frame = shared->memory->Allocate(1);
    if (!frame.ok()) return Failed("memory", frame.error());
    self->code_ = *frame;
    self->Write(code, bytes);
    auto mapped = self->space_->Map(kCode, *frame, {.prot = Prot::RX()});
    if (mapped.ok()) return self;
    shared->memory->Unref(*frame);
    return Failed("memory", mapped.error());
  }
  ~ProbeSpace() {
    const auto drop = [this](FrameRun run) { memory_->Unref(run); };
    (void)space_->Unmap({kCode, VirtAddr(kCode.value() + kPageSize)}, drop);
  }
  KvmAddressSpace& space() { return *space_; }
  void Write(const uint8_t* code, size_t bytes) {
    std::memcpy(memory_->HostAddress(code_.first), code, bytes);
  }
  platform::ArchState Start() const {
    platform::ArchState state;
    state.rip = kCode.value();
    state.rsp = kStack.value();
    return state;
  }

 private:
  ProbeSpace(platform::GuestMemory* memory, std::unique_ptr<KvmAddressSpace> space)
      : memory_(memory), space_(std::move(space)) {}
  platform::GuestMemory* const memory_;
  const std::unique_ptr<KvmAddressSpace> space_;
  FrameRun code_;
};

// Enters until something other than a signal ends it.
DecodedExit RunUntilExit(KvmAddressSpace& space, Vcpu& vcpu, platform::ArchState* state) {
  DecodedExit exit{ExitKind::kKicked};
  if (!vcpu.SetSpace(space).ok()) return {ExitKind::kFatal, 0, "no memory"};
  vcpu.page()->mode.store(0, std::memory_order_relaxed);
  for (int tries = 0; tries < kMaxTries && exit.kind == ExitKind::kKicked; ++tries) {
    vcpu.Load(*state);
    exit = vcpu.Run();
    if (exit.kind == ExitKind::kKicked) vcpu.Store(state);
  }
  return exit;
}

absl::StatusOr<ProbeResult> Judge(const DecodedExit& exit, const Vcpu& vcpu,
                                  platform::ArchState* state) {
  if (exit.kind == ExitKind::kCall) {
    vcpu.Store(state);
    return ProbeResult{Flavour::kPrivileged, 0};
  }
  if (exit.kind == ExitKind::kException && exit.vector == kVectorPageFault) {
    vcpu.StoreException(exit.vector, state);
    if (vcpu.TrampolineOffset(state->rip) == 0) return ProbeResult{Flavour::kDeprivileged, 0};
  }
  return absl::FailedPreconditionError(
      absl::StrCat("probing KVM: SYSCALL does something unknown on this host (kind ",
                   static_cast<int>(exit.kind), ", vector ", exit.vector, ", ", exit.text, ")"));
}

}  // namespace

absl::StatusOr<ProbeResult> ProbeHost(platform::GuestMemory* memory, const KernelImage& image,
                                      Vcpu& vcpu) {
  const SpaceShared shared{memory, image.table(), image.trampoline(), false, 0};
  absl::StatusOr<std::unique_ptr<ProbeSpace>> space =
      ProbeSpace::Create(&shared, kProgram, sizeof(kProgram));
  if (!space.ok()) return space.status();
  platform::ArchState state = (*space)->Start();
  const uint64_t before = HostTsc();
  const DecodedExit exit = RunUntilExit((*space)->space(), vcpu, &state);
  const uint64_t after = HostTsc();
  absl::StatusOr<ProbeResult> result = Judge(exit, vcpu, &state);
  if (result.ok() && (state.rdi < before || state.rdi > after)) {
    result->tsc_offset = static_cast<int64_t>(state.rdi - (before + (after - before) / 2));
  }
  return result;
}

absl::StatusOr<int64_t> MeasureExit(const SpaceShared* shared, Vcpu& vcpu) {
  absl::StatusOr<std::unique_ptr<ProbeSpace>> space =
      ProbeSpace::Create(shared, kCallLoop, sizeof(kCallLoop));
  if (!space.ok()) return space.status();
  platform::ArchState state = (*space)->Start();
  std::array<int64_t, kMeasuredExits> times;
  for (int64_t& time : times) {
    const int64_t start = NowNanos();
    const DecodedExit exit = RunUntilExit((*space)->space(), vcpu, &state);
    time = NowNanos() - start;
    if (exit.kind != ExitKind::kCall) {
      return absl::FailedPreconditionError(absl::StrCat("probing KVM: a call does not exit (kind ",
                                                        static_cast<int>(exit.kind), ", vector ",
                                                        exit.vector, ", ", exit.text, ")"));
    }
    vcpu.Store(&state);
    state.rip = state.rcx;
    state.rflags = state.r11;
  }
  std::nth_element(times.begin(), times.begin() + kMeasuredExits / 2, times.end());
  return times[kMeasuredExits / 2];
}

bool CallSitesWork(const SpaceShared* shared, Vcpu& vcpu) {
  constexpr uint32_t kNumber = 39;
  constexpr size_t kJumpBytes = 7;
  uint8_t code[kJumpBytes + 2] = {0xff, 0x24, 0x25, 0, 0, 0, 0, 0x0f, 0x0b};  // jmp *[slot]; ud2
  absl::StatusOr<std::unique_ptr<ProbeSpace>> space =
      ProbeSpace::Create(shared, code, sizeof(code));
  if (!space.ok()) return false;
  const VirtAddr after(kCode.value() + kJumpBytes);
  const Result<uint32_t> slot = (*space)->space().AddCallSite({after, kCode, kNumber});
  if (!slot.ok()) return false;
  std::memcpy(code + 3, &*slot, sizeof(*slot));
  (*space)->Write(code, sizeof(code));
  platform::ArchState state = (*space)->Start();
  if (RunUntilExit((*space)->space(), vcpu, &state).kind != ExitKind::kCall) return false;
  vcpu.Store(&state);
  return state.rax == kNumber && state.rcx == after.value() && state.rsp == kStack.value();
}

uint32_t SpinsFor(int64_t ns) {
  constexpr int kSpins = 512;
  const int64_t start = NowNanos();
  for (int i = 0; i < kSpins; ++i) CpuRelax();
  const int64_t taken = std::max<int64_t>(NowNanos() - start, 1);
  return static_cast<uint32_t>(std::clamp<int64_t>(ns * kSpins / taken, 1, 1 << 20));
}

}  // namespace ringfence::kvm
