#include "runtime/sandbox/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gofer/wire/fd_channel.h"
#include "runtime/control/wire.h"
#include "runtime/sandbox/child.h"
#include "runtime/sandbox/confine.h"
#include "runtime/sandbox/debug_server.h"
#include "runtime/sandbox/id_map.h"
#include "runtime/sandbox/log_file.h"
#include "runtime/sandbox/places.h"
#include "runtime/sandbox/report.h"
#include "runtime/sandbox/spec.h"
#include "runtime/sandbox/supervisor.h"
#include "runtime/sandbox/terminal_relay.h"
#include "runtime/sandbox/trees.h"

namespace ringfence::runtime {
namespace {

constexpr char kUnconfinedWarning[] =
    "warning: --debug-unconfined: a program that breaks out of the sandbox has the rights of this "
    "user";

std::vector<std::string> CallersEnvironment() {
  std::vector<std::string> env;
  for (char** setting = environ; *setting != nullptr; ++setting) env.emplace_back(*setting);
  return env;
}

std::vector<uint32_t> CallersGroups() {
  std::vector<gid_t> groups(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)));
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(count, 0)));
  return {groups.begin(), groups.end()};
}

uint64_t CallersIgnoredSignals() {
  uint64_t ignored = 0;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler != SIG_IGN) continue;
    ignored |= uint64_t{1} << (signal - 1);
  }
  return ignored;
}

std::string CallersDirectory() {
  char path[PATH_MAX];
  // A directory outside of this root starts with "(unreachable)" (getcwd(3)).
  return getcwd(path, sizeof(path)) != nullptr && path[0] == '/' ? path : "/";
}

constexpr char kKvm[] = "/dev/kvm";

