#include "runtime/sandbox/namespace_error.h"

#include <cerrno>
#include <fstream>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace ringfence::runtime {
namespace {

struct Setting {
  const char* name;     // as sysctl(8) has it
  const char* path;     // below /proc/sys
  const char* forbids;  // the value that forbids user namespaces
  const char* remedy;   // what to run instead
};
constexpr Setting kSettings[] = {
    // user_namespaces(7): how many there may be.
    {"user.max_user_namespaces", "user/max_user_namespaces", "0",
     "sysctl user.max_user_namespaces=10000"},
    // Debian's and Arch's own.
    {"kernel.unprivileged_userns_clone", "kernel/unprivileged_userns_clone", "0",
     "sysctl kernel.unprivileged_userns_clone=1"},
    // AppArmor: namespaces can be made, but give no rights.
    {"kernel.apparmor_restrict_unprivileged_userns", "kernel/apparmor_restrict_unprivileged_userns",
     "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
};

constexpr char kCannot[] = "cannot confine the sandbox: ";

}  // namespace

absl::Status NamespaceError(int error, const std::string& sysctls) {
  for (const Setting& setting : kSettings) {
    std::string value;
    std::ifstream(absl::StrCat(sysctls, "/", setting.path)) >> value;
    if (value != setting.forbids) continue;
    return absl::FailedPreconditionError(absl::StrCat(kCannot, "user namespaces are switched off (",
                                                      setting.name, " is ", value,
                                                      "; as root: ", setting.remedy, ")"));
  }
  if (error == ENOSPC) {
    return absl::ResourceExhaustedError(absl::StrCat(
        kCannot, "too many namespaces (see /proc/sys/user/max_*_namespaces, namespaces(7))"));
  }
  if (error == EINVAL) {
    return absl::FailedPreconditionError(absl::StrCat(
        kCannot, "this kernel lacks user, pid, mount, network, ipc, uts or cgroup namespaces"));
  }
  return absl::ErrnoToStatus(
      error, absl::StrCat(kCannot,
                          "no new namespaces may be made here (clone(2); a container "
                          "needs a seccomp profile that allows it)"));
}

}  // namespace ringfence::runtime
