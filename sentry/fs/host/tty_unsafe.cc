#include "sentry/fs/host/tty_unsafe.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <sys/ioctl.h>

namespace ringfence::sentry {
namespace {

constexpr size_t kTermios = sizeof(struct termios);
constexpr size_t kTermios2 = sizeof(struct termios2);
constexpr size_t kWinsize = sizeof(struct winsize);
static_assert(kTermios2 <= kMaxTtyArgument);

constexpr TtyCommand kCommands[] = {
    {TCGETS, TtyArgument::kToGuest, kTermios, false, false},
    {TCSETS, TtyArgument::kFromGuest, kTermios, false, true},
    {TCSETSW, TtyArgument::kFromGuest, kTermios, true, true},
    {TCSETSF, TtyArgument::kFromGuest, kTermios, true, true},
    {TCGETS2, TtyArgument::kToGuest, kTermios2, false, false},
    {TCSETS2, TtyArgument::kFromGuest, kTermios2, false, true},
    {TCSETSW2, TtyArgument::kFromGuest, kTermios2, true, true},
    {TCSETSF2, TtyArgument::kFromGuest, kTermios2, true, true},
    {TIOCGWINSZ, TtyArgument::kToGuest, kWinsize, false, false},
    {TIOCSWINSZ, TtyArgument::kFromGuest, kWinsize, false, true},
    {TIOCOUTQ, TtyArgument::kToGuest, sizeof(int), false, false},
    {TCSBRK, TtyArgument::kValue, 0, true, true},
    {TCSBRKP, TtyArgument::kValue, 0, true, true},
    {TCXONC, TtyArgument::kValue, 0, true, true},
    {TCFLSH, TtyArgument::kValue, 0, false, true},
    {TIOCEXCL, TtyArgument::kNone, 0, false, false},
    {TIOCNXCL, TtyArgument::kNone, 0, false, false},
};

}  // namespace

bool IsHostTerminal(int fd) {
  struct termios unused;
  // SAFETY: TCGETS stores one struct termios.
  return ioctl(fd, TCGETS, &unused) == 0;
}

bool HostTerminalStopsWriters(int fd) {
  struct termios settings;
  // SAFETY: TCGETS stores one struct termios.
  return ioctl(fd, TCGETS, &settings) == 0 && (settings.c_lflag & TOSTOP) != 0;
}

std::optional<TtyCommand> FindTtyCommand(uint32_t command) {
  for (const TtyCommand& known : kCommands) {
    if (known.command == command) return known;
  }
  return std::nullopt;
}

Result<int64_t> HostTtyIoctl(int fd, const TtyCommand& command, uint64_t value, TtyBuffer& buffer) {
  const bool pointer =
      command.argument == TtyArgument::kToGuest || command.argument == TtyArgument::kFromGuest;
  // SAFETY: the table above gives the size behind each pointer command, and all fit `buffer`.
  const int done =
      pointer ? ioctl(fd, command.command, buffer.data()) : ioctl(fd, command.command, value);
  if (done < 0) return LastHostErrno();
  return int64_t{done};
}

Result<int32_t> HostBytesReadable(int fd) {
  int32_t bytes = 0;
  // SAFETY: FIONREAD stores one int.
  if (ioctl(fd, FIONREAD, &bytes) != 0) return LastHostErrno();
  return bytes;
}

}  // namespace ringfence::sentry
