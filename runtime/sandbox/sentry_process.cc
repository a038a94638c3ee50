#include "runtime/sandbox/sentry_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/client/grpc_client.h"
#include "platform/base/log.h"
#include "platform/kvm/kvm_platform.h"
#include "platform/mem/host_paging.h"
#include "runtime/confine/calls.h"
#include "runtime/confine/filter.h"
#include "runtime/control/wire.h"
#include "runtime/sandbox/confine.h"
#include "runtime/sandbox/spec.h"
#include "runtime/sandbox/statistics.h"
#include "runtime/sandbox/supervisor.h"
#include "sentry/boot/boot.h"

namespace ringfence::runtime {
namespace {

constexpr int kCommandNotFound = 127;
constexpr int kCommandNotExecutable = 126;
constexpr uint32_t kMaxSignal = 64;

// A failure and the exit status the CLI answers it with.
struct Failure {
  std::string text;
  int exit_status = kFailureStatus;
};

Failure HostFailure(const absl::Status& status) { return {.text = std::string(status.message())}; }

// Boot's errors say by their code whether the command is at fault.
Failure BootFailure(const absl::Status& status) {
  Failure failure = HostFailure(status);
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      failure.exit_status = kCommandNotFound;
      break;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition:
      failure.exit_status = kCommandNotExecutable;
      break;
    default:
      break;
  }
  return failure;
}

uint32_t UsableCpus() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? static_cast<uint32_t>(CPU_COUNT(&set)) : 1;
}

// Writes whole lines to a descriptor it shares. Threads: any, since a line is one write.
class LineWriter {
 public:
  explicit LineWriter(UniqueFd fd) : fd_(std::make_shared<UniqueFd>(std::move(fd))) {}
  void operator()(std::string_view line) const {
    std::string text(line);
    text += '\n';
    // A full or lost log must not stop the program.
    (void)!write(fd_->get(), text.data(), text.size());
  }

 private:
  std::shared_ptr<UniqueFd> fd_;
};

// For the platform's log, whose function has no other way to know: the one of this process.
ControlSocket* log_control = nullptr;

class SentryProcess {
 public:
  explicit SentryProcess(ChildArguments arguments)
      : arguments_(std::move(arguments)), control_(arguments_.Take("control")) {}

  [[noreturn]] void Run() {
    Failure failure;
    if (!Start(&failure)) {
      (void)control_.Send({.kind = MessageKind::kFailed,
                           .value = failure.exit_status,
                           .text = std::move(failure.text)});
      _exit(kFailureStatus);
    }
    (void)control_.Send({.kind = MessageKind::kStarted, .text = {}});
    std::thread([this] { ServeControl(); }).detach();
    const int status = sandbox_->WaitForInit();
    WriteStatistics();
    (void)control_.Send({.kind = MessageKind::kFinished, .value = status, .text = {}});
    // Nothing is torn down by hand: the host frees a process faster.
    _exit(0);
  }

 private:
  bool Start(Failure* failure) {
    // The program's broken pipes are EPIPE for us and SIGPIPE for it alone.
    signal(SIGPIPE, SIG_IGN);
    WarmUpLibraries();
    paging_ = platform::GetHostPaging();
    const absl::Status confined = ConfineSentry(arguments_, &control_);
    if (!confined.ok()) return Fail(failure, HostFailure(confined));
    const UniqueFd spec_fd = arguments_.Take("spec");
    absl::StatusOr<SandboxSpec> spec = ReadSpec(spec_fd);
    if (!spec.ok()) return Fail(failure, HostFailure(spec.status()));
    UniqueFd log = arguments_.Take("log");
    SendPlatformLogTo(log);
    const absl::Status made = MakePlatform(*spec);
    if (!made.ok()) return Fail(failure, HostFailure(made));
    stats_ = arguments_.Take("stats");
    absl::StatusOr<std::array<UniqueFd, 3>> streams = TakeStreams(*spec, spec_fd, log.valid());
    if (!streams.ok()) return Fail(failure, HostFailure(streams.status()));
    const absl::Status booted = Boot(std::move(*spec), std::move(*streams), std::move(log));
    return booted.ok() || Fail(failure, BootFailure(booted));
  }

  static bool Fail(Failure* out, Failure failure) {
    *out = std::move(failure);
    return false;
  }

  // What the platform has to say: to the --debug-log, else to the CLI, which has the default log.
  void SendPlatformLogTo(const UniqueFd& log) {
    if (log.valid()) return SetLogFd(log.get(), kWarning);
    log_control = &control_;
    SetLogFunction(
        [](std::string_view line) {
          line.remove_suffix(1);  // the line feed
          (void)log_control->TrySend({.kind = MessageKind::kLog, .text = std::string(line)});
        },
        kWarning);
  }

  absl::Status MakePlatform(const SandboxSpec& spec) {
    const UniqueFd kvm = arguments_.Take("kvm");
    platform::KvmOptions options;
    options.exitless = spec.exitless;
    options.kvm_fd = kvm.get();
    options.paging = paging_;
    if (spec.memory_bytes != 0) options.guest_memory_bytes = spec.memory_bytes;
    memory_bytes_ = options.guest_memory_bytes;
    auto made = platform::CreateKvmPlatform(options);
    if (!made.ok()) return made.status();
    platform_ = std::move(*made);
    return absl::OkStatus();
  }

