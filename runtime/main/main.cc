// The program `ringfence`: CLI, sentry and gofer in one binary (see runtime/README.md).
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "runtime/cli/command_line.h"
#include "runtime/sandbox/child.h"
#include "runtime/sandbox/debug_command.h"
#include "runtime/sandbox/gofer_process.h"
#include "runtime/sandbox/launch.h"
#include "runtime/sandbox/report.h"
#include "runtime/sandbox/sentry_process.h"
#include "runtime/sandbox/streams.h"
#include "runtime/sandbox/supervisor.h"

namespace ringfence::runtime {
namespace {

int RunChild(std::string_view role, const std::vector<std::string_view>& args) {
  // Debian's absl looks for cycles in the order of locks at every lock, behind a lock of its own,
  // and aborts when it sees one. Tests keep that; a sandbox needs neither the abort nor the cost
  // (a walk along a path of five names: 0.48 us with it, 0.28 us without).
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  absl::StatusOr<ChildArguments> arguments = ChildArguments::Parse(args);
  if (!arguments.ok()) {
    Say("this command is used by ringfence itself only: " + std::string(role));
    return kUsageStatus;
  }
  if (role == kGoferRole) RunGoferProcess(std::move(*arguments));
  RunSentryProcess(std::move(*arguments));
}

int Print(const PrintText& text) {
  return std::fwrite(text.text.data(), 1, text.text.size(), stdout) == text.text.size() &&
                 std::fflush(stdout) == 0
             ? 0
             : kFailureStatus;
}

int Complain(const UsageError& error) {
  Say(error.message);
  Say(error.usage);
  return kUsageStatus;
}

int Main(const std::vector<std::string_view>& args) {
  if (!args.empty() && (args[0] == kSentryRole || args[0] == kGoferRole)) {
    return RunChild(args[0], {args.begin() + 1, args.end()});
  }
  const absl::StatusOr<uint32_t> closed_streams = FillClosedStreams();
  if (!closed_streams.ok()) return kFailureStatus;  // nowhere to say why
  const CommandLine line = ParseCommandLine({args.begin(), args.end()});
  if (const auto* text = std::get_if<PrintText>(&line)) return Print(*text);
  if (const auto* error = std::get_if<UsageError>(&line)) return Complain(*error);
  if (const auto* debug = std::get_if<DebugCommand>(&line)) return RunDebug(*debug);
  return RunDo(std::get<DoCommand>(line), *closed_streams);
}

}  // namespace
}  // namespace ringfence::runtime

int main(int argc, char** argv) {
  return ringfence::runtime::Main({argv + (argc > 0 ? 1 : 0), argv + argc});
}