absl::StatusOr<UniqueFd> OpenKvm() {
  UniqueFd fd(open(kKvm, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return fd;
  if (errno == ENOENT || errno == ENXIO || errno == ENODEV) {
    return absl::NotFoundError(
        "there is no /dev/kvm: load the kvm module, or enable (nested) virtualisation");
  }
  const int error = errno;
  struct stat device;
  const group* owner = stat(kKvm, &device) == 0 ? getgrgid(device.st_gid) : nullptr;
  const char* const name = owner != nullptr ? owner->gr_name : "GROUP";
  return absl::ErrnoToStatus(
      error, absl::StrCat("cannot open /dev/kvm: is this user in the group ", name,
                          "? (as root: usermod -aG ", name, " USER; then log in again)"));
}

// `what` and `path` name a file that the sentry writes to; `mode` is O_APPEND or O_TRUNC.
absl::Status OpenOutput(const char* what, const std::optional<std::string>& path, int mode,
                        UniqueFd* out) {
  if (!path.has_value()) return absl::OkStatus();
  out->Reset(open(path->c_str(), O_WRONLY | mode | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644));
  if (out->valid()) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the ", what, " ", *path));
}

// A file for those who have to have one: nothing to be read, nothing can be written. Not a
// directory or an O_PATH descriptor, from which others can be opened.
absl::StatusOr<UniqueFd> MakeInertFile() {
  UniqueFd fd(memfd_create("ringfence-none", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  if (!fd.valid() || fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) {
    return absl::ErrnoToStatus(errno, "memfd_create");
  }
  return fd;
}

// The descriptors that the two processes share or get.
struct Plumbing {
  UniqueFd kvm, log, stats, spec, inert;
  std::vector<gofer::Export> trees;        // the gofer's alone
  UniqueFd sentry_rpc, gofer_rpc;          // gRPC
  UniqueFd sentry_fds, gofer_fds;          // donated descriptors
  UniqueFd sentry_terminal, our_terminal;  // -t
};

absl::Status Connect(Plumbing* out) {
  int rpc[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rpc) != 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  out->sentry_rpc.Reset(rpc[0]);
  out->gofer_rpc.Reset(rpc[1]);
  auto fds = gofer::MakeFdChannel();
  if (!fds.ok()) return absl::ErrnoToStatus(static_cast<int>(fds.error()), "socketpair");
  out->sentry_fds = std::move(fds->first);
  out->gofer_fds = std::move(fds->second);
  return absl::OkStatus();
}

// The sandbox's threads inherit it, and its programs see as many CPUs.
absl::Status RestrictCpus(uint32_t cpus) {
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof(usable), &usable) != 0) {
    return absl::ErrnoToStatus(errno, "sched_getaffinity");
  }
  const auto available = static_cast<uint32_t>(CPU_COUNT(&usable));
  if (cpus > available) {
    return absl::InvalidArgumentError(
        absl::StrCat("--cpus=", cpus, ": only ", available, " CPUs can be used here"));
  }
  for (int cpu = CPU_SETSIZE - 1; CPU_COUNT(&usable) > static_cast<int>(cpus); --cpu) {
    CPU_CLR(cpu, &usable);
  }
  if (sched_setaffinity(0, sizeof(usable), &usable) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "sched_setaffinity");
}

absl::StatusOr<Plumbing> Prepare(const DoCommand& command, uint32_t closed_streams) {
  Plumbing out;
  if (command.cpus != 0) {
    const absl::Status restricted = RestrictCpus(command.cpus);
    if (!restricted.ok()) return restricted;
  }
  absl::StatusOr<UniqueFd> kvm = OpenKvm();
  if (!kvm.ok()) return kvm.status();
  out.kvm = std::move(*kvm);
  const absl::Status log = OpenOutput("log", command.debug_log, O_APPEND, &out.log);
  if (!log.ok()) return log;
  const absl::Status stats = OpenOutput("statistics file", command.stats, O_TRUNC, &out.stats);
  if (!stats.ok()) return stats;
  absl::StatusOr<SandboxTrees> trees = OpenTrees(command);
  if (!trees.ok()) return trees.status();
  out.trees = std::move(trees->trees);
  absl::StatusOr<UniqueFd> spec =
      WriteSpec({.args = command.command,
                 .env = MergeEnvironment(CallersEnvironment(), command.env),
                 .cwd = command.cwd.value_or(CallersDirectory()),
                 .cwd_required = command.cwd.has_value(),
                 .exitless = command.exitless,
                 .memory_bytes = command.memory_bytes,
                 .strace = command.strace,
                 .uid = getuid(),
                 .gid = getgid(),
                 .groups = CallersGroups(),
                 .ignored_signals = CallersIgnoredSignals(),
                 .volumes = std::move(trees->volumes),
                 .overlay = command.overlay.kind,
                 .closed_streams = closed_streams,
                 .terminal = command.terminal ? std::optional<TerminalSpec>(CallersTerminal())
                                              : std::nullopt});
  if (!spec.ok()) return spec.status();
  out.spec = std::move(*spec);
  absl::StatusOr<UniqueFd> inert = MakeInertFile();
  if (!inert.ok()) return inert.status();
  out.inert = std::move(*inert);
  if (command.terminal) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return absl::ErrnoToStatus(errno, "socketpair");
    }
    out.sentry_terminal.Reset(ends[0]);
    out.our_terminal.Reset(ends[1]);
  }
  const absl::Status connected = Connect(&out);
  if (!connected.ok()) return connected;
  return out;
}

// `maps`: of a child with namespaces of its own.
absl::StatusOr<Child> Start(ChildOptions options, const IdMaps& maps) {
  auto control = ControlSocket::MakePair();
  if (!control.ok()) return control.status();
  options.fds.push_back({"control", control->second.fd()});
  const absl::StatusOr<pid_t> pid = SpawnSelf(options);
  if (!pid.ok()) return pid.status();
  if (options.own_namespaces) {
    const absl::Status mapped = WriteIdMaps(*pid, maps);
    if (!mapped.ok()) return mapped;
    (void)control->first.Send({.kind = MessageKind::kMapped, .text = {}});
  }
  return Child{.pid = *pid, .control = std::move(control->first)};
}

struct Confinement {
  bool wanted;
  bool reports_calls;
  Caller caller;
};

absl::StatusOr<Child> StartGofer(const Plumbing& p, const Confinement& confinement) {
  const int none = p.inert.get();
  std::vector<InheritedFd> fds = NameTrees(p.trees);
  fds.push_back({"rpc", p.gofer_rpc.get()});
  fds.push_back({"fds", p.gofer_fds.get()});
  return Start({.role = kGoferRole,
                .fds = std::move(fds),
                .standard_streams = {none, none, none},
                .own_namespaces = confinement.wanted,
                .capabilities = GoferStartCapabilities(confinement.caller.may_map_any),
                .reports_calls = confinement.reports_calls},
               GoferIdMaps(confinement.caller));
}

