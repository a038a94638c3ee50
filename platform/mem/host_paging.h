// How the host's KVM turns guest addresses into host addresses.
#ifndef RINGFENCE_PLATFORM_MEM_HOST_PAGING_H_
#define RINGFENCE_PLATFORM_MEM_HOST_PAGING_H_

#include <optional>

#include "platform/base/kernel_release.h"

namespace ringfence::platform {

enum class HostPaging {
  kNested,  // the CPU walks both tables (EPT, NPT)
  // KVM derives tables of its own from the guest's and keeps them: rules 4 and 5 of README.md.
  kShadow,
  // The same by a kernel that goes on with a stale table where a 2 MiB entry has become something
  // else (CVE-2026-53359): 4 KiB entries only.
  kShadowWithoutHuge,
};

// Reads the parameters of KVM's modules below `sys` and, where they do not say that paging is
// nested, the kernel's release.
HostPaging GetHostPaging(const char* sys = "/sys");

// Does this release lack the fix of 6.18.38, 6.12.95, 6.6.144 and 6.1.177? What is not known is
// taken for old.
bool ShadowPagingLosesSplits(std::optional<KernelRelease> release = HostKernelRelease());

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_HOST_PAGING_H_
