// `ringfence do -t`, the person's side: bytes and window size between the caller's standard input
// and output and the sandbox's pseudo-terminal, which the sentry has (sentry/boot/console.h says
// why).
//
// Where standard input is a terminal it is put into raw mode, and back on every way out but
// SIGKILL; else it is read to its end, which the program sees as Ctrl-D (as by script(1)).
//
// Threads: the supervisor's.
#ifndef RINGFENCE_RUNTIME_SANDBOX_TERMINAL_RELAY_H_
#define RINGFENCE_RUNTIME_SANDBOX_TERMINAL_RELAY_H_

#include <poll.h>

#include <string>
#include <vector>

#include "platform/base/unique_fd.h"
#include "runtime/sandbox/spec.h"

namespace ringfence::runtime {

// Settings and size of the caller's terminal, for the program's: of standard input, or the size of
// standard output; what nobody knows is what a new terminal has, 24 rows of 80 columns.
TerminalSpec CallersTerminal();

class TerminalRelay {
 public:
  // `socket`: the other end of the sentry's. Nothing is changed before Start.
  explicit TerminalRelay(UniqueFd socket);
  ~TerminalRelay() { Restore(); }
  TerminalRelay(const TerminalRelay&) = delete;
  TerminalRelay& operator=(const TerminalRelay&) = delete;

  void Start();    // raw mode; again after a stop
  void Restore();  // as it was; before a stop, and at the end

  // What to poll, and what came of it: Polled takes the same entries.
  void AddPolls(std::vector<pollfd>* polls) const;
  void Polled(const std::vector<pollfd>& polls, size_t first);
  static constexpr size_t kPolls = 4;

  // Once: nobody looks any more, or the keyboard is gone.
  bool TakeHangUp();
  // The program has ended: shows what is left, until the sentry closes its end.
  void Finish();

 private:
  bool Interested() const { return !socket_ended_ && !screen_lost_; }
  void ReadKeys();
  void SendKeys();
  void ReceiveOutput();
  void Show();

  const UniqueFd socket_;
  const bool is_terminal_;
  bool raw_ = false;
  TerminalSpec::Settings saved_{};
  std::string keys_, output_;
  bool keys_ended_ = false, socket_ended_ = false, screen_lost_ = false, hang_up_ = false;
};

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_TERMINAL_RELAY_H_
