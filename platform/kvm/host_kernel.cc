#include "platform/kvm/host_kernel.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>

namespace ringfence::kvm {
namespace {

struct Version {
  int major = 0, minor = 0, patch = 0;
};

std::optional<Version> Parse(std::string_view release) {
  Version v;
  const int found =
      std::sscanf(std::string(release).c_str(), "%d.%d.%d", &v.major, &v.minor, &v.patch);
  return found >= 2 ? std::optional(v) : std::nullopt;
}

// The first release of each long-term series that has the fix, newest first.
constexpr Version kFixes[] = {{6, 18, 38}, {6, 12, 95}, {6, 6, 144}, {6, 1, 177}};

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
  const std::optional<Version> v = Parse(release);
  if (!v.has_value()) return true;
  if (v->major != 6) return v->major < 6;
  if (v->minor > kFixes[0].minor) return false;
  for (const Version& fix : kFixes) {
    if (v->minor == fix.minor) return v->patch < fix.patch;
  }
  return true;
}

bool HostNeedsSmallEntries() {
  if (ParameterIsOn("/sys/module/kvm_intel/parameters/ept")) return false;
  if (ParameterIsOn("/sys/module/kvm_amd/parameters/npt")) return false;
  utsname name;
  return uname(&name) != 0 || ShadowPagingLosesSplits(name.release);
}

bool HandoverWaitsForRcu(std::string_view release) {
  const std::optional<Version> v = Parse(release);
  return v.has_value() && (v->major < 6 || (v->major == 6 && v->minor < 13));
}

bool HandoversAreSlow() {
  utsname name;
  return uname(&name) == 0 && HandoverWaitsForRcu(name.release);
}

}  // namespace ringfence::kvm
