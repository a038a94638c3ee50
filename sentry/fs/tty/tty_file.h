// The two sides of a Terminal as open files.
#ifndef RINGFENCE_SENTRY_FS_TTY_TTY_FILE_H_
#define RINGFENCE_SENTRY_FS_TTY_TTY_FILE_H_

#include <functional>
#include <string>
#include <utility>

#include "sentry/fs/tty/terminal.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

// A program's side: /dev/pts/N, /dev/tty.
class TtyFile final : public File {
 public:
  // EIO: locked, or nobody is at the other end. EBUSY: exclusive (TIOCEXCL).
  static Result<FileRef> Open(const CallContext& ctx, TerminalRef terminal, uint32_t flags);
  TtyFile(TerminalRef terminal, uint32_t flags) : File(flags), terminal_(std::move(terminal)) {}
  ~TtyFile() override { terminal_->CloseProgramSide(); }

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<int64_t> Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                        uint64_t arg) override;
  int64_t ReadTimeoutNs() override { return terminal_->ReadTimeoutNs(); }
  EventMask Poll() override { return terminal_->PollProgramSide(); }
  WaitQueue* wait_queue() override { return &terminal_->program_queue(); }
  bool IsTty() const override { return true; }
  Result<std::string> PeerPath() override { return Errno::kIO; }

 private:
  const TerminalRef terminal_;
};

// The side of keyboard and screen: what /dev/ptmx opens. The terminal is hung up with the last
// reference to it.
class PtmxFile final : public File {
 public:
  // `closed` is called once the terminal has been hung up.
  PtmxFile(TerminalRef terminal, uint32_t flags, std::function<void()> closed)
      : File(flags), terminal_(std::move(terminal)), closed_(std::move(closed)) {}
  ~PtmxFile() override;

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<int64_t> Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                        uint64_t arg) override;
  EventMask Poll() override { return terminal_->PollScreen(); }
  WaitQueue* wait_queue() override { return &terminal_->screen_queue(); }
  bool IsTty() const override { return true; }
  Result<std::string> PeerPath() override;

 private:
  const TerminalRef terminal_;
  const std::function<void()> closed_;
};

// ioctls that mean the same on both sides (tty_ioctl(4)); ENOTTY for those nobody knows. `own`: the
// caller uses the program's side, and is stopped (SIGTTOU) where it changes the terminal from the
// background.
Result<int64_t> TerminalIoctl(const CallContext& ctx, MemoryManager& mm, Terminal& terminal,
                              uint32_t command, uint64_t arg, bool own);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TTY_TTY_FILE_H_
