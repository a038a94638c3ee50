// Terminals of a sandbox: the standard streams of init, its controlling terminal, /dev/tty,
// /dev/console, /dev/ptmx and devpts.
//
// Threads: Resize and HangUp any; all else that of boot.
#ifndef RINGFENCE_SENTRY_BOOT_TERMINALS_H_
#define RINGFENCE_SENTRY_BOOT_TERMINALS_H_

#include <array>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"
#include "sentry/boot/console.h"
#include "sentry/boot/streams.h"
#include "sentry/fs/tty/devpts.h"
#include "sentry/kernel/kernel.h"
#include "sentry/vfs/device_registry.h"
#include "sentry/vfs/fd_table.h"

namespace ringfence::sentry {

class Terminals {
 public:
  explicit Terminals(Kernel* kernel);  // outlives it

  const std::shared_ptr<Devpts>& devpts() const { return devpts_; }
  // The devices tty, console and ptmx.
  void Register(DeviceRegistry& devices);

  // One of these, before init starts. Init's streams are descriptors of the host, or a new
  // pseudo-terminal (opened as /dev/pts/N where `fs` has that).
  absl::Status UseStreams(std::array<UniqueFd, 3> streams);
  absl::Status UseConsole(const CallContext& ctx, const FsContext& fs, UniqueFd socket,
                          const Termios& settings, const WindowSize& size);

  const std::shared_ptr<FdTable>& fds() const { return fds_; }
  JobControl* controlling() const;  // init's; null: none
  bool has_console() const { return console_ != nullptr; }

  void Resize(const WindowSize& size);
  void HangUp();
  // Nothing runs any more: what was shown goes to the console's other end.
  void Finish();

 private:
  Result<FileRef> OpenTty(const CallContext& ctx, uint32_t flags);
  Result<FileRef> OpenConsole(const CallContext& ctx, uint32_t flags);
  Result<FileRef> OpenProgramSide(const CallContext& ctx, const FsContext& fs);

  Kernel* const kernel_;
  const std::shared_ptr<Devpts> devpts_;
  std::shared_ptr<FdTable> fds_;
  std::optional<StandardStreams> streams_;
  TerminalRef terminal_;  // of the console
  std::unique_ptr<Console> console_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_TERMINALS_H_
