#include "gofer/jail/jail.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "absl/strings/str_cat.h"

namespace ringfence::gofer {
namespace {

absl::Status HostError(const char* what) { return absl::ErrnoToStatus(errno, what); }

}  // namespace

absl::Status CloseAllBut(std::vector<int> keep) {
  keep.insert(keep.end(), {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO});
  std::sort(keep.begin(), keep.end());
  unsigned first = 0;
  for (const int fd : keep) {
    if (fd < 0) return absl::InvalidArgumentError(absl::StrCat("cannot keep descriptor ", fd));
    const auto kept = static_cast<unsigned>(fd);
    if (kept > first && close_range(first, kept - 1, 0) != 0) return HostError("close_range");
    first = kept + 1;
  }
  if (close_range(first, UINT_MAX, 0) != 0) return HostError("close_range");
  return absl::OkStatus();
}

absl::Status DieWithParent(int channel) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return HostError("PR_SET_PDEATHSIG");
  // It may have gone before the call above. getppid(2) does not tell in a pid namespace.
  pollfd peer = {.fd = channel, .events = 0, .revents = 0};
  if (poll(&peer, 1, 0) < 0) return HostError("poll");
  if (peer.revents != 0) return absl::AbortedError("the parent process is gone");
  return absl::OkStatus();
}

absl::Status DropPrivilegeGains() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return HostError("PR_SET_NO_NEW_PRIVS");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return HostError("PR_SET_DUMPABLE");
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return HostError("getrlimit(RLIMIT_NOFILE)");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return HostError("setrlimit(RLIMIT_NOFILE)");
  return limit.rlim_cur;
}

}  // namespace ringfence::gofer
