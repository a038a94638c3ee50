// Between ArchState and KVM's register structures, and what a fresh vCPU is loaded with.
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_REGISTERS_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_REGISTERS_H_

#include <linux/kvm.h>

#include <cstdint>

#include "platform/api/arch_state.h"
#include "platform/base/result.h"
#include "platform/kvm/kvm_ioctl_unsafe.h"

namespace ringfence::kvm {

inline constexpr uint64_t kFlagTf = 1 << 8;
inline constexpr uint64_t kFlagDf = 1 << 10;
// What ring 3 can have set: everything else in a guest-made image is dropped (as sigreturn does).
inline constexpr uint64_t kUserFlags = 0x250dd5;  // CF PF AF ZF SF TF DF OF RF AC ID
inline constexpr uint64_t kFixedFlags = 0x202;    // bit 1, IF
// Flags of ring 3 as they really are. It cannot change IF; a deprivileged host that was interrupted
// while the guest came back from the trampoline still reports it as SFMASK left it.
constexpr uint64_t RingThreeFlags(uint64_t reported) { return reported | kFixedFlags; }

void ToKvmRegs(const platform::ArchState& state, kvm_regs* regs);
// Leaves orig_rax and the segment bases alone.
void FromKvmRegs(const kvm_regs& regs, platform::ArchState* state);

// CS and SS of ring 3.
void SetUserSegments(kvm_sregs* sregs);
// Any address a base register accepts; others become 0 (KVM refuses them).
uint64_t CanonicalOrZero(uint64_t address);

// Control registers, descriptor tables, segments, XCR0, SYSCALL MSRs and CPUID of a new vCPU.
// `lstar` = where SYSCALL goes.
Result<void> InitVcpu(VcpuFd& fd, unsigned index, uint64_t lstar);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_REGISTERS_H_
