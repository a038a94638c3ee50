// The release of a Linux kernel, as `uname -r` says it.
#ifndef RINGFENCE_PLATFORM_BASE_KERNEL_RELEASE_H_
#define RINGFENCE_PLATFORM_BASE_KERNEL_RELEASE_H_

#include <compare>
#include <optional>
#include <string_view>

namespace ringfence {

struct KernelRelease {
  int major = 0, minor = 0, patch = 0;
  friend auto operator<=>(const KernelRelease&, const KernelRelease&) = default;
};

// "6.18.44-cloud", "7.0-rc1": what follows the numbers is ignored. Nothing when there are no two.
std::optional<KernelRelease> ParseKernelRelease(std::string_view text);

// The host's.
std::optional<KernelRelease> HostKernelRelease();

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_KERNEL_RELEASE_H_
