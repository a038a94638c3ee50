// What the CLI does while the sandbox runs: passes signals on, waits for the end, cleans up.
//
// One thread, which must be the one that started the processes: they die with it.
#ifndef RINGFENCE_RUNTIME_SANDBOX_SUPERVISOR_H_
#define RINGFENCE_RUNTIME_SANDBOX_SUPERVISOR_H_

#include <sys/types.h>

#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"
#include "runtime/control/wire.h"
#include "runtime/sandbox/debug_server.h"
#include "runtime/sandbox/log_file.h"
#include "runtime/sandbox/terminal_relay.h"

namespace ringfence::runtime {

// Exit status of the CLI when there is no sandbox or it broke.
inline constexpr int kFailureStatus = 1;

// The signals that are passed on, blocked and turned into a descriptor (signalfd(2)): SIGINT, TERM,
// HUP, QUIT, WINCH, USR1, USR2, TSTP, CONT. Those the caller ignores (nohup(1)) stay ignored.
absl::StatusOr<UniqueFd> CatchForwardedSignals();

// A child and the CLI's end of its control socket.
struct Child {
  pid_t pid;
  ControlSocket control;
};

// The program's wait status (wait(2)) as an exit status: N, or 128 + signal.
int ExitStatusOf(int wait_status);

// What else goes on meanwhile; each may be null and outlives the supervisor.
struct Companions {
  TerminalRelay* relay = nullptr;  // -t
  DebugServer* debug = nullptr;
  LogFile* log = nullptr;
};

class Supervisor {
 public:
  // `say` writes one line for the person.
  Supervisor(UniqueFd signals, Child sentry, Child gofer,
             absl::FunctionRef<void(std::string_view)> say, Companions companions = {})
      : signals_(std::move(signals)),
        sentry_(std::move(sentry)),
        gofer_(std::move(gofer)),
        say_(say),
        relay_(companions.relay),
        debug_(companions.debug),
        log_(companions.log) {}
  // Kills what is left of the sandbox and waits until it is gone.
  ~Supervisor();

  // Returns the CLI's exit status when the program has ended or the sandbox broke.
  int Run();

 private:
  void ForwardSignals();
  // With a terminal of the sandbox some signals mean something for that; false: this one does not.
  bool RelaySignal(int signal);
  void Stop();
  void Finished(int wait_status);
  void ServeCompanions(const std::vector<pollfd>& polls, size_t first);
  // What the sentry sends for them; false: it is something else.
  bool HearForCompanions(const Message& message);
  // Each true when `status_` says how it ended.
  bool HearSentry();
  bool HearGofer(const Message& message);
  bool MissGofer();  // its control socket closed
  bool Fail(std::string_view line, int status);

  UniqueFd signals_;
  Child sentry_;
  Child gofer_;
  absl::FunctionRef<void(std::string_view)> say_;
  TerminalRelay* const relay_;
  DebugServer* const debug_;
  LogFile* const log_;
  bool started_ = false;
  int status_ = kFailureStatus;
};

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_SUPERVISOR_H_
