// ioctl(2) of terminals: tty_ioctl(4), pty(7).
#include <asm/ioctls.h>
#include <linux/tty.h>
#include <sys/sysmacros.h>

#include "sentry/fs/tty/devpts.h"
#include "sentry/fs/tty/tty_file.h"
#include "sentry/mm/guest_ptr.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21;

Result<int64_t> StoreInt(MemoryManager& mm, uint64_t arg, int64_t value) {
  TRY(GuestOut<int32_t>(arg).Store(mm, static_cast<int32_t>(value)));
  return int64_t{0};
}

Result<void> CheckChange(const CallContext& ctx, const Terminal& terminal, bool own) {
  if (!own || terminal.job_control() == nullptr) return Ok();
  return terminal.job_control()->CheckUse(ctx, JobControl::Use::kControl);
}

// A short form keeps the speeds that its c_cflag says.
Result<int64_t> SetTermios(const CallContext& ctx, MemoryManager& mm, Terminal& terminal,
                           uint32_t command, uint64_t arg, bool own) {
  Termios settings;
  if (command == TCSETS || command == TCSETSW || command == TCSETSF) {
    settings = FromShort(TRY(GuestIn<ShortTermios>(arg).Load(mm)));
  } else {
    settings = TRY(GuestIn<Termios>(arg).Load(mm));
    if (const uint32_t baud = BaudOf(settings.c_cflag); baud != 0) settings.c_ospeed = baud;
    if (settings.c_ispeed == 0) settings.c_ispeed = settings.c_ospeed;
  }
  TRY(CheckChange(ctx, terminal, own));
  terminal.SetTermios(settings, command == TCSETSF || command == TCSETSF2);
  return int64_t{0};
}

Result<int64_t> Flush(Terminal& terminal, uint64_t queue) {
  switch (queue) {
    case TCIFLUSH:
      terminal.Flush(Terminal::Queue::kInput);
      return int64_t{0};
    case TCOFLUSH:
      terminal.Flush(Terminal::Queue::kOutput);
      return int64_t{0};
    case TCIOFLUSH:
      terminal.Flush(Terminal::Queue::kBoth);
      return int64_t{0};
    default:
      return Errno::kINVAL;
  }
}

Result<int64_t> SetFlow(Terminal& terminal, uint64_t action) {
  static constexpr Terminal::Flow kActions[] = {
      Terminal::Flow::kStopOutput, Terminal::Flow::kStartOutput, Terminal::Flow::kSendStop,
      Terminal::Flow::kSendStart};  // TCOOFF, TCOON, TCIOFF, TCION
  if (action >= std::size(kActions)) return Errno::kINVAL;
  terminal.SetFlow(kActions[action]);
  return int64_t{0};
}

Result<int64_t> SetLineDiscipline(MemoryManager& mm, uint64_t arg) {
  return TRY(GuestIn<int32_t>(arg).Load(mm)) == N_TTY ? Result<int64_t>(int64_t{0}) : Errno::kINVAL;
}

// Sessions and process groups, from the program's side.
Result<int64_t> JobIoctl(const CallContext& ctx, MemoryManager& mm, JobControl* job,
                         uint32_t command, uint64_t arg) {
  if (job == nullptr) return Errno::kNOTTY;
  switch (command) {
    case TIOCGPGRP:
      return StoreInt(mm, arg, TRY(job->GetForegroundGroup(ctx)));
    case TIOCGSID:
      return StoreInt(mm, arg, TRY(job->GetSession(ctx)));
    case TIOCSPGRP:
      TRY(job->SetForegroundGroup(ctx, TRY(GuestIn<int32_t>(arg).Load(mm))));
      return int64_t{0};
    case TIOCSCTTY:
      TRY(job->Acquire(ctx, static_cast<int32_t>(arg)));
      return int64_t{0};
    default:
      TRY(job->Release(ctx));
      return int64_t{0};
  }
}

// The same from the keyboard's side, which is nobody's controlling terminal but may look.
Result<int64_t> PeerJobIoctl(const CallContext& ctx, MemoryManager& mm, JobControl* job,
                             uint32_t command, uint64_t arg) {
  if (job == nullptr || command == TIOCNOTTY) return Errno::kNOTTY;
  if (command == TIOCGPGRP) return StoreInt(mm, arg, job->ForegroundId());
  if (command != TIOCGSID) return JobIoctl(ctx, mm, job, command, arg);
  const int32_t session = job->SessionId();
  if (session == 0) return Errno::kNOTTY;
  return StoreInt(mm, arg, session);
}

