#include "platform/kvm/probe.h"

#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "platform/kvm/arch/x86_64/host_tsc.h"

namespace ringfence::kvm {
namespace {

constexpr VirtAddr kCode{0x400000};
constexpr VirtAddr kStack{0x401000};  // never touched
constexpr uint8_t kVectorPageFault = 14;

// rdtsc; shl rdx, 32; or rax, rdx; mov rdi, rax; syscall; ud2
constexpr uint8_t kProgram[] = {0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,
                                0x48, 0x89, 0xc7, 0x0f, 0x05, 0x0f, 0x0b};

absl::Status Failed(const char* what, Errno error) {
  const std::string text = absl::StrCat("probing KVM: ", what, ": ", std::string(ErrnoName(error)));
  return error == Errno::kNOMEM ? absl::ResourceExhaustedError(text)
                                : absl::FailedPreconditionError(text);
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
  return absl::FailedPreconditionError(absl::StrCat(
      "probing KVM: SYSCALL does something unknown on this host (kind ",
      static_cast<int>(exit.kind), ", vector ", exit.vector, ", ", exit.text, ")"));
}

}  // namespace

absl::StatusOr<ProbeResult> ProbeHost(platform::GuestMemory* memory, const KernelImage& image,
                                      Vcpu& vcpu) {
  const SpaceShared shared{memory, image.table(), image.trampoline(), false};
  auto space = KvmAddressSpace::Create(&shared);
  if (!space.ok()) return Failed("address space", space.error());
  auto frame = memory->Allocate(1);
  if (!frame.ok()) return Failed("memory", frame.error());
  std::memcpy(memory->HostAddress(frame->first), kProgram, sizeof(kProgram));
  auto mapped = (*space)->Map(kCode, *frame, {.prot = Prot::RX()});
  if (mapped.ok()) mapped = vcpu.SetSpace(**space);
  if (!mapped.ok()) return Failed("memory", mapped.error());

  platform::ArchState state;
  state.rip = kCode.value();
  state.rsp = kStack.value();
  DecodedExit exit{ExitKind::kKicked};
  const uint64_t before = HostTsc();
  for (int tries = 0; tries < 100 && exit.kind == ExitKind::kKicked; ++tries) {
    vcpu.Load(state);
    exit = vcpu.Run();
    if (exit.kind == ExitKind::kKicked) vcpu.Store(&state);
  }
  const uint64_t after = HostTsc();
  absl::StatusOr<ProbeResult> result = Judge(exit, vcpu, &state);
  if (result.ok() && (state.rdi < before || state.rdi > after)) {
    result->tsc_offset = static_cast<int64_t>(state.rdi - (before + (after - before) / 2));
  }
  (void)(*space)->Unmap({kCode, VirtAddr(kCode.value() + kPageSize)},
                        [memory](FrameRun run) { memory->Unref(run); });
  return result;
}

}  // namespace ringfence::kvm
