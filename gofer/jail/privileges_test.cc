#include "gofer/jail/privileges.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "gofer/jail/testing_child.h"

namespace ringfence::gofer {
namespace {

constexpr int kOne[] = {CAP_CHOWN};

bool Holds(uint32_t effective, uint32_t permitted, uint32_t inheritable) {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  return syscall(SYS_capget, &header, sets) == 0 && sets[0].effective == effective &&
         sets[0].permitted == permitted && sets[0].inheritable == inheritable &&
         sets[1].effective == 0 && sets[1].permitted == 0 && sets[1].inheritable == 0;
}

bool BoundingSetIsEmpty() {
  for (int c = 0; c <= CAP_LAST_CAP; ++c) {
    if (prctl(PR_CAPBSET_READ, c, 0, 0, 0) != 0) return false;
  }
  return true;
}

TEST_CASE("one capability is kept, the others are gone for good") {
  CHECK(InChild(
      [] {
        if (!KeepOnlyCapabilities(kOne).ok()) return false;
        const uint32_t chown_bit = uint32_t{1} << CAP_CHOWN;
        return Holds(chown_bit, chown_bit, 0) && BoundingSetIsEmpty() &&
               prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) != 0 &&
               prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) != 0 &&
               (prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) & SECBIT_NOROOT_LOCKED) != 0;
      },
      CLONE_NEWUSER));
}

TEST_CASE("a capability that is not there is not asked for") {
  CHECK(InChild(
      [] {
        return KeepOnlyCapabilities({}).ok() && Holds(0, 0, 0) &&
               !KeepOnlyCapabilities(kOne).ok();  // needs CAP_SETPCAP
      },
      CLONE_NEWUSER));
}

TEST_CASE("another user without supplementary groups") {
  if (geteuid() != 0) return;  // without a user namespace, as root
  CHECK(InChild([] {
    return BecomeUser(65534, 65533).ok() && getuid() == 65534 && geteuid() == 65534 &&
           getgid() == 65533 && getgroups(0, nullptr) == 0 && setuid(0) != 0;
  }));
}

TEST_CASE("a session keyring of its own") {
  CHECK(InChild([] {
    const long before = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1);
    if (before < 0 && errno == ENOSYS) return LeaveSessionKeyring().ok();
    return LeaveSessionKeyring().ok() &&
           syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) != before;
  }));
}

TEST_CASE("limits") {
  CHECK(InChild([] {
    rlimit core, threads, files;
    return SetLimits(100).ok() && getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 &&
           getrlimit(RLIMIT_NPROC, &threads) == 0 && threads.rlim_max == 100 &&
           getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur == files.rlim_max;
  }));
}

}  // namespace
}  // namespace ringfence::gofer
