#include "sentry/kernel/arch_call.h"

#include <cstring>

#include "sentry/arch/x86_64/vsyscall.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kNoCall = ~uint64_t{0};
constexpr uint64_t kSyscallLength = 2;  // 0f 05
constexpr uint64_t kRestartSyscallNumber = 219;
constexpr uint8_t kInt1 = 0xf1;
constexpr uint64_t kResumeFlag = uint64_t{1} << 16;

// Vectors of SDM vol. 3, table 6-1.
constexpr uint8_t kDivide = 0, kDebug = 1, kBreakpoint = 3, kOverflow = 4, kBounds = 5,
                  kInvalidOpcode = 6, kInvalidTss = 10, kNotPresent = 11, kStackFault = 12,
                  kGeneralProtection = 13, kPageFault = 14, kX87 = 16, kAlignment = 17, kSimd = 19;

// Offsets in the XSAVE legacy area (SDM vol. 1, table 10-2).
constexpr size_t kControlWord = 0, kStatusWord = 2, kMxcsr = 24;

template <typename T>
T FpuField(const platform::FpuState& fpu, size_t offset) {
  T value;
  std::memcpy(&value, fpu.image.data() + offset, sizeof(value));
  return value;
}

// fpu__exception_code: the unmasked exceptions by priority; bits as in the status word.
int32_t NumericCode(uint32_t raised) {
  if (raised & 0x01) return kFpeFltInv;
  if (raised & 0x04) return kFpeFltDiv;
  if (raised & 0x08) return kFpeFltOvf;
  if (raised & 0x12) return kFpeFltUnd;
  if (raised & 0x20) return kFpeFltRes;
  return 0;
}

int32_t X87Code(const platform::FpuState* fpu) {
  if (fpu == nullptr) return kFpeFltInv;
  const uint32_t masked = FpuField<uint16_t>(*fpu, kControlWord);
  return NumericCode(FpuField<uint16_t>(*fpu, kStatusWord) & ~masked & 0x3f);
}

int32_t SimdCode(const platform::FpuState* fpu) {
  if (fpu == nullptr) return kFpeFltInv;
  const uint32_t mxcsr = FpuField<uint32_t>(*fpu, kMxcsr);
  return NumericCode(mxcsr & ~(mxcsr >> 7) & 0x3f);
}

SigInfo InfoOf(const platform::ExceptionExit& exception, uint64_t rip, uint8_t byte_before,
               const platform::FpuState* fpu) {
  switch (exception.vector) {
    case kDivide:
      return SigInfo::FaultAt(SigNo::kFpe, kFpeIntDiv, rip);
    case kDebug:
      return SigInfo::FaultAt(SigNo::kTrap, byte_before == kInt1 ? kTrapBrkpt : kTrapTrace, rip);
    case kBreakpoint:
      return SigInfo::Kernel(SigNo::kTrap);
    case kOverflow:
    case kBounds:
      return SigInfo::Kernel(SigNo::kSegv);
    case kInvalidOpcode:
      return SigInfo::FaultAt(SigNo::kIll, kIllIllOpn, rip);
    case kNotPresent:
    case kStackFault:
      return SigInfo::Kernel(SigNo::kBus);
    case kX87:
      return SigInfo::FaultAt(SigNo::kFpe, X87Code(fpu), rip);
    case kSimd:
      return SigInfo::FaultAt(SigNo::kFpe, SimdCode(fpu), rip);
    case kAlignment:
      return SigInfo::FaultAt(SigNo::kBus, kBusAdrAln, 0);
    case kInvalidTss:
    default:
      return SigInfo::Kernel(SigNo::kSegv);
  }
}

}  // namespace

const IdentityCalls kIdentityCalls = {.getpid = 39,
                                      .gettid = 186,
                                      .getppid = 110,
                                      .getpgrp = 111,
                                      .getuid = 102,
                                      .geteuid = 107,
                                      .getgid = 104,
                                      .getegid = 108};

uint64_t ProgramCounter(const platform::ArchState& state) { return state.rip; }
void SetProgramCounter(platform::ArchState& state, uint64_t address) { state.rip = address; }
uint64_t StackPointer(const platform::ArchState& state) { return state.rsp; }

platform::SyscallRequest CallOf(const platform::ArchState& s) {
  return {s.orig_rax, {s.rdi, s.rsi, s.rdx, s.r10, s.r8, s.r9}};
}

void SetCallResult(platform::ArchState& state, int64_t result) {
  state.rax = static_cast<uint64_t>(result);
}

void LeaveCall(platform::ArchState& state) { state.orig_rax = kNoCall; }

void RepeatCall(platform::ArchState& state) {
  state.rax = state.orig_rax;
  state.rip -= kSyscallLength;
}

void RepeatAsRestartSyscall(platform::ArchState& state) {
  state.rax = kRestartSyscallNumber;
  state.rip -= kSyscallLength;
}

platform::ArchState ChildState(const platform::ArchState& parent, uint64_t stack,
                               std::optional<uint64_t> tls) {
  platform::ArchState child = parent;
  child.rax = 0;
  child.orig_rax = kNoCall;
  if (stack != 0) child.rsp = stack;
  if (tls.has_value()) child.fs_base = *tls;
  return child;
}

ExceptionSignal SignalOf(const platform::ExceptionExit& exception, const platform::ArchState& state,
                         uint8_t byte_before, const platform::FpuState* fpu) {
  return {InfoOf(exception, state.rip, byte_before, fpu),
          {exception.vector, exception.error_code, 0}};
}

bool NeedsByteBefore(const platform::ExceptionExit& exception) {
  return exception.vector == kDebug;
}

bool IsCallTailException(const platform::ExceptionExit& exception) {
  // INT 0x80 through a gate that ring 3 may not use (SDM vol. 3, 6.13): IDT bit and vector.
  constexpr uint32_t kInt80 = 0x80 * 8 + 2;
  return exception.vector == kGeneralProtection && exception.error_code == kInt80;
}

void EnterCallAtTail(platform::ArchState& state) {
  state.rip += kSyscallLength;
  state.rcx = state.rip;
  state.r11 = state.rflags &= ~kResumeFlag;  // which exceptions set and SYSCALL clears
  state.orig_rax = state.rax;
}

bool NeedsFpuState(const platform::ExceptionExit& exception) {
  return exception.vector == kX87 || exception.vector == kSimd;
}

TrapInfo TrapOf(const platform::FaultExit& fault) {
  constexpr uint64_t kPresent = 1, kWrite = 2, kUser = 4, kFetch = 16;
  uint64_t error = kUser;
  // Linux does not tell what is mapped above user space: it calls all of it present.
  if (fault.present || fault.address >= platform::kUserEnd) error |= kPresent;
  if (fault.access == Access::kWrite) error |= kWrite;
  if (fault.access == Access::kExec) error |= kFetch;
  return {kPageFault, error, fault.address.value()};
}

std::optional<uint64_t> FixedAddressCall(VirtAddr address) {
  const std::optional<Vsyscall> call = VsyscallAt(address.value());
  if (!call.has_value()) return std::nullopt;
  return SyscallNumber(*call);
}

void ReturnFromFixedAddressCall(platform::ArchState& state, int64_t result,
                                uint64_t return_address) {
  state.rax = static_cast<uint64_t>(result);
  state.rip = return_address;
  state.rsp += sizeof(uint64_t);
}

}  // namespace ringfence::sentry
