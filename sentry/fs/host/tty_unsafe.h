// Terminal ioctls of the host, passed through for a guest (tty_ioctl(4)).
#ifndef RINGFENCE_SENTRY_FS_HOST_TTY_UNSAFE_H_
#define RINGFENCE_SENTRY_FS_HOST_TTY_UNSAFE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "platform/base/result.h"

namespace ringfence::sentry {

bool IsHostTerminal(int fd);
// TOSTOP (termios(3)): who writes from the background is stopped.
bool HostTerminalStopsWriters(int fd);

// How an ioctl's argument travels.
enum class TtyArgument { kNone, kValue, kToGuest, kFromGuest };
struct TtyCommand {
  uint32_t command;
  TtyArgument argument;
  size_t size;    // of what is behind the pointer, at most kMaxTtyArgument
  bool may_wait;  // waits for output to drain
  bool changes;   // changes the terminal: job control is asked first
};
inline constexpr size_t kMaxTtyArgument = 64;
using TtyBuffer = std::array<std::byte, kMaxTtyArgument>;

// What may be passed through; nullopt for all else (TIOCSTI never).
std::optional<TtyCommand> FindTtyCommand(uint32_t command);

// Runs one of these on the host. `value` for kValue, `buffer` for the pointer kinds.
Result<int64_t> HostTtyIoctl(int fd, const TtyCommand& command, uint64_t value, TtyBuffer& buffer);

// FIONREAD of a pipe, socket, file or terminal.
Result<int32_t> HostBytesReadable(int fd);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_HOST_TTY_UNSAFE_H_
