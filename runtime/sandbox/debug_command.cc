#include "runtime/sandbox/debug_command.h"

#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "platform/base/unique_fd.h"
#include "runtime/sandbox/debug_socket.h"
#include "runtime/sandbox/places.h"
#include "runtime/sandbox/report.h"
#include "runtime/sandbox/supervisor.h"

namespace ringfence::runtime {
namespace {

constexpr std::string_view kSuffix = ".sock";
constexpr size_t kMaxAnswer = 8 << 20;
constexpr int kPatienceMs = 10000;

// DeadlineExceeded: the sandbox does not answer.
absl::StatusOr<std::string> Ask(const std::string& path, char request) {
  const absl::StatusOr<UniqueFd> fd = ConnectTo(path);
  if (!fd.ok()) return fd.status();
  if (send(fd->get(), &request, 1, MSG_NOSIGNAL) != 1) return absl::UnavailableError(path);
  std::string answer;
  char piece[65536];
  while (answer.size() < kMaxAnswer) {
    pollfd ready = {.fd = fd->get(), .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, kPatienceMs) == 0) return absl::DeadlineExceededError(path);
    const ssize_t got = recv(fd->get(), piece, sizeof(piece), 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    answer.append(piece, static_cast<size_t>(got));
  }
  if (answer.empty()) return absl::DeadlineExceededError(path);
  return answer;
}

std::vector<std::string> Ids(const std::string& directory) {
  std::vector<std::string> ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  while (const dirent* entry = dir == nullptr ? nullptr : readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name.ends_with(kSuffix)) ids.emplace_back(name.substr(0, name.size() - kSuffix.size()));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::string SocketPath(const std::string& directory, const std::string& id) {
  return absl::StrCat(directory, "/", id, std::string(kSuffix));
}

int Print(const std::string& text) {
  const bool printed =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return printed ? 0 : kFailureStatus;
}

int List(const std::string& directory) {
  std::string text;
  for (const std::string& id : Ids(directory)) {
    const std::string path = SocketPath(directory, id);
    const absl::StatusOr<std::string> title = Ask(path, 'l');
    if (title.ok()) {
      absl::StrAppend(&text, id, "\t", *title);
    } else if (absl::IsUnavailable(title.status())) {
      RemoveIfDead(path);  // left by a CLI that was killed
    } else {
      absl::StrAppend(&text, id, "\t(does not answer)\n");
    }
  }
  if (text.empty()) {
    Say("no sandbox of this user is running");
    return 0;
  }
  return Print(text);
}

int Show(const std::string& directory, const std::string& name) {
  const bool number = name.find_first_not_of("0123456789") == name.npos;
  const std::string id = number ? "do-" + name : name;
  const std::vector<std::string> ids = Ids(directory);
  const bool known = std::find(ids.begin(), ids.end(), id) != ids.end();
  const absl::StatusOr<std::string> answer =
      known ? Ask(SocketPath(directory, id), 't') : absl::UnavailableError("");
  if (answer.ok()) return Print(*answer);
  if (absl::IsUnavailable(answer.status())) {
    Say("debug: no sandbox " + name + " of this user is running; ringfence debug lists them");
  } else if (absl::IsDeadlineExceeded(answer.status())) {
    Say("debug: the sandbox " + name + " does not answer");
  } else {
    Say("debug: " + std::string(answer.status().message()));
  }
  return kFailureStatus;
}

}  // namespace

int RunDebug(const DebugCommand& command) {
  const std::string directory = RunDirectory();
  struct stat st;
  if (lstat(directory.c_str(), &st) == 0) {
    const absl::Status good = MakeRunDirectory(directory);
    if (!good.ok()) {
      Say("debug: " + std::string(good.message()));
      return kFailureStatus;
    }
  }
  return command.sandbox.has_value() ? Show(directory, *command.sandbox) : List(directory);
}

}  // namespace ringfence::runtime
