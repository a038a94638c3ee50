// A hint that this thread spins (PAUSE), and how long one takes.
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CPU_RELAX_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CPU_RELAX_H_

#include <immintrin.h>

namespace ringfence::kvm {

inline void CpuRelax() { _mm_pause(); }

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CPU_RELAX_H_
