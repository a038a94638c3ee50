// The vsyscall page at 0xffffffffff600000, emulated as Linux does with vsyscall=xonly: it cannot
// be read, but a jump to one of its three entries acts as the call and returns.
#ifndef RINGFENCE_SENTRY_ARCH_X86_64_VSYSCALL_H_
#define RINGFENCE_SENTRY_ARCH_X86_64_VSYSCALL_H_

#include <cstdint>
#include <optional>

#include "platform/base/addr.h"

namespace ringfence::sentry {

inline constexpr uint64_t kVsyscallPage = 0xffffffffff600000;

enum class Vsyscall { kGettimeofday, kTime, kGetcpu };

// Which call an instruction fetch at `rip` stands for. The kernel then does the call with the
// current registers (rax = result), pops the return address: rip = *rsp, rsp += 8; SIGSEGV when
// that cannot be read.
constexpr std::optional<Vsyscall> VsyscallAt(uint64_t rip) {
  switch (rip) {
    case kVsyscallPage:
      return Vsyscall::kGettimeofday;
    case kVsyscallPage + 0x400:
      return Vsyscall::kTime;
    case kVsyscallPage + 0x800:
      return Vsyscall::kGetcpu;
    default:
      return std::nullopt;
  }
}

// Number of the system call that does the same.
constexpr uint64_t SyscallNumber(Vsyscall call) {
  switch (call) {
    case Vsyscall::kGettimeofday:
      return 96;
    case Vsyscall::kTime:
      return 201;
    case Vsyscall::kGetcpu:
      return 309;
  }
  return 0;
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_ARCH_X86_64_VSYSCALL_H_
