#include "bench/run/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

extern char** environ;

namespace ringfence::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Starts the command as the leader of a process group, its standard output in *read_end.
absl::StatusOr<pid_t> Start(const std::vector<std::string>& command, int* read_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe2");
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", command[0]));
  }
  *read_end = ends[0];
  return pid;
}

// Reads to the end of file; false when the time is up first.
bool ReadAll(int fd, Clock::time_point deadline, std::string* out) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd p{fd, POLLIN, 0};
    const int ready = poll(&p, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    char buffer[4096];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n <= 0) return n == 0;
    out->append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace

absl::StatusOr<std::string> RunChild(const std::vector<std::string>& command, int seconds) {
  int read_end = -1;
  const absl::StatusOr<pid_t> pid = Start(command, &read_end);
  if (!pid.ok()) return pid.status();
  std::string output;
  const bool in_time = ReadAll(read_end, Clock::now() + std::chrono::seconds(seconds), &output);
  close(read_end);
  if (!in_time) kill(-*pid, SIGKILL);
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  const std::string shown = absl::StrJoin(command, " ");
  if (!in_time) {
    return absl::DeadlineExceededError(absl::StrCat(shown, ": not done after ", seconds, " s"));
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::InternalError(absl::StrCat(shown, ": ended with status ", status));
  }
  return output;
}

}  // namespace ringfence::bench
