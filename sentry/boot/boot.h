// Boot: makes a sandbox out of its parts and starts init.
//
// The platform, the gofer's client and the descriptors come from the runtime; everything between
// them is put together here: the mount tree, the system call table, the kernel, the standard
// streams and the first program.
//
// Mount tree: mount_tree.h.
#ifndef RINGFENCE_SENTRY_BOOT_BOOT_H_
#define RINGFENCE_SENTRY_BOOT_BOOT_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/client/client.h"
#include "platform/api/platform.h"
#include "platform/base/unique_fd.h"
#include "sentry/boot/layers.h"
#include "sentry/fs/tty/termios.h"

namespace ringfence::sentry {

// `do -t`: the program runs on a new pseudo-terminal.
struct ConsoleConfig {
  UniqueFd socket;  // stream: keys come from it, what is shown goes there; it is left non-blocking
  Termios termios = DefaultTermios();
  WindowSize size;
};

struct BootConfig {
  platform::Platform* platform = nullptr;  // outlives the sandbox
  gofer::Client* gofer = nullptr;          // not attached yet; outlives the sandbox
  std::vector<std::string> argv;           // argv[0] is searched in PATH of envp if it has no '/'
  std::vector<std::string> envp;
  std::string cwd = "/";
  bool cwd_required = false;             // else / stands in for a directory that is not there
  std::array<UniqueFd, 3> streams;       // standard streams; an invalid one stays closed
  std::optional<ConsoleConfig> console;  // takes the place of `streams`
  RootLayers root{};
  std::vector<Volume> volumes;  // in the order in which they are mounted
  std::string hostname = "ringfence";
  uint64_t memory_bytes = 0;  // RAM the sandbox reports
  uint32_t cpus = 1;
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  // supplementary
  uint64_t ignored_signals = 0;  // bit n - 1: signal n is ignored from the beginning
  uint32_t umask = 022;
  bool exitless = true;
  // Init has been stopped (SIGTSTP and the like). Any thread; must not wait.
  std::function<void()> stopped;
  // Lines without newline; any thread. `trace` null: no --strace.
  std::function<void(std::string_view)> trace;
  std::function<void(std::string_view)> log;
};

// A running sandbox. Threads: any.
class Sandbox {
 public:
  virtual ~Sandbox() = default;
  // Blocks until init has ended and nothing runs any more, and what it showed has been taken; its
  // wait status (wait(2)).
  virtual int WaitForInit() = 0;
  // A signal from outside, to init's process group, as a terminal would send it.
  virtual void Signal(int signal_number) = 0;
  // `do -t`: the person's window has another size; the person is gone.
  virtual void Resize(const WindowSize& size) = 0;
  virtual void HangUp() = 0;
  // Kills everything; WaitForInit then returns.
  virtual void Kill() = 0;
  // What its tasks do, line by line (task_report.h).
  virtual void Report(const std::function<void(std::string_view)>& line) const = 0;
  // System calls that reached the sentry so far.
  virtual uint64_t SystemCalls() const = 0;
};

// Errors, with a message that names what is wrong:
//   NotFound             the command does not exist             (a shell would exit with 127)
//   PermissionDenied     it cannot be executed                  (126)
//   FailedPrecondition   it is no program that runs here        (126)
//   InvalidArgument      the working directory, or a volume
//   Unavailable          the gofer
//   ResourceExhausted    memory
absl::StatusOr<std::unique_ptr<Sandbox>> Boot(BootConfig config);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_BOOT_H_
