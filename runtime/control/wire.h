// Messages between the CLI and the processes of a sandbox, over one SOCK_SEQPACKET pair for each.
//
// The child says that the program runs, how it ended, or why there is none; the CLI passes signals
// on. End of file means that the other side is gone: the CLI then looks at the child's own wait
// status, the child ends. The peer is not trusted: a malformed message counts as a peer that is
// gone.
#ifndef RINGFENCE_RUNTIME_CONTROL_WIRE_H_
#define RINGFENCE_RUNTIME_CONTROL_WIRE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"

namespace ringfence::runtime {

enum class MessageKind : uint32_t {
  kSignal = 1,  // CLI to sentry: value is the signal number
  kStarted,     // sentry to CLI: the program runs
  kFinished,    // sentry to CLI: value is the program's wait status (wait(2))
  kFailed,      // child to CLI, then it ends: value is the CLI's exit status, text says why
  kMapped,      // CLI to child: the ids of its user namespace are mapped
  kResize,      // CLI to sentry: value is rows << 16 | columns of the program's terminal (-t)
  kHangUp,      // CLI to sentry: nobody is at that terminal any more
  kStopped,     // sentry to CLI: the program has been stopped (SIGTSTP and the like)
  kReport,      // CLI to sentry: say what the tasks do
  kReportLine,  // sentry to CLI: a line of that
  kReportEnd,   // sentry to CLI: that was all
  kLog,         // sentry to CLI: a line for the log
};

struct Message {
  MessageKind kind;
  int32_t value = 0;
  std::string text;
};

inline constexpr size_t kMaxMessageText = 4096;

// `text` with control characters but tab replaced by '?': it stays one line and cannot drive a
// terminal, whoever wrote it.
std::string OneLine(std::string_view text);

// Cuts text that is too long.
std::string Encode(const Message& message);
// None for nonsense. The text is one line (OneLine).
std::optional<Message> Decode(std::string_view bytes);

// One end. Threads: Send any; Receive one at a time.
class ControlSocket {
 public:
  explicit ControlSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  static absl::StatusOr<std::pair<ControlSocket, ControlSocket>> MakePair();

  // Waits for room. Unavailable: the peer is gone.
  absl::Status Send(const Message& message);
  // Does not wait; false where there is no room or no peer.
  bool TrySend(const Message& message);
  // Waits for a message. None: the peer is gone or sent nonsense.
  std::optional<Message> Receive();

  int fd() const { return fd_.get(); }
  void Close() { fd_.Reset(); }

 private:
  UniqueFd fd_;
};

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CONTROL_WIRE_H_
