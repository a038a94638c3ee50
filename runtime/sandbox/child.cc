#include "runtime/sandbox/child.h"

#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <charconv>
#include <climits>

#include "absl/strings/str_cat.h"

namespace ringfence::runtime {
namespace {

// gRPC would write its complaints among the program's own output.
char kQuietGrpc[] = "GRPC_VERBOSITY=NONE";

class SpawnActions {
 public:
  SpawnActions() { posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions_); }
  // The child has `fd` as `target`; the same number loses its close-on-exec flag.
  void Duplicate(int fd, int target) { posix_spawn_file_actions_adddup2(&actions_, fd, target); }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class SpawnAttributes {
 public:
  SpawnAttributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

absl::StatusOr<int> ParseNumber(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) {
    return absl::InvalidArgumentError(absl::StrCat("not a number: ", std::string(text)));
  }
  return number;
}

}  // namespace

absl::StatusOr<pid_t> SpawnSelf(const ChildOptions& options) {
  std::vector<std::string> args = {"ringfence", std::string(options.role),
                                   absl::StrCat("parent=", getpid())};
  SpawnActions actions;
  for (const InheritedFd& inherited : options.fds) {
    args.push_back(absl::StrCat(inherited.name, "=", inherited.fd));
    actions.Duplicate(inherited.fd, inherited.fd);
  }
  if (options.standard_streams >= 0) {
    for (int stream = 0; stream <= 2; ++stream) actions.Duplicate(options.standard_streams, stream);
  }
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  char* envp[] = {kQuietGrpc, nullptr};
  const SpawnAttributes attributes;
  pid_t pid;
  const int error =
      posix_spawn(&pid, "/proc/self/exe", actions.get(), attributes.get(), argv.data(), envp);
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start the ", std::string(options.role)));
  }
  return pid;
}

absl::StatusOr<ChildArguments> ChildArguments::Parse(const std::vector<std::string_view>& args) {
  ChildArguments parsed;
  for (const std::string_view arg : args) {
    const size_t equals = arg.find('=');
    if (equals == arg.npos) return absl::InvalidArgumentError("not NAME=NUMBER");
    const absl::StatusOr<int> number = ParseNumber(arg.substr(equals + 1));
    if (!number.ok()) return number.status();
    const std::string name(arg.substr(0, equals));
    if (name == "parent") {
      parsed.parent_ = *number;
    } else {
      parsed.fds_[name] = *number;
      parsed.all_.push_back(*number);
    }
  }
  if (parsed.parent_ < 0) return absl::InvalidArgumentError("no parent given");
  return parsed;
}

UniqueFd ChildArguments::Take(const std::string& name) {
  const auto found = fds_.find(name);
  if (found == fds_.end()) return UniqueFd();
  UniqueFd fd(found->second);
  fds_.erase(found);
  return fd;
}

}  // namespace ringfence::runtime
