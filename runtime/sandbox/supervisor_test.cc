// Launch, supervise and clean up real processes: this test's own binary plays sentry and gofer.
#define CATCH_CONFIG_RUNNER
#define CATCH_CONFIG_NO_POSIX_SIGNALS
#include "runtime/sandbox/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sandbox/child.h"
#include "runtime/sandbox/streams.h"

namespace ringfence::runtime {
namespace {

// What the fake processes do is chosen by the name of an extra descriptor.
bool Has(ChildArguments* arguments, const std::string& name) {
  return arguments->Take(name).valid();
}

[[noreturn]] void FakeGofer(ChildArguments arguments) {
  ControlSocket control(arguments.Take("control"));
  if (Has(&arguments, "fails")) {
    (void)control.Send({.kind = MessageKind::kFailed, .value = 1, .text = "gofer: no way"});
    _exit(1);
  }
  if (Has(&arguments, "dies_early")) _exit(7);
  if (Has(&arguments, "dies")) {
    usleep(100'000);
    kill(getpid(), SIGKILL);
  }
  pause();
  _exit(0);
}

[[noreturn]] void FakeSentry(ChildArguments arguments) {
  ControlSocket control(arguments.Take("control"));
  if (Has(&arguments, "hangs")) pause();
  if (Has(&arguments, "fails")) {
    (void)control.Send({.kind = MessageKind::kFailed, .value = 127, .text = "no\nsuch"});
    pause();
  }
  if (Has(&arguments, "crashes")) abort();
  if (Has(&arguments, "forbidden")) raise(SIGSYS);  // as seccomp(2) kills
  (void)control.Send({.kind = MessageKind::kStarted, .text = {}});
  if (Has(&arguments, "echo_signal")) {
    (void)control.Send(
        {.kind = MessageKind::kFinished, .value = control.Receive()->value, .text = {}});
  }
  if (Has(&arguments, "killed")) {
    usleep(20'000);
    kill(getpid(), SIGKILL);
  }
  if (Has(&arguments, "slow")) usleep(300'000);
  (void)control.Send({.kind = MessageKind::kFinished, .value = 42 << 8, .text = {}});
  _exit(0);
}

Child Spawn(std::string_view role, const std::string& behaviour) {
  auto control = ControlSocket::MakePair().value();
  ChildOptions options = {.role = role, .fds = {{"control", control.second.fd()}}};
  const UniqueFd extra(open("/", O_PATH | O_CLOEXEC));
  options.fds.push_back({behaviour, extra.get()});
  return {.pid = SpawnSelf(options).value(), .control = std::move(control.first)};
}

struct Outcome {
  int status;
  std::vector<std::string> said;
};

Outcome Supervise(const std::string& sentry, const std::string& gofer) {
  Outcome outcome;
  auto say = [&](std::string_view line) { outcome.said.emplace_back(line); };
  UniqueFd signals = CatchForwardedSignals().value();
  {
    Supervisor supervisor(std::move(signals), Spawn(kSentryRole, sentry), Spawn(kGoferRole, gofer),
                          say);
    outcome.status = supervisor.Run();
  }
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);  // no child is left
  CHECK(errno == ECHILD);
  return outcome;
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("the program's status is the CLI's") {
  const Outcome outcome = Supervise("", "");
  CHECK(outcome.status == 42);
  CHECK(outcome.said.empty());
}

TEST_CASE("a sandbox that cannot be made: one line, its status") {
  const Outcome outcome = Supervise("fails", "");
  CHECK(outcome.status == 127);
  CHECK(outcome.said == std::vector<std::string>{"no?such"});
}

TEST_CASE("a sentry that crashes or is killed") {
  const std::string how = GENERATE("crashes", "killed");
  const Outcome outcome = Supervise(how, "");
  CHECK(outcome.status == kFailureStatus);
  REQUIRE(outcome.said.size() == 1);
  CHECK(Contains(outcome.said[0], "the sentry was killed by signal"));
}

TEST_CASE("a sentry that made a forbidden system call") {
  const Outcome outcome = Supervise("forbidden", "");
  CHECK(outcome.status == kFailureStatus);
  REQUIRE(outcome.said.size() == 1);
  CHECK(Contains(outcome.said[0], "the sentry was killed since it made a forbidden system call"));
}

TEST_CASE("a gofer that fails before the program starts") {
  CHECK(Supervise("hangs", "fails").said == std::vector<std::string>{"gofer: no way"});
  const Outcome outcome = Supervise("hangs", "dies_early");
  CHECK(outcome.status == kFailureStatus);
  REQUIRE(outcome.said.size() == 1);
  CHECK(outcome.said[0] == "the gofer ended unexpectedly with status 7");
}

TEST_CASE("a gofer that dies while the program runs is told once") {
  const Outcome outcome = Supervise("slow", "dies");
  CHECK(outcome.status == 42);
  REQUIRE(outcome.said.size() == 1);
  CHECK(Contains(outcome.said[0], "the gofer was killed by signal 9"));
}

TEST_CASE("signals reach the sentry") {
  const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGWINCH);
  std::thread sender([signal, self = getpid()] {
    usleep(50'000);
    kill(self, signal);
  });
  CHECK(Supervise("echo_signal", "").status == 128 + signal);
  sender.join();
}

TEST_CASE("exit statuses") {
  CHECK(ExitStatusOf(0) == 0);
  CHECK(ExitStatusOf(255 << 8) == 255);
  CHECK(ExitStatusOf(SIGKILL) == 137);
  CHECK(ExitStatusOf(SIGABRT | 0x80) == 134);
}

TEST_CASE("a child gets the named descriptors, a session and a clean signal state") {
  CHECK_FALSE(ChildArguments::Parse({}).ok());
  CHECK_FALSE(ChildArguments::Parse({"parent=x"}).ok());
  CHECK_FALSE(ChildArguments::Parse({"b=1", "a"}).ok());
  CHECK_FALSE(ChildArguments::Parse({"b=1", "a=-3"}).ok());
  CHECK_FALSE(ChildArguments::Parse({"confined"}).ok());
  CHECK(ChildArguments::Parse({"confined", "a=1000"}).value().confined());
  ChildArguments arguments = ChildArguments::Parse({"a=1000", "b=1001"}).value();
  CHECK_FALSE(arguments.confined());
  CHECK(arguments.fds() == std::vector<int>{1000, 1001});
  CHECK(arguments.Take("a").get() == 1000);
  CHECK_FALSE(arguments.Take("a").valid());
  CHECK(arguments.Take("b").get() == 1001);
  CHECK(arguments.fds() == std::vector<int>{1000, 1001});
}

TEST_CASE("closed standard streams are filled") {
  const int kept = dup(1);
  close(1);
  CHECK(FillClosedStreams().value() == 2);
  char byte = 0;
  CHECK(write(1, &byte, 1) < 0);
  dup2(kept, 1);
  close(kept);
  CHECK(FillClosedStreams().value() == 0);
}

}  // namespace
}  // namespace ringfence::runtime

int main(int argc, char** argv) {
  using namespace ringfence::runtime;
  if (argc > 1 && (argv[1] == kSentryRole || argv[1] == kGoferRole)) {
    ChildArguments arguments = ChildArguments::Parse({argv + 2, argv + argc}).value();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argv[1] == kGoferRole) FakeGofer(std::move(arguments));
    FakeSentry(std::move(arguments));
  }
  return Catch::Session().run(argc, argv);
}
