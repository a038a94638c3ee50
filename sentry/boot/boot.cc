#include "sentry/boot/boot.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "sentry/boot/command.h"
#include "sentry/boot/mount_tree.h"
#include "sentry/boot/process_source.h"
#include "sentry/boot/task_report.h"
#include "sentry/boot/terminals.h"
#include "sentry/fs/dev/dev.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/sysv_shm.h"
#include "sentry/net/unix/domain.h"
#include "sentry/syscalls/dispatcher.h"

namespace ringfence::sentry {
namespace {

// What a terminal sends to its foreground process group.
constexpr SigSet kFromTerminal =
    SigSet::Make(SigNo::kInt, SigNo::kQuit, SigNo::kTstp, SigNo::kWinch);

CredentialsRef MakeCredentials(const BootConfig& config) {
  auto creds = std::make_shared<Credentials>();
  creds->ruid = creds->euid = creds->suid = creds->fsuid = config.uid;
  creds->rgid = creds->egid = creds->sgid = creds->fsgid = config.gid;
  creds->groups = config.groups;
  if (config.uid != 0) creds->permitted = creds->effective = 0;
  return creds;
}

// A task costs the sentry memory of its own, next to the guest's: as many as Linux would have with
// half of the memory (threads-max), within what one process of the host can have of threads.
uint32_t MaxTasks(uint64_t memory_bytes) {
  constexpr uint64_t kBytesPerTask = 256 << 10;
  return static_cast<uint32_t>(std::clamp<uint64_t>(memory_bytes / kBytesPerTask, 64, 4096));
}

Kernel::Options KernelOptions(const BootConfig& config, TableDispatcher* dispatcher,
                              const Vdso* vdso) {
  Kernel::Options options;
  options.platform = config.platform;
  options.dispatcher = dispatcher;
  options.hostname = config.hostname;
  options.max_tasks = MaxTasks(config.memory_bytes);
  options.cpus = config.cpus;
  options.vdso = vdso;
  options.exitless = config.exitless;
  options.trace = config.trace != nullptr;
  options.protect_init = false;
  options.init_stopped = config.stopped;
  options.log = config.log;
  return options;
}

// Members are in the order in which they need each other.
class KernelSandbox final : public Sandbox {
 public:
  KernelSandbox(const BootConfig& config, std::unique_ptr<Vdso> vdso)
      : vdso_(std::move(vdso)),
        dispatcher_({.services = {}, .trace = config.trace, .log = config.log}),
        kernel_(KernelOptions(config, &dispatcher_, vdso_.get())),
        processes_(&kernel_, config.memory_bytes, config.cpus),
        terminals_(&kernel_),
        mount_tree_({.memory = &config.platform->memory(),
                     .gofer = config.gofer,
                     .devices = &devices_,
                     .processes = &processes_,
                     .devpts = terminals_.devpts(),
                     .memory_bytes = config.memory_bytes,
                     .log = config.log,
                     .root = config.root,
                     .volumes = config.volumes,
                     .caller_ends = [this](const CallContext& ctx) {
                       const TaskRef task = kernel_.FindTask(ctx.tid);
                       return task != nullptr && task->MustExit();
                     }}) {}

  absl::Status Start(BootConfig config) {
    RegisterMemoryDevices(devices_, &config.platform->memory());
    absl::StatusOr<std::shared_ptr<MountNamespace>> mounts = mount_tree_.Make();
    if (!mounts.ok()) return mounts.status();
    mounts_ = std::move(*mounts);
    processes_.SetMounts(mounts_);
    processes_.SetUnixDomain(unix_domain_);
    SyscallServices services = MakeServices(config);
    processes_.SetSegments(services.segments);
    dispatcher_.SetServices(std::move(services));

    InitArgs init;
    init.creds = MakeCredentials(config);
    init.ignored = SigSet{config.ignored_signals} & ~kUnblockableSignals;
    init.fs = std::make_shared<FsContext>(mounts_->root(), mounts_->root(), config.umask);
    const CallContext ctx{.creds = init.creds};
    absl::Status entered = EnterDirectory(ctx, config, init.fs.get());
    if (!entered.ok()) return entered;
    terminals_.Register(devices_);
    absl::Status streams = config.console.has_value()
                               ? UseConsole(ctx, *init.fs, std::move(*config.console))
                               : terminals_.UseStreams(std::move(config.streams));
    if (!streams.ok()) return streams;
    init.fds = terminals_.fds();
    init.terminal = terminals_.controlling();
    init.has_shell = init.terminal != nullptr && !terminals_.has_console();
    return StartCommand(ctx, std::move(config), std::move(init));
  }

