// Output processing (OPOST) and echo.
#include <algorithm>
#include <cctype>

#include "sentry/fs/tty/line_discipline.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kTab = 8;
// Echo of a whole line that is erased or printed again: kept even when the output is full.
constexpr size_t kEchoReserve = 4 * LineDiscipline::kInputCapacity;

}  // namespace

size_t LineDiscipline::WriteRoom() const {
  if (output_stopped() || output_.size() >= kOutputCapacity) return 0;
  const size_t room = kOutputCapacity - output_.size();
  if (!Output(OPOST)) return room;
  const size_t widest = (termios_.c_oflag & TABDLY) == XTABS ? kTab : 2;
  return room / widest;
}

void LineDiscipline::Write(std::string_view bytes) {
  if (!Output(OPOST)) {
    output_.append(bytes);
    return;
  }
  for (const char byte : bytes) Process(static_cast<uint8_t>(byte));
}

size_t LineDiscipline::TakeOutput(char* dst, size_t n) {
  const size_t count = output_.copy(dst, n);
  output_.erase(0, count);
  return count;
}

void LineDiscipline::Emit(char byte, size_t count) {
  if (output_.size() + count <= kOutputCapacity + kEchoReserve) output_.append(count, byte);
}

void LineDiscipline::Process(uint8_t byte) {
  switch (byte) {
    case '\n':
      if (Output(ONLRET)) column_ = 0;
      if (Output(ONLCR)) {
        column_ = 0;
        Emit('\r');
      }
      line_start_ = column_;
      break;
    case '\r':
      if (Output(ONOCR) && column_ == 0) return;
      if (Output(OCRNL)) {
        byte = '\n';
        if (!Output(ONLRET)) break;
      }
      column_ = line_start_ = 0;
      break;
    case '\t': {
      const size_t spaces = kTab - (column_ & (kTab - 1));
      column_ += static_cast<uint32_t>(spaces);
      if ((termios_.c_oflag & TABDLY) == XTABS) {
        Emit(' ', spaces);
        return;
      }
      break;
    }
    case '\b':
      if (column_ > 0) --column_;
      break;
    default:
      if (IsControl(byte)) break;
      if (Output(OLCUC)) byte = static_cast<uint8_t>(std::toupper(byte));
      if (!IsContinuation(byte)) ++column_;
      break;
  }
  Emit(static_cast<char>(byte));
}

void LineDiscipline::EchoRaw(uint8_t byte) {
  if (Output(OPOST)) {
    Process(byte);
  } else {
    Emit(static_cast<char>(byte));
  }
}

void LineDiscipline::Echo(uint8_t byte) {
  if (!Local(ECHOCTL) || !IsControl(byte) || byte == '\t') {
    EchoRaw(byte);
    return;
  }
  Emit('^');
  Emit(static_cast<char>(byte ^ 0100));
  column_ += 2;
}

// Where the first character of a line stands, to know how wide its tabs are.
void LineDiscipline::MarkLineStart() {
  if (input_.size() == ended_) line_start_ = column_;
}

void LineDiscipline::SuspendOutput(bool suspended) {
  suspended_ = suspended;
  if (!suspended) stopped_ = false;
}

void LineDiscipline::SendFlowControl(bool stop) {
  const uint8_t key = termios_.c_cc[stop ? VSTOP : VSTART];
  if (key != 0) Emit(static_cast<char>(key));
}

}  // namespace ringfence::sentry
