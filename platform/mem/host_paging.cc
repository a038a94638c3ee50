#include "platform/mem/host_paging.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "platform/base/unique_fd.h"

namespace ringfence::platform {
namespace {

// The first release of each long-term series that has the fix, newest first.
constexpr KernelRelease kFixes[] = {{6, 18, 38}, {6, 12, 95}, {6, 6, 144}, {6, 1, 177}};

bool ParameterIsOn(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char value = 0;
  return fd.valid() && read(fd.get(), &value, 1) == 1 && (value == 'Y' || value == '1');
}

}  // namespace

bool ShadowPagingLosesSplits(std::optional<KernelRelease> release) {
  if (!release.has_value()) return true;
  for (const KernelRelease& fix : kFixes) {
    if (release->major == fix.major && release->minor == fix.minor) return *release < fix;
  }
  return *release < kFixes[0];
}

HostPaging GetHostPaging(const char* sys) {
  const std::string modules = std::string(sys) + "/module/";
  if (ParameterIsOn(modules + "kvm_intel/parameters/ept") ||
      ParameterIsOn(modules + "kvm_amd/parameters/npt")) {
    return HostPaging::kNested;
  }
  return ShadowPagingLosesSplits() ? HostPaging::kShadowWithoutHuge : HostPaging::kShadow;
}

}  // namespace ringfence::platform
