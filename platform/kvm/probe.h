// Which kind of host is this? Asked of a vCPU, never of names of modules or CPUs.
#ifndef RINGFENCE_PLATFORM_KVM_PROBE_H_
#define RINGFENCE_PLATFORM_KVM_PROBE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "platform/kvm/arch/x86_64/kernel_image.h"
#include "platform/kvm/vcpu.h"

namespace ringfence::kvm {

struct ProbeResult {
  Flavour flavour;
  int64_t tsc_offset;  // guest minus host; 0 when they cannot be told apart
};

// Runs RDTSC and SYSCALL in ring 3 of `vcpu`, which was made with Flavour::kPrivileged as was
// `image`: SYSCALL either reaches the supervisor-only trampoline in ring 0 or faults on it.
absl::StatusOr<ProbeResult> ProbeHost(platform::GuestMemory* memory, const KernelImage& image,
                                      Vcpu& vcpu);

// Does a call that comes by a call site arrive as it should? Whether ring 3 may run pages as high
// as CallStubs' is the host's to say. `shared` has a direct entry, in the deprivileged flavour.
bool CallSitesWork(const SpaceShared* shared, Vcpu& vcpu);

// What a call costs that leaves the guest and returns, in ns: the median of a few, run on `vcpu`
// with the trampoline that `shared` describes.
absl::StatusOr<int64_t> MeasureExit(const SpaceShared* shared, Vcpu& vcpu);

// Iterations of a spin loop that take about `ns`.
uint32_t SpinsFor(int64_t ns);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_PROBE_H_
