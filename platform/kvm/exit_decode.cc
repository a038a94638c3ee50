#include "platform/kvm/exit_decode.h"

#include <linux/kvm.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace ringfence::kvm {
namespace {

constexpr uint8_t kVectorDebug = 1;
constexpr uint8_t kVectorBreakpoint = 3;
constexpr uint8_t kVectorInvalidOpcode = 6;
constexpr uint8_t kVectorDoubleFault = 8;
constexpr uint8_t kVectorGeneralProtection = 13;
constexpr uint8_t kVectorPageFault = 14;

constexpr uint64_t kFaultPresent = 1;
constexpr uint64_t kFaultWrite = 2;
constexpr uint64_t kFaultFetch = 16;

constexpr uint64_t kFlagTf = 0x100;

// KVM_EXIT_MEMORY_FAULT of newer headers.
constexpr uint32_t kExitMemoryFault = 39;

DecodedExit Fatal(std::string text) { return {ExitKind::kFatal, 0, std::move(text)}; }

bool InStubs(const RawExit& raw, const ExitGeometry& g, unsigned* vector) {
  if (raw.cpl != 0 || raw.rip < g.stubs || raw.rip >= g.stubs + g.vectors * g.stub_bytes) {
    return false;
  }
  *vector = static_cast<unsigned>((raw.rip - g.stubs) / g.stub_bytes);
  return true;
}

DecodedExit DecodeIo(const RawExit& raw, const ExitGeometry& g) {
  unsigned vector;
  if (InStubs(raw, g, &vector)) {
    if (raw.port == g.exception_port + vector) {
      return {ExitKind::kException, static_cast<uint8_t>(vector)};
    }
    return Fatal(absl::StrCat("port ", raw.port, " in exception stub ", vector));
  }
  const uint64_t offset = raw.rip - g.trampoline;
  if (!raw.io_in && raw.port == g.call_port &&
      (offset == g.out_offset || offset == g.exited_offset)) {
    return {ExitKind::kCall};
  }
  if (raw.cpl == 3) return {ExitKind::kGuestIo};
  return Fatal(absl::StrCat("port ", raw.port, " at ring 0, rip 0x", absl::Hex(raw.rip)));
}

DecodedExit DecodeError(const RawExit& raw, const ExitGeometry& g) {
  unsigned vector;
  switch (raw.error) {
    case EINTR:
    case EAGAIN:
      if (InStubs(raw, g, &vector)) return {ExitKind::kException, static_cast<uint8_t>(vector)};
      return {raw.exception_pending ? ExitKind::kRetry : ExitKind::kKicked};
    case EFAULT:
      return {ExitKind::kNotBacked};
    case ENOMEM:
      return Fatal("KVM_RUN: out of memory");
    default:
      return Fatal(absl::StrCat("KVM_RUN: ", std::strerror(raw.error)));
  }
}

// MONITOR, MWAIT and the SVM instructions (0f 01 c8, c9, d8, da to df): #UD at ring 3, which KVM's
// emulator checks after the privilege (SDM vol. 2, MONITOR; APM vol. 3, VMRUN).
bool IsInvalidAtRing3(const uint8_t* code, size_t code_bytes) {
  if (code_bytes < 3 || code[0] != 0x0f || code[1] != 0x01) return false;
  return code[2] == 0xc8 || code[2] == 0xc9 || code[2] == 0xd8 ||
         (code[2] >= 0xda && code[2] <= 0xdf);
}

}  // namespace

