#include "platform/base/kernel_release.h"

#include <sys/utsname.h>

#include <cstdio>
#include <string>

namespace ringfence {

std::optional<KernelRelease> ParseKernelRelease(std::string_view text) {
  KernelRelease r;
  const int found =
      std::sscanf(std::string(text).c_str(), "%d.%d.%d", &r.major, &r.minor, &r.patch);
  return found >= 2 ? std::optional(r) : std::nullopt;
}

std::optional<KernelRelease> HostKernelRelease() {
  utsname name;
  return uname(&name) == 0 ? ParseKernelRelease(name.release) : std::nullopt;
}

}  // namespace ringfence
