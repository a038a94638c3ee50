#include "sentry/boot/streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "sentry/fs/dev/dev.h"

namespace ringfence::sentry {
namespace {

// The device number of a terminal; nothing for other descriptors.
std::optional<uint64_t> TerminalDevice(const UniqueFd& fd) {
  struct stat st;
  if (!fd.valid() || isatty(fd.get()) == 0 || fstat(fd.get(), &st) != 0) return std::nullopt;
  return st.st_rdev;
}

// /dev/tty: another description of the terminal, for callers whose terminal it is.
DeviceRegistry::Factory TtyOpener(UniqueFd fd, HostFileOptions options) {
  auto shared = std::make_shared<const UniqueFd>(std::move(fd));
  return [shared, options](const CallContext& ctx, uint32_t) -> Result<FileRef> {
    TRY(ctx.RequireBlocking());
    if (!options.job_control->GetSession(ctx).ok()) return Errno::kNXIO;
    UniqueFd copy(fcntl(shared->get(), F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) return LastHostErrno();
    return MakeHostFile(std::move(copy), options);
  };
}

}  // namespace

absl::StatusOr<StandardStreams> StandardStreams::Make(Kernel& kernel, DeviceRegistry& devices,
                                                      std::array<UniqueFd, 3> streams) {
  auto notifier = Notifier::Create();
  if (!notifier.ok()) return notifier.status();
  HostFileOptions options;
  options.notifier = std::move(*notifier);
  options.chunks = std::make_shared<ChunkCache>(&kernel.platform().memory());

  StandardStreams out;
  out.fds_ = std::make_shared<FdTable>();
  std::optional<uint64_t> terminal;
  for (int number = 0; number < 3; ++number) {
    UniqueFd& stream = streams[number];
    if (!stream.valid()) continue;
    const std::optional<uint64_t> device = TerminalDevice(stream);
    if (device.has_value() && !terminal.has_value()) {
      terminal = device;
      out.terminal_ = kernel.NewTerminal(*device);
      UniqueFd copy(fcntl(stream.get(), F_DUPFD_CLOEXEC, 0));
      if (!copy.valid()) return absl::ErrnoToStatus(errno, "the terminal");
      HostFileOptions tty = options;
      tty.job_control = out.terminal_;
      RegisterTty(devices, TtyOpener(std::move(copy), std::move(tty)));
    }
    HostFileOptions own = options;
    if (device.has_value() && device == terminal) own.job_control = out.terminal_;
    Result<FileRef> file = MakeHostFile(std::move(stream), std::move(own));
    if (!file.ok()) {
      return absl::ErrnoToStatus(static_cast<int>(file.error()), "standard streams");
    }
    constexpr uint32_t kLimit = 3;
    const Result<void> installed =
        out.fds_->InstallAt(Fd{number}, std::move(file).value(), /*cloexec=*/false, kLimit);
    if (!installed.ok()) {
      return absl::ErrnoToStatus(static_cast<int>(installed.error()), "standard streams");
    }
  }
  return out;
}

}  // namespace ringfence::sentry
