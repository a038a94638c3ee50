// Console: the person in front of a terminal of the sandbox, at the other end of a socket
// (`ringfence do -t`): what comes from the socket is typed, what the program shows goes there.
//
// Why the pseudo-terminal is one of the sentry and not of the host: its line discipline runs here,
// so the program never reaches a terminal of the host, whatever ioctl it tries; keys find the
// foreground group without a session of the host; and the terminal has a name in /dev/pts.
//
// One thread of its own; it uses poll, recv, send, read and write (eventfd) of the host.
#ifndef RINGFENCE_SENTRY_BOOT_CONSOLE_H_
#define RINGFENCE_SENTRY_BOOT_CONSOLE_H_

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"
#include "sentry/base/wait_queue.h"
#include "sentry/fs/tty/terminal.h"

namespace ringfence::sentry {

class Console final : private WaitEntry {
 public:
  // Starts the thread, with all signals blocked. `socket`: a stream.
  static absl::StatusOr<std::unique_ptr<Console>> Start(UniqueFd socket, TerminalRef terminal);
  ~Console() override;

  // When no program will show anything more: sends what is left, tells the other end that this was
  // all, ends the thread. Waits as long as the other end is there and does not read.
  void Finish();

 private:
  Console(UniqueFd socket, UniqueFd wake, TerminalRef terminal);
  void Wake(EventMask events) override;
  void WakeThread();
  void Run();
  // Each false once there will be nothing more.
  bool SendOutput();
  bool ReceiveKeys();
  bool TypeKeys();  // false: some have to wait
  void Sleep();

  const UniqueFd socket_;
  const UniqueFd wake_;  // eventfd
  const TerminalRef terminal_;
  std::atomic<bool> woken_{false};  // the eventfd has been written to
  std::atomic<bool> finishing_{false};
  // The thread's own.
  std::string output_, keys_;
  bool keys_ended_ = false;
  std::thread thread_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_CONSOLE_H_
