#include "platform/kvm/host_kernel.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace ringfence::kvm {
namespace {

struct Fix {
  int major, minor, patch;
};
// The first release of each long-term series that has the fix, newest first.
constexpr Fix kFixes[] = {{6, 18, 38}, {6, 12, 95}, {6, 6, 144}, {6, 1, 177}};

bool ParameterIsOn(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char value = 0;
  const bool on = read(fd, &value, 1) == 1 && (value == 'Y' || value == '1');
  close(fd);
  return on;
}

}  // namespace

bool ShadowPagingLosesSplits(std::string_view release) {
  int major = 0, minor = 0, patch = 0;
  if (std::sscanf(std::string(release).c_str(), "%d.%d.%d", &major, &minor, &patch) < 2) {
    return true;
  }
  if (major != 6) return major < 6;
  if (minor > kFixes[0].minor) return false;
  for (const Fix& fix : kFixes) {
    if (minor == fix.minor) return patch < fix.patch;
  }
  return true;
}

bool HostNeedsSmallEntries() {
  if (ParameterIsOn("/sys/module/kvm_intel/parameters/ept")) return false;
  if (ParameterIsOn("/sys/module/kvm_amd/parameters/npt")) return false;
  utsname name;
  return uname(&name) != 0 || ShadowPagingLosesSplits(name.release);
}

}  // namespace ringfence::kvm