  int WaitForInit() override {
    const int status = kernel_.WaitForInit();
    terminals_.Finish();
    return status;
  }

  void Signal(int signal_number) override {
    const SigNo sig = static_cast<SigNo>(signal_number);
    if (!IsValid(sig)) return;
    if (kFromTerminal.Has(sig)) {
      kernel_.SignalForeground(sig);
    } else {
      kernel_.SendExternalSignal(sig);
    }
  }

  void Resize(const WindowSize& size) override { terminals_.Resize(size); }
  void HangUp() override { terminals_.HangUp(); }

  void Kill() override { kernel_.Kill(); }

  void Report(const std::function<void(std::string_view)>& line) const override {
    ReportTasks(kernel_, line);
  }

  uint64_t SystemCalls() const override {
    uint64_t calls = dispatcher_.unknown_calls();
    for (const TableDispatcher::Count& count : dispatcher_.Counts()) calls += count.calls;
    return calls;
  }

 private:
  absl::Status UseConsole(const CallContext& ctx, const FsContext& fs, ConsoleConfig console) {
    return terminals_.UseConsole(ctx, fs, std::move(console.socket), console.termios, console.size);
  }

  SyscallServices MakeServices(const BootConfig& config) {
    SyscallServices services;
    Tmpfs::Options memfds;
    memfds.memory = &config.platform->memory();
    services.memfds = Tmpfs::Create(memfds);
    services.mounts = mounts_;
    services.unix_domain = unix_domain_;
    services.segments =
        std::make_shared<SharedSegments>(&config.platform->memory(), AllocateDeviceId());
    services.memory_bytes = config.memory_bytes;
    services.cpus = config.cpus;
    services.make_file_system = [this](const CallContext& ctx, std::string_view type,
                                       std::string_view data) {
      return mount_tree_.MakeFileSystem(ctx, type, data);
    };
    return services;
  }

  static absl::Status EnterDirectory(const CallContext& ctx, const BootConfig& config,
                                     FsContext* fs) {
    const PathBase base{.fs = fs, .start = nullptr};
    ResolveFlags flags;
    flags.want_directory = true;
    const Result<DentryRef> directory = Vfs::Resolve(ctx, base, config.cwd, flags);
    if (directory.ok()) {
      fs->SetCwd(*directory);
      return absl::OkStatus();
    }
    if (!config.cwd_required) return absl::OkStatus();
    return absl::InvalidArgumentError(std::string("working directory ") + config.cwd + ": " +
                                      strerror(static_cast<int>(directory.error())));
  }

  absl::Status StartCommand(const CallContext& ctx, BootConfig config, InitArgs init) {
    const std::string name = config.argv.empty() ? std::string() : config.argv[0];
    absl::StatusOr<Command> command = FindCommand(ctx, *init.fs, name, config.envp);
    if (!command.ok()) return command.status();
    init.exec.file = std::move(command->file);
    init.exec.path = std::move(command->path);
    init.exec.argv = std::move(config.argv);
    init.exec.envp = std::move(config.envp);
    const Result<TaskRef> started = kernel_.CreateInit(init);
    return started.ok() ? absl::OkStatus() : CommandError(name, started.error());
  }

  const std::shared_ptr<UnixDomain> unix_domain_ = std::make_shared<UnixDomain>();
  DeviceRegistry devices_;
  const std::unique_ptr<Vdso> vdso_;
  TableDispatcher dispatcher_;
  Kernel kernel_;
  ProcessSource processes_;
  Terminals terminals_;
  MountTree mount_tree_;
  std::shared_ptr<MountNamespace> mounts_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sandbox>> Boot(BootConfig config) {
  Result<std::unique_ptr<Vdso>> vdso = Vdso::Create(config.platform);
  if (!vdso.ok()) return absl::ResourceExhaustedError("no memory for the vDSO");
  auto sandbox = std::make_unique<KernelSandbox>(config, std::move(vdso).value());
  const absl::Status started = sandbox->Start(std::move(config));
  if (!started.ok()) return started;
  return sandbox;
}

}  // namespace ringfence::sentry
