// What is known of bugs in the host's kernel.
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

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_HOST_KERNEL_H_
