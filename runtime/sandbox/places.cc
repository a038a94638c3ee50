#include "runtime/sandbox/places.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace ringfence::runtime {
namespace {

constexpr mode_t kPrivate = 0700;

// An absolute path from the environment; empty where there is none.
std::string Variable(const char* name) {
  const char* value = secure_getenv(name);
  return value != nullptr && value[0] == '/' ? value : "";
}

}  // namespace

std::string SandboxId(pid_t pid) { return absl::StrCat("do-", pid); }

std::string RunDirectory() {
  if (geteuid() == 0) return "/run/ringfence";
  const std::string runtime = Variable("XDG_RUNTIME_DIR");
  return runtime.empty() ? absl::StrCat("/tmp/ringfence-", geteuid()) : runtime + "/ringfence";
}

absl::Status MakeRunDirectory(const std::string& path) {
  if (mkdir(path.c_str(), kPrivate) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, "cannot make " + path);
  }
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) return absl::ErrnoToStatus(errno, path);
  if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(path + " is not a directory of this user alone");
  }
  return absl::OkStatus();
}

std::string DefaultLogPath() {
  if (geteuid() == 0) return "/var/log/ringfence/ringfence.log";
  const std::string state = Variable("XDG_STATE_HOME");
  if (!state.empty()) return state + "/ringfence/ringfence.log";
  const std::string home = Variable("HOME");
  return home.empty() ? "" : home + "/.local/state/ringfence/ringfence.log";
}

}  // namespace ringfence::runtime
