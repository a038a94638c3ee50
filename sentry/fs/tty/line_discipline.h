// LineDiscipline: what a terminal does to the bytes between its keyboard and the program
// (termios(3), "N_TTY" of Linux). Pure: bytes in, bytes out, signals; no locks, no waiting, no
// tasks.
//
//   keys --Receive--> [input: lines or bytes] --Read--> program
//    ^ screen <--TakeOutput-- [output] <--echo, Write-- program
//
// Both buffers are bounded as on Linux. What does not fit is refused: Receive and Write say how
// much they took. A line without end loses its last byte for each further one (canonical mode), so
// that the key that ends it can always be typed.
//
// Threads: one at a time (Terminal holds a mutex).
#ifndef RINGFENCE_SENTRY_FS_TTY_LINE_DISCIPLINE_H_
#define RINGFENCE_SENTRY_FS_TTY_LINE_DISCIPLINE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/base/signal.h"
#include "sentry/fs/tty/termios.h"

namespace ringfence::sentry {

class LineDiscipline {
 public:
  static constexpr size_t kInputCapacity = 4096;
  static constexpr size_t kOutputCapacity = 12 * 1024;

  explicit LineDiscipline(const Termios& settings) { SetTermios(settings); }

  const Termios& termios() const { return termios_; }
  // What was typed stays; a line that has not ended becomes readable when canonical mode ends.
  void SetTermios(const Termios& settings);

  // Input goes to programs by lines.
  bool canonical() const { return Local(ICANON) && !Local(EXTPROC); }

  // What a key press asked for beside input.
  struct Effects {
    std::vector<SigNo> signals;  // for the foreground group, in order, no two alike in a row
    bool flushed_input = false, flushed_output = false;
  };
  // Keys. Returns how many were taken.
  size_t Receive(std::string_view keys, Effects* effects);

  // May a program's read go on with `wanted` bytes to be there? Canonical: a line has ended.
  bool Readable(size_t wanted = 1) const;
  // Bytes for FIONREAD: those of ended lines in canonical mode.
  size_t Available() const;
  // Up to n bytes; canonical: of one line at most, 0 at an end of file.
  size_t Read(char* dst, size_t n);
  // Canonical mode: there is a beginning of a line.
  bool HasUnfinishedLine() const { return canonical() && input_.size() > ended_; }

  // Bytes that Write takes for certain now; 0 while the output is stopped (^S).
  size_t WriteRoom() const;
  // Output of the program. At most WriteRoom() bytes; all are taken.
  void Write(std::string_view bytes);
  // For the screen.
  size_t output_size() const { return output_.size(); }
  size_t TakeOutput(char* dst, size_t n);

  void FlushInput();
  // All but what a screen that keeps up has had already (Linux moves that at once).
  void FlushOutput() {
    if (output_.size() > kInputCapacity) output_.resize(kInputCapacity);
  }
  // tcflow(3): TCOOFF and TCOON, stronger than ^S and ^Q; TCIOFF and TCION.
  void SuspendOutput(bool suspended);
  void SendFlowControl(bool stop);
  bool output_stopped() const { return stopped_ || suspended_; }

 private:
  struct Cell {
    uint8_t byte;
    bool ends_line;  // with '\0' for byte: an end of file
  };

  bool Input(uint32_t flag) const { return (termios_.c_iflag & flag) != 0; }
  bool Output(uint32_t flag) const { return (termios_.c_oflag & flag) != 0; }
  bool Local(uint32_t flag) const { return (termios_.c_lflag & flag) != 0; }
  // Is `byte` the control character `index`? Those set to 0 are off.
  bool Is(uint8_t byte, int index) const { return byte != 0 && termios_.c_cc[index] == byte; }
  bool IsContinuation(uint8_t byte) const { return Input(IUTF8) && (byte & 0xc0) == 0x80; }
  bool IsControl(uint8_t byte) const { return byte < 0x20 || byte == 0x7f; }

  // line_discipline.cc
  bool MakeRoom();
  void ReceiveOne(uint8_t byte, Effects* effects);
  bool ReceiveFlowControl(uint8_t byte);
  bool ReceiveSignal(uint8_t byte, Effects* effects);
  bool ReceiveCanonical(uint8_t byte);
  void ReceivePlain(uint8_t byte);
  void Reprint();
  void EndLine(uint8_t byte);
  void Put(uint8_t byte, bool ends_line = false) { input_.push_back({byte, ends_line}); }
  size_t ReadLine(char* dst, size_t n);

  // erase.cc
  void Erase(uint8_t key);
  bool EraseOne(bool whole_words, bool only_one, bool* seen_word);
  void EchoErased(uint8_t byte, bool only_one, const std::string& rest);
  void EchoErasedTab();
  void FinishErasing();

  // output.cc
  void Echo(uint8_t byte);     // as ECHOCTL says
  void EchoRaw(uint8_t byte);  // as it is
  void Process(uint8_t byte);
  void Emit(char byte, size_t count = 1);
  void MarkLineStart();

  Termios termios_ = {};
  std::deque<Cell> input_;
  size_t ended_ = 0;  // cells in front that belong to ended lines; canonical mode only
  bool literal_next_ = false, erasing_ = false;
  std::string output_;
  uint32_t column_ = 0, line_start_ = 0;  // of the screen; where the line being typed began
  bool stopped_ = false, suspended_ = false;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TTY_LINE_DISCIPLINE_H_
