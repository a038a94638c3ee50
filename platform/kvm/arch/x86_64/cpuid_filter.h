// CPUID as guests see it: the host CPU's own leaves, cut down to what works in them.
//
// KVM_GET_SUPPORTED_CPUID is not asked: on hosts without hardware virtualisation it hides features
// that the CPU runs (host-facts.md). PKU, AMX, CET and supervisor state are masked, leaf 0xd is
// recomputed for the components guests have, AVX-512 is there if it is among them, MONITOR and
// virtualisation features are hidden. KVM may still show more: see ../../README.md.
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CPUID_FILTER_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CPUID_FILTER_H_

#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "platform/api/fpu_layout.h"

namespace ringfence::kvm {

struct CpuidRegs {
  uint32_t eax, ebx, ecx, edx;
};
using CpuidFn = CpuidRegs (*)(uint32_t function, uint32_t index);

// The host's CPUID instruction.
CpuidRegs HostCpuid(uint32_t function, uint32_t index);

// One leaf after masking; pure.
CpuidRegs FilterLeaf(uint32_t function, uint32_t index, CpuidRegs host,
                     const platform::FpuLayout& fpu);

// All leaves that guests get, from `source`.
std::vector<kvm_cpuid_entry2> BuildCpuid(CpuidFn source, const platform::FpuLayout& fpu);

// The same from the host's CPU, made once.
const std::vector<kvm_cpuid_entry2>& HostCpuidForGuest();

// The features without which the platform cannot run a guest; nullptr when all are there.
const char* MissingCpuFeature(CpuidFn source);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CPUID_FILTER_H_
