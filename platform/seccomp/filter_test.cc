#include "platform/seccomp/filter.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <functional>
#include <thread>

#include "platform/seccomp/testing_filter.h"

namespace ringfence::seccomp {
namespace {

constexpr Rule kRules[] = {
    Allow(SYS_read, "any"),
    Allow(SYS_write, "any"),
    Allow(SYS_exit_group, "any"),
    Allow(SYS_futex, "threads"),
    Allow(SYS_exit, "threads"),
    Allow(SYS_madvise, "threads"),
    Allow(SYS_munmap, "threads"),
    Allow(SYS_rt_sigprocmask, "threads"),
    AllowIf(SYS_mmap, Without(2, PROT_EXEC), "no code"),
    AllowIf(SYS_fcntl, Is(1, F_GETFL), "one command"),
    AllowIf(SYS_fcntl, Is(1, F_GETFD), "or another"),
    AllowIf(SYS_prctl, Is(0, PR_GET_NAME), Is(2, 7), "two arguments"),
    AllowIf(SYS_mknodat, Bits(2, 0170000, 0010000), "some bits"),
    Refuse(SYS_clone3, ENOSYS, "falls back"),
};

Filter Compiled(Violation violation = Violation::kKill) {
  auto filter = Filter::Compile(kRules, violation);
  REQUIRE(filter.ok());
  return *std::move(filter);
}

// The wait status of a child that installs the filter and runs `body`.
int StatusUnderFilter(const std::function<int()>& body, Violation violation = Violation::kKill) {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const Filter filter = Compiled(violation);
    if (!filter.Install().ok()) _exit(99);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

bool Killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS; }

TEST_CASE("the compiled program means what the table says, for every call") {
  const auto kill = Compiled().Program();
  REQUIRE(kill.ok());
  CHECK(Disagreement(kRules, *kill, SECCOMP_RET_KILL_PROCESS).empty());
  const auto trap = Compiled(Violation::kTrap).Program();
  REQUIRE(trap.ok());
  CHECK(Disagreement(kRules, *trap, SECCOMP_RET_TRAP).empty());
  // And the comparison notices.
  CHECK_FALSE(Disagreement(kRules, *trap, SECCOMP_RET_KILL_PROCESS).empty());
  CHECK_FALSE(Disagreement(std::span(kRules).first(4), *kill, SECCOMP_RET_KILL_PROCESS).empty());
  CHECK_FALSE(Disagreement(std::span(kRules).last(13), *kill, SECCOMP_RET_KILL_PROCESS).empty());
}

TEST_CASE("what is allowed works, what is not kills") {
  CHECK(StatusUnderFilter([] { return fcntl(0, F_GETFD) >= 0 ? 0 : 1; }) == 0);
  CHECK(StatusUnderFilter(
            [] { return syscall(SYS_clone3, 0, 0) < 0 && errno == ENOSYS ? 0 : 1; }) == 0);
  CHECK(Killed(StatusUnderFilter([] { return static_cast<int>(getuid()); })));
  CHECK(Killed(StatusUnderFilter([] { return fcntl(0, F_SETFD, 0); })));
  CHECK(Killed(StatusUnderFilter([] {
    return mmap(nullptr, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
  })));
  // The upper half of a register that the kernel ignores.
  CHECK(Killed(StatusUnderFilter(
      [] { return static_cast<int>(syscall(SYS_fcntl, 0, (uint64_t{1} << 32) | F_GETFL)); })));
}

TEST_CASE("threads that run already are filtered, too") {
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    std::thread thread([&] {
      char byte;
      while (read(ready[0], &byte, 1) != 1) {
      }
      (void)getuid();
      _exit(0);
    });
    if (!Compiled().Install().ok()) _exit(99);
    (void)!write(ready[1], "x", 1);
    thread.join();
  }
  int status = 0;
  waitpid(child, &status, 0);
  close(ready[0]);
  close(ready[1]);
  CHECK(Killed(status));
}

TEST_CASE("a trap can be reported") {
  signal(SIGSYS, [](int) { _exit(42); });
  const int status = StatusUnderFilter([] { return static_cast<int>(getuid()); }, Violation::kTrap);
  signal(SIGSYS, SIG_DFL);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE("calls have names") {
  CHECK(CallName(SYS_openat) == "openat");
  CHECK(CallName(9999) == "9999");
}

}  // namespace
}  // namespace ringfence::seccomp
