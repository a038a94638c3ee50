// The settings of a terminal (termios(3), tty_ioctl(4)) as TCGETS2 and TCSETS2 carry them, the
// shorter form of TCGETS, and the window size of TIOCGWINSZ. Layouts are those of Linux on x86-64
// and arm64.
#ifndef RINGFENCE_SENTRY_FS_TTY_TERMIOS_H_
#define RINGFENCE_SENTRY_FS_TTY_TERMIOS_H_

#include <asm/termbits.h>

#include <cstdint>

namespace ringfence::sentry {

using Termios = struct ::termios2;
using ShortTermios = struct ::termios;  // of the kernel's header, not of <termios.h>

// struct winsize of the ABI.
struct WindowSize {
  uint16_t rows = 0, columns = 0, x_pixels = 0, y_pixels = 0;
  friend bool operator==(const WindowSize&, const WindowSize&) = default;
};

// What a new pseudo-terminal has.
Termios DefaultTermios();

ShortTermios ToShort(const Termios& settings);
// The speeds follow from c_cflag.
Termios FromShort(const ShortTermios& settings);

// Baud of the CBAUD bits; 0 for BOTHER and numbers nobody uses on a pseudo-terminal.
uint32_t BaudOf(uint32_t cflag);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TTY_TERMIOS_H_