Result<int64_t> SendSignal(Terminal& terminal, uint64_t number) {
  const SigNo signal = static_cast<SigNo>(number);
  if (signal != SigNo::kInt && signal != SigNo::kQuit && signal != SigNo::kTstp) {
    return Errno::kINVAL;
  }
  if (terminal.job_control() != nullptr) terminal.job_control()->SignalForeground(signal);
  return int64_t{0};
}

bool IsJobCommand(uint32_t command) {
  return command == TIOCGPGRP || command == TIOCGSID || command == TIOCSPGRP ||
         command == TIOCSCTTY || command == TIOCNOTTY;
}

}  // namespace

Result<int64_t> TerminalIoctl(const CallContext& ctx, MemoryManager& mm, Terminal& terminal,
                              uint32_t command, uint64_t arg, bool own) {
  switch (command) {
    case TCGETS:
      TRY(GuestOut<ShortTermios>(arg).Store(mm, ToShort(terminal.termios())));
      return int64_t{0};
    case TCGETS2:
      TRY(GuestOut<Termios>(arg).Store(mm, terminal.termios()));
      return int64_t{0};
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
      return SetTermios(ctx, mm, terminal, command, arg, own);
    case TIOCGWINSZ:
      TRY(GuestOut<WindowSize>(arg).Store(mm, terminal.window_size()));
      return int64_t{0};
    case TIOCSWINSZ:
      terminal.SetWindowSize(TRY(GuestIn<WindowSize>(arg).Load(mm)));
      return int64_t{0};
    case TCSBRK:
    case TCSBRKP:
      // Nothing is left to be sent, and there is no line to break.
      TRY(CheckChange(ctx, terminal, own));
      return int64_t{0};
    case TCXONC:
      TRY(CheckChange(ctx, terminal, own));
      return SetFlow(terminal, arg);
    case TCFLSH:
      TRY(CheckChange(ctx, terminal, own));
      return Flush(terminal, arg);
    case TIOCOUTQ:
      return StoreInt(mm, arg, 0);
    case TIOCEXCL:
    case TIOCNXCL:
      terminal.SetExclusive(command == TIOCEXCL);
      return int64_t{0};
    case TIOCGEXCL:
      return StoreInt(mm, arg, terminal.exclusive() ? 1 : 0);
    case TIOCGETD:
      return StoreInt(mm, arg, N_TTY);
    case TIOCSETD:
      return SetLineDiscipline(mm, arg);
    case TIOCGDEV:
      return StoreInt(mm, arg, static_cast<int64_t>(Devpts::DeviceOf(terminal.index())));
    case TIOCSTI:
      return Errno::kIO;  // as where dev.tty.legacy_tiocsti is 0
    case TIOCVHANGUP:
      if (!ctx.creds->HasCapability(kCapSysAdmin)) return Errno::kPERM;
      terminal.HangUp();
      return int64_t{0};
    default:
      return Errno::kNOTTY;
  }
}

Result<int64_t> TtyFile::Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                               uint64_t arg) {
  if (terminal_->hung_up()) return command == TIOCSPGRP ? Errno::kNOTTY : Errno::kIO;
  if (command == FIONREAD) {
    return StoreInt(mm, arg, static_cast<int64_t>(terminal_->InputBytes()));
  }
  if (IsJobCommand(command)) return JobIoctl(ctx, mm, terminal_->job_control(), command, arg);
  return TerminalIoctl(ctx, mm, *terminal_, command, arg, /*own=*/true);
}

Result<int64_t> PtmxFile::Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                                uint64_t arg) {
  switch (command) {
    case TIOCGPTN:
      return StoreInt(mm, arg, terminal_->index());
    case TIOCSPTLCK:
      terminal_->SetLocked(TRY(GuestIn<int32_t>(arg).Load(mm)) != 0);
      return int64_t{0};
    case TIOCGPTLCK:
      return StoreInt(mm, arg, terminal_->locked() ? 1 : 0);
    case TIOCPKT:
      terminal_->SetPacketMode(TRY(GuestIn<int32_t>(arg).Load(mm)) != 0);
      return int64_t{0};
    case TIOCGPKT:
      return StoreInt(mm, arg, terminal_->packet_mode() ? 1 : 0);
    case TIOCSIG:
      return SendSignal(*terminal_, arg);
    case FIONREAD:
      return StoreInt(mm, arg, static_cast<int64_t>(terminal_->OutputBytes()));
    default:
      break;
  }
  if (IsJobCommand(command)) return PeerJobIoctl(ctx, mm, terminal_->job_control(), command, arg);
  return TerminalIoctl(ctx, mm, *terminal_, command, arg, /*own=*/false);
}

}  // namespace ringfence::sentry
