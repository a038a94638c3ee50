#include "sentry/boot/streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/status/status.h"

namespace ringfence::sentry {
namespace {

// The device number of a terminal; nothing for other descriptors.
std::optional<uint64_t> TerminalDevice(const UniqueFd& fd) {
  struct stat st;
  if (!fd.valid() || isatty(fd.get()) == 0 || fstat(fd.get(), &st) != 0) return std::nullopt;
  return st.st_rdev;
}

}  // namespace

Result<FileRef> StandardStreams::OpenTerminal(const CallContext& ctx) const {
  if (terminal_ == nullptr) return Errno::kNXIO;
  TRY(ctx.RequireBlocking());
  UniqueFd copy(fcntl(terminal_fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return LastHostErrno();
  return MakeHostFile(std::move(copy), terminal_options_);
}

absl::StatusOr<StandardStreams> StandardStreams::Make(Kernel& kernel,
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
      out.terminal_fd_.Reset(fcntl(stream.get(), F_DUPFD_CLOEXEC, 0));
      if (!out.terminal_fd_.valid()) return absl::ErrnoToStatus(errno, "the terminal");
      out.terminal_options_ = options;
      out.terminal_options_.job_control = out.terminal_;
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
