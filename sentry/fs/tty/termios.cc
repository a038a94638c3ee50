#include "sentry/fs/tty/termios.h"

#include <algorithm>
#include <array>

namespace ringfence::sentry {

Termios DefaultTermios() {
  Termios t = {};
  t.c_iflag = ICRNL | IXON;
  t.c_oflag = OPOST | ONLCR;
  t.c_cflag = B38400 | CS8 | CREAD;
  t.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  constexpr auto kControl = [](char key) { return static_cast<cc_t>(key & 0x1f); };
  t.c_cc[VINTR] = kControl('C');
  t.c_cc[VQUIT] = kControl('\\');
  t.c_cc[VERASE] = 0x7f;
  t.c_cc[VKILL] = kControl('U');
  t.c_cc[VEOF] = kControl('D');
  t.c_cc[VMIN] = 1;
  t.c_cc[VSTART] = kControl('Q');
  t.c_cc[VSTOP] = kControl('S');
  t.c_cc[VSUSP] = kControl('Z');
  t.c_cc[VREPRINT] = kControl('R');
  t.c_cc[VDISCARD] = kControl('O');
  t.c_cc[VWERASE] = kControl('W');
  t.c_cc[VLNEXT] = kControl('V');
  t.c_ispeed = t.c_ospeed = 38400;
  return t;
}

ShortTermios ToShort(const Termios& settings) {
  ShortTermios out = {};
  out.c_iflag = settings.c_iflag;
  out.c_oflag = settings.c_oflag;
  out.c_cflag = settings.c_cflag;
  out.c_lflag = settings.c_lflag;
  out.c_line = settings.c_line;
  std::copy_n(settings.c_cc, NCCS, out.c_cc);
  return out;
}

Termios FromShort(const ShortTermios& settings) {
  Termios out = {};
  out.c_iflag = settings.c_iflag;
  out.c_oflag = settings.c_oflag;
  out.c_cflag = settings.c_cflag;
  out.c_lflag = settings.c_lflag;
  out.c_line = settings.c_line;
  std::copy_n(settings.c_cc, NCCS, out.c_cc);
  out.c_ispeed = out.c_ospeed = BaudOf(settings.c_cflag);
  return out;
}

uint32_t BaudOf(uint32_t cflag) {
  static constexpr std::array<uint32_t, 16> kSlow = {
      0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
  static constexpr std::array<uint32_t, 16> kFast = {
      0,       57600,   115200,  230400,  460800,  500000,  576000,  921600,
      1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000};
  return (cflag & CBAUDEX) != 0 ? kFast[cflag & 15] : kSlow[cflag & 15];
}

}  // namespace ringfence::sentry