  // The program's standard streams, which become the sandbox's alone: when the program closes one,
  // nobody here keeps it open. Standard error stays for --strace and for a crash of this process.
  static absl::StatusOr<std::array<UniqueFd, 3>> TakeStreams(const SandboxSpec& spec,
                                                             const UniqueFd& stand_in,
                                                             bool has_log) {
    std::array<UniqueFd, 3> streams;
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
      if ((spec.closed_streams >> stream & 1) != 0 || spec.terminal.has_value()) continue;
      streams[stream].Reset(fcntl(stream, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
      if (!streams[stream].valid()) return absl::ErrnoToStatus(errno, "standard streams");
      const bool needed = stream == STDERR_FILENO && !has_log;
      if (!needed) dup2(stand_in.get(), stream);
    }
    return streams;
  }

  // The numbers of the trees: see trees.h.
  static void SetFiles(SandboxSpec* spec, sentry::BootConfig* config) {
    using Upper = sentry::RootLayers::Upper;
    uint32_t tree = 0;
    for (VolumeSpec& volume : spec->volumes) {
      config->volumes.push_back({.tree = ++tree,
                                 .source = std::move(volume.source),
                                 .destination = std::move(volume.destination),
                                 .read_only = volume.read_only});
    }
    if (spec->overlay == OverlayFlag::Kind::kNone) config->root.kind = Upper::kDirect;
    if (spec->overlay != OverlayFlag::Kind::kDirectory) return;
    config->root.kind = Upper::kGofer;
    config->root.tree = ++tree;
  }

  absl::Status Boot(SandboxSpec spec, std::array<UniqueFd, 3> streams, UniqueFd log_fd) {
    const bool has_log = log_fd.valid();
    const LineWriter lines(has_log ? std::move(log_fd) : UniqueFd(STDERR_FILENO));
    // The CLI has the default log. A line that it has no room for is lost: nothing waits for a log.
    std::function<void(std::string_view)> log = [this](std::string_view line) {
      (void)control_.TrySend({.kind = MessageKind::kLog, .text = std::string(line)});
    };
    if (has_log) log = lines;
    gofer_ = gofer::NewGrpcClient(arguments_.Take("rpc"), arguments_.Take("fds"), log);
    sentry::BootConfig config;
    config.platform = platform_.get();
    config.gofer = gofer_.get();
    config.argv = std::move(spec.args);
    config.envp = std::move(spec.env);
    config.cwd = std::move(spec.cwd);
    config.cwd_required = spec.cwd_required;
    SetFiles(&spec, &config);
    config.streams = std::move(streams);
    if (spec.terminal.has_value()) {
      config.console = {.socket = arguments_.Take("terminal"),
                        .termios = spec.terminal->settings,
                        .size = spec.terminal->size};
    }
    config.memory_bytes = memory_bytes_;
    config.cpus = UsableCpus();
    config.uid = spec.uid;
    config.gid = spec.gid;
    config.groups = std::move(spec.groups);
    config.ignored_signals = spec.ignored_signals;
    config.umask = umask(0);
    config.exitless = spec.exitless != platform::ExitlessMode::kOff;
    if (spec.strace) config.trace = lines;
    config.stopped = [this] {
      (void)control_.TrySend({.kind = MessageKind::kStopped, .text = {}});
    };
    config.log = log;
    // Before the first byte of a file that others made is looked at.
    if (arguments_.confined()) {
      absl::Status filtered = FilterCalls(
          {.process = kSentryRole, .calls = SentryCalls(), .report = arguments_.reports_calls()},
          &control_);
      if (!filtered.ok()) return filtered;
    }
    auto booted = sentry::Boot(std::move(config));
    if (!booted.ok()) return booted.status();
    sandbox_ = std::move(*booted);
    return absl::OkStatus();
  }

  void WriteStatistics() {
    if (!stats_.valid()) return;
    const std::string text = StatisticsJson({.system_calls = sandbox_->SystemCalls(),
                                             .gofer_calls = gofer_->RoundTrips(),
                                             .platform = platform_->GetCounters(),
                                             .memory = platform_->memory().GetStats()});
    (void)!write(stats_.get(), text.data(), text.size());
  }

  void Serve(const Message& message) {
    const uint32_t value = static_cast<uint32_t>(message.value);
    switch (message.kind) {
      case MessageKind::kSignal:
        if (value > 0 && value <= kMaxSignal) sandbox_->Signal(message.value);
        break;
      case MessageKind::kResize:
        sandbox_->Resize(
            {.rows = static_cast<uint16_t>(value >> 16), .columns = static_cast<uint16_t>(value)});
        break;
      case MessageKind::kHangUp:
        sandbox_->HangUp();
        break;
      case MessageKind::kReport:
        sandbox_->Report([this](std::string_view line) {
          (void)control_.Send({.kind = MessageKind::kReportLine, .text = std::string(line)});
        });
        (void)control_.Send({.kind = MessageKind::kReportEnd, .text = {}});
        break;
      default:
        break;
    }
  }

  void ServeControl() {
    while (const std::optional<Message> message = control_.Receive()) {
      Serve(*message);
    }
    // The CLI is gone, and with it whoever wanted the program to run.
    _exit(kFailureStatus);
  }

  ChildArguments arguments_;
  ControlSocket control_;
  std::unique_ptr<platform::Platform> platform_;
  std::unique_ptr<gofer::Client> gofer_;
  std::unique_ptr<sentry::Sandbox> sandbox_;
  platform::HostPaging paging_ = platform::HostPaging::kShadow;
  uint64_t memory_bytes_ = 0;
  UniqueFd stats_;
};

}  // namespace

void RunSentryProcess(ChildArguments arguments) {
  static auto* const process = new SentryProcess(std::move(arguments));
  process->Run();
}

}  // namespace ringfence::runtime
