#include "sentry/fs/tty/line_discipline.h"

#include <algorithm>
#include <cctype>

namespace ringfence::sentry {

void LineDiscipline::SetTermios(const Termios& settings) {
  const bool was_canonical = canonical();
  const bool had_flow_control = Input(IXON);
  termios_ = settings;
  if (was_canonical != canonical()) {
    literal_next_ = erasing_ = false;
    for (Cell& cell : input_) cell.ends_line = false;
    ended_ = 0;
    if (canonical() && !input_.empty()) {
      // What was there is one line, whatever it is.
      input_.back().ends_line = true;
      ended_ = input_.size();
    }
  }
  if (had_flow_control && !Input(IXON)) stopped_ = false;
}

size_t LineDiscipline::Receive(std::string_view keys, Effects* effects) {
  size_t taken = 0;
  while (taken < keys.size() && MakeRoom()) {
    ReceiveOne(static_cast<uint8_t>(keys[taken++]), effects);
  }
  return taken;
}

// One place is kept for the key that ends the line.
bool LineDiscipline::MakeRoom() {
  const size_t widest = Input(PARMRK) ? 3 : 1;
  if (input_.size() + widest < kInputCapacity) return true;
  if (!canonical() || ended_ != 0) return false;
  while (input_.size() + widest > kInputCapacity) input_.pop_back();
  return true;
}

void LineDiscipline::ReceiveOne(uint8_t byte, Effects* effects) {
  if (Input(ISTRIP)) byte &= 0x7f;
  if (Input(IUCLC) && Local(IEXTEN)) byte = static_cast<uint8_t>(std::tolower(byte));
  if (literal_next_) {
    literal_next_ = false;
    ReceivePlain(byte);
    return;
  }
  if (Local(EXTPROC)) {
    Put(byte);
    return;
  }
  if (Input(IXON) && ReceiveFlowControl(byte)) return;
  if (Local(ISIG) && ReceiveSignal(byte, effects)) return;
  if (stopped_ && Input(IXON) && Input(IXANY)) stopped_ = false;
  if (byte == '\r') {
    if (Input(IGNCR)) return;
    if (Input(ICRNL)) byte = '\n';
  } else if (byte == '\n' && Input(INLCR)) {
    byte = '\r';
  }
  if (canonical() && ReceiveCanonical(byte)) return;
  ReceivePlain(byte);
}

bool LineDiscipline::ReceiveFlowControl(uint8_t byte) {
  if (Is(byte, VSTART)) {
    stopped_ = false;
    return true;
  }
  if (!Is(byte, VSTOP)) return false;
  stopped_ = true;
  return true;
}

bool LineDiscipline::ReceiveSignal(uint8_t byte, Effects* effects) {
  SigNo signal;
  if (Is(byte, VINTR)) {
    signal = SigNo::kInt;
  } else if (Is(byte, VQUIT)) {
    signal = SigNo::kQuit;
  } else if (Is(byte, VSUSP)) {
    signal = SigNo::kTstp;
  } else {
    return false;
  }
  // Further ones of a kind would find the first pending.
  if (effects->signals.empty() || effects->signals.back() != signal) {
    effects->signals.push_back(signal);
  }
  if (!Local(NOFLSH)) {
    FlushInput();
    FlushOutput();
    effects->flushed_input = effects->flushed_output = true;
  }
  if (Input(IXON)) stopped_ = false;
  if (Local(ECHO)) Echo(byte);
  return true;
}

bool LineDiscipline::ReceiveCanonical(uint8_t byte) {
  const bool extended = Local(IEXTEN);
  if (Is(byte, VERASE) || Is(byte, VKILL) || (extended && Is(byte, VWERASE))) {
    Erase(byte);
    return true;
  }
  if (extended && Is(byte, VLNEXT)) {
    literal_next_ = true;
    if (Local(ECHO)) {
      FinishErasing();
      if (Local(ECHOCTL)) {
        EchoRaw('^');
        EchoRaw('\b');
      }
    }
    return true;
  }
  if (extended && Local(ECHO) && Is(byte, VREPRINT)) {
    Echo(byte);
    Reprint();
    return true;
  }
  if (byte == '\n') {
    if (Local(ECHO) || Local(ECHONL)) EchoRaw('\n');
    EndLine('\n');
    return true;
  }
  if (Is(byte, VEOF)) {
    EndLine('\0');
    return true;
  }
  if (Is(byte, VEOL) || (extended && Is(byte, VEOL2))) {
    if (Local(ECHO)) {
      MarkLineStart();
      Echo(byte);
    }
    EndLine(byte);
    return true;
  }
  return false;
}

void LineDiscipline::Reprint() {
  FinishErasing();
  EchoRaw('\n');
  for (size_t i = ended_; i < input_.size(); ++i) Echo(input_[i].byte);
}

void LineDiscipline::ReceivePlain(uint8_t byte) {
  if (stopped_ && Input(IXON) && Input(IXANY)) stopped_ = false;
  if (Local(ECHO)) {
    FinishErasing();
    if (byte == '\n') {
      EchoRaw('\n');
    } else {
      MarkLineStart();
      Echo(byte);
    }
  }
  if (byte == 0xff && Input(PARMRK)) Put(byte);
  Put(byte);
}

void LineDiscipline::EndLine(uint8_t byte) {
  if (byte == 0xff && Input(PARMRK)) Put(byte);
  Put(byte, true);
  ended_ = input_.size();
}

bool LineDiscipline::Readable(size_t wanted) const {
  return canonical() ? ended_ != 0 : input_.size() >= wanted;
}

size_t LineDiscipline::Available() const {
  if (!canonical()) return input_.size();
  size_t bytes = 0;
  for (size_t i = 0; i < ended_; ++i) {
    if (!input_[i].ends_line || input_[i].byte != 0) ++bytes;
  }
  return bytes;
}

size_t LineDiscipline::Read(char* dst, size_t n) {
  if (canonical()) return ReadLine(dst, n);
  const size_t count = std::min(n, input_.size());
  for (size_t i = 0; i < count; ++i) dst[i] = static_cast<char>(input_[i].byte);
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(count));
  return count;
}

size_t LineDiscipline::ReadLine(char* dst, size_t n) {
  size_t done = 0;
  while (ended_ != 0) {
    const Cell cell = input_.front();
    const bool end_of_file = cell.ends_line && cell.byte == 0;
    // An end of file that comes right after what fits goes with it.
    if (done == n && !end_of_file) break;
    input_.pop_front();
    --ended_;
    if (end_of_file) break;
    dst[done++] = static_cast<char>(cell.byte);
    if (cell.ends_line) break;
  }
  return done;
}

void LineDiscipline::FlushInput() {
  input_.clear();
  ended_ = 0;
  literal_next_ = erasing_ = false;
}

}  // namespace ringfence::sentry
