#include "platform/base/log.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "platform/base/check.h"

namespace ringfence {
namespace {

struct Pipe {
  int ends[2];
  Pipe() { REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0); }
  ~Pipe() {
    SetLogFd(-1);
    close(ends[0]);
    close(ends[1]);
  }
  std::string Read() const {
    char buffer[4096];
    ssize_t n = read(ends[0], buffer, sizeof buffer);
    return n > 0 ? std::string(buffer, n) : std::string();
  }
};

TEST_CASE("a line has level, time, thread and text") {
  Pipe pipe;
  SetLogFd(pipe.ends[1], kInfo);
  Log(kWarning, "slot ", 7, std::string_view(" refused"));
  const std::string line = pipe.Read();
  CHECK(line.substr(0, 2) == "W ");
  CHECK(line.find(" " + std::to_string(gettid()) + " slot 7 refused\n") != std::string::npos);
}

TEST_CASE("levels below the minimum and a closed log are silent") {
  Pipe pipe;
  SetLogFd(pipe.ends[1], kWarning);
  Log(kInfo, "no");
  SetLogFd(-1);
  Log(kError, "no");
  CHECK(pipe.Read().empty());
}

std::string* lines_of_function = nullptr;

TEST_CASE("a function gets the lines where there is no descriptor") {
  std::string lines;
  lines_of_function = &lines;
  SetLogFunction([](std::string_view line) { *lines_of_function += line; }, kWarning);
  Log(kInfo, "no");
  Log(kWarning, "yes");
  SetLogFunction(nullptr);
  Log(kError, "no");
  CHECK(lines.substr(0, 2) == "W ");
  CHECK(lines.substr(lines.size() - 5) == " yes\n");
}

TEST_CASE("text from a guest cannot forge lines, and is cut") {
  Pipe pipe;
  SetLogFd(pipe.ends[1], kDebug);
  Log(kDebug, "a\nE 1 2 b\x1b[0m\xff");
  CHECK(pipe.Read().find(" a?E 1 2 b?[0m?\n") != std::string::npos);
  Log(kDebug, std::string(5000, 'x'));
  const std::string line = pipe.Read();
  CHECK(line.size() < 1100);
  CHECK(line.back() == '\n');
}

TEST_CASE("a log that is full does not block or change errno") {
  Pipe pipe;
  SetLogFd(pipe.ends[1], kDebug);
  errno = ENOENT;
  for (int i = 0; i < 200; ++i) LogLine(kError, std::string(1000, 'x'));
  CHECK(errno == ENOENT);
}

TEST_CASE("a failed check says where, and aborts") {
  Pipe pipe;
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe.ends[1], STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    Check(true, "fine");
    Check(false, "frame 7 freed twice");
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
  const std::string line = pipe.Read();
  CHECK(line.find("ringfence: internal error: frame 7 freed twice (") == 0);
  CHECK(line.find("log_test.cc:") != std::string::npos);
}

}  // namespace
}  // namespace ringfence
