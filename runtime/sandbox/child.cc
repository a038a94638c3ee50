#include "runtime/sandbox/child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstddef>
#include <memory>

#include "absl/strings/str_cat.h"
#include "runtime/sandbox/namespace_error.h"

namespace ringfence::runtime {
namespace {

constexpr std::string_view kConfined = "confined";
constexpr std::string_view kReportsCalls = "reports-calls";

// gRPC would write its complaints among the program's own output.
char kQuietGrpc[] = "GRPC_VERBOSITY=NONE";

constexpr int kNamespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
                            CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
constexpr size_t kStackBytes = 64 << 10;

// What the child needs between its birth and its exec, in the caller's memory.
struct Birth {
  const ChildOptions& options;
  char* const* argv;
  char* const* envp;
  int error = 0;
};

bool Duplicate(const ChildOptions& options) {
  for (const InheritedFd& inherited : options.fds) {
    const int flags = fcntl(inherited.fd, F_GETFD);
    if (flags < 0 || fcntl(inherited.fd, F_SETFD, flags & ~FD_CLOEXEC) != 0) return false;
  }
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    const int source = options.standard_streams[stream];
    if (source >= 0 && dup2(source, stream) < 0) return false;
  }
  return true;
}

void ResetSignals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);  // SIGKILL, SIGSTOP and glibc's own say no
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Makes capabilities of a new user namespace survive an exec by a user that is not its root
// (capabilities(7), ambient set).
bool CarryOverExec(const std::vector<int>& capabilities) {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  for (const int capability : capabilities) {
    sets[capability / 32].inheritable |= uint32_t{1} << capability % 32;
  }
  if (syscall(SYS_capset, &header, sets) != 0) return false;
  for (const int capability : capabilities) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) return false;
  }
  return true;
}

// Runs in the caller's memory while the caller stands still: touches nothing but `Birth`, and the
// kernel's idea of this process.
int BeBorn(void* argument) {
  auto* const birth = static_cast<Birth*>(argument);
  ResetSignals();
  setsid();
  const bool ready = Duplicate(birth->options) &&
                     (!birth->options.own_namespaces || CarryOverExec(birth->options.capabilities));
  if (ready) execve("/proc/self/exe", birth->argv, birth->envp);
  birth->error = errno;
  _exit(127);
}

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
  std::vector<std::string> args = {"ringfence", std::string(options.role)};
  if (options.own_namespaces) args.emplace_back(kConfined);
  if (options.reports_calls) args.emplace_back(kReportsCalls);
  for (const InheritedFd& inherited : options.fds) {
    args.push_back(absl::StrCat(inherited.name, "=", inherited.fd));
  }
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  char* envp[] = {kQuietGrpc, nullptr};
  Birth birth = {.options = options, .argv = argv.data(), .envp = envp};
  const auto stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  // No handler of ours may run in the child, which shares this memory.
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  // As posix_spawn(3) does it, which has no way to ask for namespaces.
  const pid_t pid =
      clone(BeBorn, stack.get() + kStackBytes,
            CLONE_VM | CLONE_VFORK | SIGCHLD | (options.own_namespaces ? kNamespaces : 0), &birth);
  const int error = pid < 0 ? errno : birth.error;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0 && options.own_namespaces) return NamespaceError(error, kSysctlDirectory);
  if (pid > 0 && error != 0) waitpid(pid, nullptr, 0);
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start the ", std::string(options.role)));
  }
  return pid;
}

absl::StatusOr<ChildArguments> ChildArguments::Parse(const std::vector<std::string_view>& args) {
  ChildArguments parsed;
  for (const std::string_view arg : args) {
    if (arg == kConfined || arg == kReportsCalls) {
      (arg == kConfined ? parsed.confined_ : parsed.reports_calls_) = true;
      continue;
    }
    const size_t equals = arg.find('=');
    if (equals == arg.npos) return absl::InvalidArgumentError("not NAME=NUMBER");
    const absl::StatusOr<int> number = ParseNumber(arg.substr(equals + 1));
    if (!number.ok()) return number.status();
    const std::string name(arg.substr(0, equals));
    parsed.fds_[name] = *number;
    parsed.all_.push_back(*number);
  }
  if (parsed.all_.empty()) return absl::InvalidArgumentError("no descriptors given");
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
