// What is known of the host's kernel by its release: bugs, and what is slow.
#ifndef RINGFENCE_PLATFORM_KVM_HOST_KERNEL_H_
#define RINGFENCE_PLATFORM_KVM_HOST_KERNEL_H_

#include <string_view>

namespace ringfence::kvm {

// May shadow paging keep using a stale table when a 2 MiB guest entry becomes a table
// (CVE-2026-53359, fixed in 6.18.38, 6.12.95, 6.6.144 and 6.1.177)? `release` as uname -r says;
// what cannot be parsed is taken for old.
bool ShadowPagingLosesSplits(std::string_view release);

// Does this host need 4 KiB guest entries? False where KVM uses the CPU's nested paging.
bool HostNeedsSmallEntries();

// Does the first KVM_RUN of a vCPU by another thread wait for an RCU grace period, 10 to 60 ms? So
// it was before Linux 6.13; what cannot be parsed is taken for new.
bool HandoverWaitsForRcu(std::string_view release);

// The same of this host.
bool HandoversAreSlow();

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_HOST_KERNEL_H_
