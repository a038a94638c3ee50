#include "sentry/boot/terminals.h"

#include <fcntl.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/dev/dev.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

absl::Status StreamError(Errno error) {
  return absl::ErrnoToStatus(static_cast<int>(error), "the terminal of the program");
}

}  // namespace

Terminals::Terminals(Kernel* kernel)
    : kernel_(kernel),
      devpts_(Devpts::Create(
          {.new_job_control = [kernel](uint64_t device) { return kernel->NewTerminal(device); },
           .timers = &kernel->timers()})) {}

void Terminals::Register(DeviceRegistry& devices) {
  TerminalDevices terminals;
  terminals.tty = [this](const CallContext& ctx, uint32_t flags) { return OpenTty(ctx, flags); };
  terminals.console = [this](const CallContext& ctx, uint32_t flags) {
    return OpenConsole(ctx, flags);
  };
  terminals.ptmx = [this](const CallContext& ctx, uint32_t flags) {
    return devpts_->OpenPtmx(ctx, flags);
  };
  RegisterTerminals(devices, std::move(terminals));
}

absl::Status Terminals::UseStreams(std::array<UniqueFd, 3> streams) {
  absl::StatusOr<StandardStreams> made = StandardStreams::Make(*kernel_, std::move(streams));
  if (!made.ok()) return made.status();
  streams_ = std::move(*made);
  fds_ = streams_->fds();
  return absl::OkStatus();
}

absl::Status Terminals::UseConsole(const CallContext& ctx, const FsContext& fs, UniqueFd socket,
                                   const Termios& settings, const WindowSize& size) {
  Result<TerminalRef> terminal = devpts_->NewTerminal(*ctx.creds, settings, size);
  if (!terminal.ok()) return StreamError(terminal.error());
  terminal_ = std::move(terminal).value();
  terminal_->SetLocked(false);
  Result<FileRef> file = OpenProgramSide(ctx, fs);
  if (!file.ok()) return StreamError(file.error());
  fds_ = std::make_shared<FdTable>();
  constexpr uint32_t kStreams = 3;
  for (uint32_t i = 0; i < kStreams; ++i) {
    const Result<Fd> installed = fds_->Install(*file, /*cloexec=*/false, kStreams);
    if (!installed.ok()) return StreamError(installed.error());
  }
  auto console = Console::Start(std::move(socket), terminal_);
  if (!console.ok()) return console.status();
  console_ = std::move(*console);
  return absl::OkStatus();
}

// By its name, so that programs find it (ttyname(3)); a root without /dev has none.
Result<FileRef> Terminals::OpenProgramSide(const CallContext& ctx, const FsContext& fs) {
  const uint32_t index = terminal_->index();
  const PathBase base{.fs = &fs, .start = nullptr};
  Result<FileRef> named =
      Vfs::Open(ctx, base, absl::StrCat("/dev/pts/", index), O_RDWR | O_NOCTTY, 0);
  if (named.ok()) return named;
  return devpts_->OpenControlling(ctx, terminal_->job_control(), O_RDWR);
}

JobControl* Terminals::controlling() const {
  if (terminal_ != nullptr) return terminal_->job_control();
  return streams_.has_value() ? streams_->terminal() : nullptr;
}

Result<FileRef> Terminals::OpenTty(const CallContext& ctx, uint32_t flags) {
  const JobControl* job = kernel_->ControllingTerminal(ctx);
  if (job == nullptr) return Errno::kNXIO;
  FileRef file = TRY(devpts_->OpenControlling(ctx, job, flags));
  if (file != nullptr) return file;
  if (!streams_.has_value() || job != streams_->terminal()) return Errno::kNXIO;
  return streams_->OpenTerminal(ctx);
}

Result<FileRef> Terminals::OpenConsole(const CallContext& ctx, uint32_t flags) {
  if (terminal_ != nullptr) return devpts_->OpenControlling(ctx, terminal_->job_control(), flags);
  if (!streams_.has_value() || streams_->terminal() == nullptr) return Errno::kNODEV;
  return streams_->OpenTerminal(ctx);
}

void Terminals::Resize(const WindowSize& size) {
  if (terminal_ != nullptr) terminal_->SetWindowSize(size);
}

void Terminals::HangUp() {
  if (terminal_ != nullptr) terminal_->HangUp();
}

void Terminals::Finish() {
  if (console_ != nullptr) console_->Finish();
}

}  // namespace ringfence::sentry
