// The command line of `ringfence`, as a person types it. Pure: nothing is looked up or opened.
#ifndef RINGFENCE_RUNTIME_CLI_COMMAND_LINE_H_
#define RINGFENCE_RUNTIME_CLI_COMMAND_LINE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "platform/api/platform.h"
#include "runtime/cli/mount_flags.h"

namespace ringfence::runtime {

// ringfence do [flags] [--] COMMAND [ARGUMENT...]
struct DoCommand {
  platform::ExitlessMode exitless = platform::ExitlessMode::kAuto;
  bool strace = false;
  std::optional<std::string> cwd;
  std::vector<std::string> env;  // NAME=VALUE, in the order given
  std::vector<Volume> volumes;   // --rw, then --volume
  OverlayFlag overlay{};
  std::optional<std::string> debug_log;
  std::optional<std::string> stats;
  bool terminal = false;
  bool debug_unconfined = false;
  uint64_t memory_bytes = 0;         // 0: not given
  uint32_t cpus = 0;                 // 0: all of the caller's
  std::vector<std::string> command;  // never empty
};

// ringfence debug [PID|ID]
struct DebugCommand {
  std::optional<std::string> sandbox;  // none: list them; else without '/' and not empty
};

// --help, --version: to stdout, exit status 0.
struct PrintText {
  std::string text;
};

// To stderr, exit status kUsageStatus.
struct UsageError {
  std::string message;  // one line that names what is wrong, without newline
  std::string usage;    // the usage line of the command, without newline
};
inline constexpr int kUsageStatus = 2;

using CommandLine = std::variant<DoCommand, DebugCommand, PrintText, UsageError>;

// `args` without the program's name.
CommandLine ParseCommandLine(const std::vector<std::string>& args);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CLI_COMMAND_LINE_H_
