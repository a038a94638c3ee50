// The host's time stamp counter.
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_HOST_TSC_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_HOST_TSC_H_

#include <x86intrin.h>

#include <cstdint>

namespace ringfence::kvm {

inline uint64_t HostTsc() { return __rdtsc(); }

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_HOST_TSC_H_
