#include "bench/run/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

extern char** environ;

namespace ringfence::bench {

struct ChildSet::Child {
  pid_t pid = -1;
  int end = -1;  // a pidfd, until the end has been seen
  int out = -1, err = -1;
  int status = 0;
  std::string errors;
  ChildResult result;
};

namespace {

constexpr size_t kMostErrorText = 64 << 10;
constexpr size_t kMostOutput = 16 << 20;
constexpr auto kOrphansGetTime = std::chrono::seconds(2);

double NsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

void Close(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

std::string LastLine(const std::string& text) {
  std::string last;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    last = std::string(line);
  }
  return last;
}

absl::Status HowItEnded(int status, const std::string& errors) {
  const std::string why = LastLine(errors);
  return absl::InternalError(
      absl::StrCat(WIFSIGNALED(status) ? absl::StrCat("killed by ", strsignal(WTERMSIG(status)))
                                       : absl::StrCat("exit status ", WEXITSTATUS(status)),
                   why.empty() ? "" : ": ", why));
}

// Starts the command as the leader of a process group, its outputs in pipes.
absl::StatusOr<pid_t> Spawn(const Command& command, const int out[2], const int err[2]) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", command[0]));
  return pid;
}

// The parent of each process, from /proc/PID/stat: "PID (NAME) STATE PPID ...".
std::map<pid_t, pid_t> Parents() {
  std::map<pid_t, pid_t> parents;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    int pid = 0, parent = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    const size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos || name_end + 4 > stat.size()) continue;
    parent = std::atoi(stat.c_str() + name_end + 4);
    parents[pid] = parent;
  }
  return parents;
}

void ReapAll() {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

// What a command left behind gets a moment to end, then is killed.
void EndOrphans(bool at_once) {
  const Clock::time_point deadline = Clock::now() + kOrphansGetTime;
  for (ReapAll(); !Descendants().empty(); ReapAll()) {
    if (at_once || Clock::now() > deadline) {
      for (const pid_t pid : Descendants()) kill(pid, SIGKILL);
    }
    usleep(2000);
    if (Clock::now() > deadline + kOrphansGetTime) return;  // stuck in the kernel: not ours to fix
  }
}

}  // namespace

std::vector<pid_t> Descendants() {
  const std::map<pid_t, pid_t> parents = Parents();
  std::vector<pid_t> found;
  for (const auto& [pid, parent] : parents) {
    pid_t at = parent;
    for (int depth = 0; depth < 64 && at > 1; depth++) {
      if (at == getpid()) {
        found.push_back(pid);
        break;
      }
      const auto next = parents.find(at);
      at = next == parents.end() ? 0 : next->second;
    }
  }
  return found;
}

double ChildCpuNs() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  const auto ns = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_usec) * 1e3;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

ChildSet::ChildSet() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

ChildSet::~ChildSet() { Kill(); }

absl::Status ChildSet::Start(const Command& command) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe2");
  if (pipe2(err, O_CLOEXEC) != 0) {
    close(out[0]);
    close(out[1]);
    return absl::ErrnoToStatus(errno, "pipe2");
  }
  Child child;
  child.result.began = Clock::now();
  const absl::StatusOr<pid_t> pid = Spawn(command, out, err);
  close(out[1]);
  close(err[1]);
  child.out = out[0];
  child.err = err[0];
  if (pid.ok()) child.end = static_cast<int>(syscall(SYS_pidfd_open, *pid, 0));
  if (!pid.ok() || child.end < 0) {
    Close(&child.out);
    Close(&child.err);
    return pid.ok() ? absl::ErrnoToStatus(errno, "pidfd_open") : pid.status();
  }
  child.pid = *pid;
  children_.push_back(std::move(child));
  return absl::OkStatus();
}

void ChildSet::Read(Child& child, int* fd, std::string* to) {
  char buffer[16384];
  const ssize_t n = read(*fd, buffer, sizeof buffer);
  if (n <= 0) {
    if (n == 0 || errno != EINTR) Close(fd);
    return;
  }
  if (fd == &child.out && child.result.first_byte_ns == 0) {
    child.result.first_byte_ns = NsSince(child.result.began);
  }
  const size_t limit = fd == &child.out ? kMostOutput : kMostErrorText;
  if (to->size() < limit) to->append(buffer, static_cast<size_t>(n));
}

bool ChildSet::Step(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  if (left <= 0) return false;
  std::vector<pollfd> fds;
  for (const Child& child : children_) {
    // poll(2) leaves out those that are -1.
    for (const int fd : {child.out, child.err, child.end}) fds.push_back({fd, POLLIN, 0});
  }
  const int ready = poll(fds.data(), fds.size(), static_cast<int>(left));
  if (ready < 0 && errno == EINTR) return true;
  if (ready <= 0) return false;
  for (size_t i = 0; i < children_.size(); i++) {
    Child& child = children_[i];
    if (fds[3 * i].revents != 0) Read(child, &child.out, &child.result.output);
    if (fds[3 * i + 1].revents != 0) Read(child, &child.err, &child.errors);
    if (fds[3 * i + 2].revents == 0) continue;
    child.result.wall_ns = NsSince(child.result.began);
    while (waitpid(child.pid, &child.status, 0) < 0 && errno == EINTR) {
    }
    Close(&child.end);
    // What it printed is in the pipes; whoever else holds them open is not waited for.
    for (int* fd : {&child.out, &child.err}) {
      if (*fd >= 0) fcntl(*fd, F_SETFL, O_NONBLOCK);
      while (*fd >= 0) {
        Read(child, fd, fd == &child.out ? &child.result.output : &child.errors);
      }
    }
  }
  return true;
}

absl::Status ChildSet::WaitForFirstBytes(int seconds) {
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(seconds);
  for (;;) {
    bool all = true;
    for (const Child& child : children_) {
      if (child.result.first_byte_ns != 0) continue;
      all = false;
      if (child.end < 0) {
        return HowItEnded(child.status, child.errors);
      }
    }
    if (all) return absl::OkStatus();
    if (!Step(deadline)) {
      return absl::DeadlineExceededError(absl::StrCat("no output within ", seconds, " s"));
    }
  }
}

absl::StatusOr<std::vector<ChildResult>> ChildSet::WaitForEnd(int seconds) {
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(seconds);
  std::vector<ChildResult> results;
  for (Child& child : children_) {
    while (child.end >= 0) {
      if (Step(deadline)) continue;
      Kill();
      return absl::DeadlineExceededError(absl::StrCat("not done after ", seconds, " s"));
    }
  }
  EndOrphans(/*at_once=*/false);
  for (Child& child : children_) {
    if (!WIFEXITED(child.status) || WEXITSTATUS(child.status) != 0) {
      return HowItEnded(child.status, child.errors);
    }
    results.push_back(std::move(child.result));
  }
  children_.clear();
  return results;
}

void ChildSet::Kill() {
  if (children_.empty()) return;
  for (Child& child : children_) {
    if (child.end >= 0) {
      kill(-child.pid, SIGKILL);
      while (waitpid(child.pid, &child.status, 0) < 0 && errno == EINTR) {
      }
    }
    for (int* fd : {&child.out, &child.err, &child.end}) Close(fd);
  }
  children_.clear();
  EndOrphans(/*at_once=*/true);
}

absl::StatusOr<ChildResult> RunChild(const Command& command, int seconds) {
  ChildSet set;
  if (const absl::Status started = set.Start(command); !started.ok()) return started;
  absl::StatusOr<std::vector<ChildResult>> results = set.WaitForEnd(seconds);
  if (!results.ok()) return results.status();
  return std::move(results->front());
}

}  // namespace ringfence::bench