absl::StatusOr<Child> StartSentry(const Plumbing& p, const Confinement& confinement,
                                  uint32_t closed_streams) {
  ChildOptions options = {.role = kSentryRole,
                          .fds = {{"spec", p.spec.get()},
                                  {"kvm", p.kvm.get()},
                                  {"rpc", p.sentry_rpc.get()},
                                  {"fds", p.sentry_fds.get()}},
                          .own_namespaces = confinement.wanted,
                          .capabilities = SentryStartCapabilities(),
                          .reports_calls = confinement.reports_calls};
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    if ((closed_streams >> stream & 1) != 0) options.standard_streams[stream] = p.inert.get();
  }
  if (p.sentry_terminal.valid()) {
    options.fds.push_back({"terminal", p.sentry_terminal.get()});
    options.standard_streams[STDIN_FILENO] = options.standard_streams[STDOUT_FILENO] =
        p.inert.get();
  }
  if (p.log.valid()) options.fds.push_back({"log", p.log.get()});
  if (p.stats.valid()) options.fds.push_back({"stats", p.stats.get()});
  return Start(std::move(options), SentryIdMaps(confinement.caller));
}

// What `ringfence debug` lists: the pid of the CLI and the command.
std::string Title(const DoCommand& command) {
  constexpr size_t kMaxTitle = 500;
  std::string title = absl::StrCat(getpid(), "\t");
  for (const std::string& word : command.command) {
    if (word.data() != command.command[0].data()) title += ' ';
    title += word.substr(0, kMaxTitle);
    if (title.size() > kMaxTitle) break;
  }
  return OneLine(title.substr(0, kMaxTitle));
}

int Fail(const absl::Status& status) {
  Say(std::string(status.message()));
  return kFailureStatus;
}

}  // namespace

int RunDo(const DoCommand& command, uint32_t closed_streams) {
  absl::StatusOr<Plumbing> plumbing = Prepare(command, closed_streams);
  if (!plumbing.ok()) return Fail(plumbing.status());
  absl::StatusOr<UniqueFd> signals = CatchForwardedSignals();
  if (!signals.ok()) return Fail(signals.status());
  absl::StatusOr<Caller> caller = ReadCaller();
  if (!caller.ok()) return Fail(caller.status());
  const Confinement confinement = {.wanted = !command.debug_unconfined,
                                   .reports_calls = command.debug_log.has_value(),
                                   .caller = *std::move(caller)};
  if (command.debug_unconfined) Say(kUnconfinedWarning);
  // The sentry first: it has more to do before it needs the gofer.
  absl::StatusOr<Child> sentry = StartSentry(*plumbing, confinement, closed_streams);
  if (!sentry.ok()) return Fail(sentry.status());
  absl::StatusOr<Child> gofer = StartGofer(*plumbing, confinement);
  if (!gofer.ok()) {
    // Nobody to supervise it with: it ends with us.
    return Fail(gofer.status());
  }
  std::optional<TerminalRelay> relay;
  if (command.terminal) {
    relay.emplace(std::move(plumbing->our_terminal));
    relay->Start();
  } else {
    // Whoever reads the program's output sees its end when the program closes it, not when we end.
    dup2(plumbing->inert.get(), STDIN_FILENO);
    dup2(plumbing->inert.get(), STDOUT_FILENO);
  }
  // Our copies would keep the channels open when one side has died.
  plumbing = absl::CancelledError();
  const std::string id = SandboxId(getpid());
  LogFile log(DefaultLogPath(), id);
  DebugServer debug(Title(command));
  const absl::Status listening = debug.Listen(RunDirectory(), id);
  if (!listening.ok()) {
    log.Write(absl::StrCat("ringfence debug will not find it: ", listening.message()));
  }
  Supervisor supervisor(
      std::move(*signals), std::move(*sentry), std::move(*gofer), Say,
      {.relay = relay.has_value() ? &*relay : nullptr, .debug = &debug, .log = &log});
  return supervisor.Run();
}

}  // namespace ringfence::runtime
