#include "gofer/jail/jail.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "gofer/jail/testing_child.h"

namespace ringfence::gofer {
namespace {

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST_CASE("all descriptors but the named and the standard ones are closed") {
  CHECK(InChild([] {
    const int a = dup2(1, 100), b = dup2(1, 101), c = dup2(1, 102), d = dup2(1, 500);
    return CloseAllBut({b, 1, d, 1}).ok() && IsOpen(0) && IsOpen(1) && IsOpen(2) && !IsOpen(a) &&
           IsOpen(b) && !IsOpen(c) && IsOpen(d);
  }));
  CHECK(InChild([] { return !CloseAllBut({-1}).ok() && IsOpen(1); }));
}

TEST_CASE("no gain by exec, no core dump, all descriptors there may be") {
  CHECK(InChild([] {
    rlimit limit;
    return DropPrivilegeGains().ok() && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
           prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && RaiseDescriptorLimit().ok() &&
           getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == limit.rlim_max;
  }));
}

TEST_CASE("a parent that is already gone is noticed") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  CHECK(InChild([&] {
    int death_signal = 0;
    return DieWithParent(ends[0]).ok() && prctl(PR_GET_PDEATHSIG, &death_signal) == 0 &&
           death_signal == SIGKILL;
  }));
  close(ends[1]);
  CHECK(InChild([&] { return !DieWithParent(ends[0]).ok(); }));
  close(ends[0]);
}

}  // namespace
}  // namespace ringfence::gofer
