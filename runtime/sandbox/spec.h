// SandboxSpec: what the CLI tells a new sentry (proto/control/spec.proto), and its way there: a
// sealed memfd, so that neither its size nor its content can change under the reader.
#ifndef RINGFENCE_RUNTIME_SANDBOX_SPEC_H_
#define RINGFENCE_RUNTIME_SANDBOX_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "platform/api/platform.h"
#include "platform/base/unique_fd.h"
#include "runtime/cli/mount_flags.h"
#include "sentry/fs/tty/termios.h"

namespace ringfence::runtime {

// `-t`: what the program's terminal starts with.
struct TerminalSpec {
  using Settings = sentry::Termios;
  Settings settings = sentry::DefaultTermios();
  sentry::WindowSize size;
};

struct VolumeSpec {
  std::string source;  // for messages and /proc/mounts
  std::string destination;
  bool read_only = false;
};

struct SandboxSpec {
  std::vector<std::string> args;  // args[0] is the command, searched in PATH if it has no '/'
  std::vector<std::string> env;   // NAME=VALUE
  std::string cwd = "/";
  bool cwd_required = false;  // else the root stands in for a cwd that does not exist
  platform::ExitlessMode exitless = platform::ExitlessMode::kAuto;
  uint64_t memory_bytes = 0;  // 0: the default
  bool strace = false;
  uint32_t uid = 0;  // the program's user, group and supplementary groups
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  uint64_t ignored_signals = 0;  // bit n - 1: the caller ignored signal n, so the program begins so
  std::vector<VolumeSpec> volumes{};
  OverlayFlag::Kind overlay = OverlayFlag::Kind::kMemory;
  uint32_t closed_streams = 0;             // bit n: the caller had descriptor n (0 to 2) closed
  std::optional<TerminalSpec> terminal{};  // none: the program has the caller's streams
};

absl::StatusOr<UniqueFd> WriteSpec(const SandboxSpec& spec);
absl::StatusOr<SandboxSpec> ReadSpec(const UniqueFd& memfd);

// `base` with each NAME=VALUE of `overrides` in place of NAME, or added at the end.
std::vector<std::string> MergeEnvironment(std::vector<std::string> base,
                                          const std::vector<std::string>& overrides);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_SPEC_H_
