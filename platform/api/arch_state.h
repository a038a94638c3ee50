// ArchState: the user-visible registers of a task, x86-64. FPU state is kept apart (FpuState)
// because it stays in the vCPU unless somebody asks for it.
#ifndef RINGFENCE_PLATFORM_API_ARCH_STATE_H_
#define RINGFENCE_PLATFORM_API_ARCH_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "platform/api/fpu_layout.h"

namespace ringfence::platform {

struct ArchState {
  uint64_t r15 = 0, r14 = 0, r13 = 0, r12 = 0, rbp = 0, rbx = 0, r11 = 0, r10 = 0, r9 = 0, r8 = 0;
  uint64_t rax = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0;
  uint64_t orig_rax = ~uint64_t{0};  // number of the call being served, -1 outside of calls
  uint64_t rip = 0, rflags = 0x202, rsp = 0;
  uint64_t fs_base = 0, gs_base = 0;
};

// XSAVE image in the standard (non-compacted) format (SDM vol. 1 chapter 13) with the components of
// GuestFpuLayout(), whose size() bytes count. FpuState{} is not a valid image; InitialFpuState() is
// what execve gives.
struct alignas(64) FpuState {
  static size_t size() { return GuestFpuLayout().size; }
  std::array<std::byte, kMaxFpuSize> image{};
};
FpuState InitialFpuState();

// Makes any bytes an image that a CPU accepts: drops components that guests do not have, reserved
// MXCSR bits and header fields. What rt_sigreturn and ptrace give to Context::LoadFpu goes through
// this.
void SanitizeFpuState(FpuState* state);

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_API_ARCH_STATE_H_
