#include "gofer/jail/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "gofer/jail/jail.h"

namespace ringfence::gofer {
namespace {

constexpr int kBitsPerWord = 32;
constexpr unsigned long kSecureBits =
    SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
    SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

absl::Status HostError(const char* what) { return absl::ErrnoToStatus(errno, what); }

absl::Status EmptyBoundingSet() {
  // The kernel's last capability may be newer than our headers': EINVAL tells.
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return HostError("PR_CAPBSET_DROP");
  }
  return absl::OkStatus();
}

absl::Status SetLimit(__rlimit_resource resource, uint64_t value) {
  rlimit limit;
  if (getrlimit(resource, &limit) != 0) return HostError("getrlimit");
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(resource, &limit) != 0) return HostError("setrlimit");
  return absl::OkStatus();
}

}  // namespace

absl::Status BecomeUser(uid_t uid, gid_t gid) {
  // EPERM: a namespace that an unprivileged user made; its groups stay what they were.
  if (setgroups(0, nullptr) != 0 && errno != EPERM) return HostError("setgroups");
  if (setresgid(gid, gid, gid) != 0) return HostError("setresgid");
  if (setresuid(uid, uid, uid) != 0) return HostError("setresuid");
  return absl::OkStatus();
}

absl::Status LeaveSessionKeyring() {
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS &&
      errno != EDQUOT) {
    return HostError("KEYCTL_JOIN_SESSION_KEYRING");
  }
  return absl::OkStatus();
}

absl::Status KeepOnlyCapabilities(std::span<const int> capabilities) {
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return HostError("PR_CAP_AMBIENT_CLEAR_ALL");
  }
  absl::Status status = EmptyBoundingSet();
  if (!status.ok()) return status;
  if (prctl(PR_SET_SECUREBITS, kSecureBits, 0, 0, 0) != 0) return HostError("PR_SET_SECUREBITS");
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return HostError("capget");
  uint32_t kept[_LINUX_CAPABILITY_U32S_3] = {};
  for (const int capability : capabilities) {
    kept[capability / kBitsPerWord] |= uint32_t{1} << capability % kBitsPerWord;
  }
  for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; ++word) {
    sets[word].permitted &= kept[word];
    sets[word].effective = sets[word].permitted;
    sets[word].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, sets) != 0) return HostError("capset");
  return absl::OkStatus();
}

absl::Status SetLimits(uint64_t threads) {
  for (const auto resource : {RLIMIT_CORE, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO}) {
    absl::Status status = SetLimit(resource, 0);
    if (!status.ok()) return status;
  }
  absl::Status status = SetLimit(RLIMIT_NPROC, threads);
  if (!status.ok()) return status;
  return RaiseDescriptorLimit().status();
}

}  // namespace ringfence::gofer