DecodedExit DecodeExit(const RawExit& raw, const ExitGeometry& g) {
  if (raw.error != 0) return DecodeError(raw, g);
  switch (raw.reason) {
    case KVM_EXIT_IO:
      return DecodeIo(raw, g);
    case KVM_EXIT_INTR:
      return DecodeError(RawExit{.error = EINTR,
                                 .rip = raw.rip,
                                 .cpl = raw.cpl,
                                 .exception_pending = raw.exception_pending},
                         g);
    case KVM_EXIT_MMIO:
    case kExitMemoryFault:
      return {ExitKind::kNotBacked};
    case KVM_EXIT_SHUTDOWN:
      return Fatal("triple fault");
    case KVM_EXIT_INTERNAL_ERROR:
      if (raw.suberror == KVM_INTERNAL_ERROR_EMULATION && raw.cpl == 3) {
        return {ExitKind::kInvalidInstruction};
      }
      return Fatal(
          absl::StrCat("KVM internal error ", raw.suberror, " at rip 0x", absl::Hex(raw.rip)));
    case KVM_EXIT_FAIL_ENTRY:
      return Fatal(absl::StrCat("the CPU refused to enter the guest, reason 0x",
                                absl::Hex(raw.hardware_reason)));
    default:
      return Fatal(
          absl::StrCat("unexpected KVM exit ", raw.reason, " at rip 0x", absl::Hex(raw.rip)));
  }
}

bool ExceptionNeedsCode(uint8_t vector) {
  return vector == kVectorInvalidOpcode || vector == kVectorDebug ||
         vector == kVectorGeneralProtection;
}

platform::Exit DecodeException(const RawException& raw, const uint8_t* code, size_t code_bytes,
                               uint64_t* rip) {
  switch (raw.vector) {
    case kVectorPageFault: {
      const Access access = raw.error_code & kFaultFetch   ? Access::kExec
                            : raw.error_code & kFaultWrite ? Access::kWrite
                                                           : Access::kRead;
      return platform::FaultExit{VirtAddr(raw.cr2), access, (raw.error_code & kFaultPresent) != 0};
    }
    case kVectorInvalidOpcode:
      // Hosts without hardware virtualisation raise #UD for INT n; the gates of ours that ring 3
      // may use are breakpoint's alone, so everything else is #GP as on Linux.
      if (code_bytes >= 2 && code[0] == 0xcd) {
        if (code[1] == kVectorBreakpoint) {
          *rip += 2;
          return platform::ExceptionExit{kVectorBreakpoint, 0};
        }
        return platform::ExceptionExit{kVectorGeneralProtection, code[1] * 8u + 2};
      }
      return platform::ExceptionExit{kVectorInvalidOpcode, 0};
    case kVectorDebug:
      // INT1 is a trap: the CPU reports the next instruction, emulators its own.
      if (code_bytes >= 1 && code[0] == 0xf1 && (raw.rflags & kFlagTf) == 0) *rip += 1;
      return platform::ExceptionExit{kVectorDebug, 0};
    case kVectorDoubleFault:
      return platform::FatalExit{"double fault"};
    case kVectorGeneralProtection:
      if (raw.error_code == 0 && IsInvalidAtRing3(code, code_bytes)) {
        return platform::ExceptionExit{kVectorInvalidOpcode, 0};
      }
      return platform::ExceptionExit{raw.vector, static_cast<uint32_t>(raw.error_code)};
    case 10:
    case 11:
    case 12:
    case 17:
    case 21:
      return platform::ExceptionExit{raw.vector, static_cast<uint32_t>(raw.error_code)};
    default:
      return platform::ExceptionExit{raw.vector, 0};
  }
}

OutInstruction DecodeOut(const uint8_t* before, size_t before_bytes, const uint8_t* after,
                         size_t after_bytes, uint16_t port) {
  const auto is_rep = [](uint8_t b) { return b == 0xf2 || b == 0xf3; };
  if (before_bytes >= 2 && (before[before_bytes - 2] & 0xfe) == 0xe6 &&
      before[before_bytes - 1] == port) {
    return {2, false, false};  // OUT imm8
  }
  const uint8_t last = before_bytes >= 1 ? before[before_bytes - 1] : 0;
  if ((last & 0xfe) == 0xee) return {1, false, false};  // OUT DX
  if (after_bytes >= 2 && is_rep(after[0]) && (after[1] & 0xfe) == 0x6e) return {0, true, true};
  if ((last & 0xfe) != 0x6e) return {1, false, false};
  const bool repeated = before_bytes >= 2 && is_rep(before[before_bytes - 2]);
  return {repeated ? size_t{2} : size_t{1}, true, repeated};
}

}  // namespace ringfence::kvm
