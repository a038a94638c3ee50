#include "gofer/jail/jail.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>

namespace ringfence::gofer {
namespace {

// Runs `body` in a child; true if it returned true.
bool InChild(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST_CASE("all descriptors but the named ones are closed") {
  CHECK(InChild([] {
    const int a = dup2(1, 100), b = dup2(1, 101), c = dup2(1, 102), d = dup2(1, 500);
    return CloseAllBut({b, 1, d, 1}).ok() && !IsOpen(0) && IsOpen(1) && !IsOpen(2) && !IsOpen(a) &&
           IsOpen(b) && !IsOpen(c) && IsOpen(d);
  }));
  CHECK(InChild([] { return !CloseAllBut({-1}).ok() && IsOpen(1); }));
}

TEST_CASE("the whole jail") {
  const pid_t parent = getpid();
  CHECK(InChild([parent] {
    dup2(1, 100);
    if (!EnterJail({.parent = parent, .keep_fds = {100}}).ok()) return false;
    rlimit limit;
    int death_signal = 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    prctl(PR_GET_PDEATHSIG, &death_signal);
    return IsOpen(0) && IsOpen(1) && IsOpen(2) && IsOpen(100) && limit.rlim_cur == limit.rlim_max &&
           death_signal == SIGKILL && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
           prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
  }));
}

TEST_CASE("a parent that is already gone is noticed") {
  CHECK(InChild([] { return !DieWithParent(1'000'000'000).ok(); }));
}

}  // namespace
}  // namespace ringfence::gofer
