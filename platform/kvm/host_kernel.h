// What is slow in the host's kernel, known by its release.
#ifndef RINGFENCE_PLATFORM_KVM_HOST_KERNEL_H_
#define RINGFENCE_PLATFORM_KVM_HOST_KERNEL_H_

#include <optional>

#include "platform/base/kernel_release.h"

namespace ringfence::kvm {

// Does the first KVM_RUN of a vCPU by another thread wait for an RCU grace period, 10 to 60 ms? So
// it was before Linux 6.13; what is not known is taken for new.
bool HandoverWaitsForRcu(std::optional<KernelRelease> release = HostKernelRelease());

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_HOST_KERNEL_H_
