#include "bench/run/runtime.h"

#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "bench/run/oci.h"

namespace ringfence::bench {
namespace {

constexpr int kProbeSeconds = 30;

// Names of OCI runtimes, and the programs that go by them.
struct Known {
  const char* name;
  std::vector<const char*> programs;
};
const std::vector<Known>& KnownOci() {
  static const std::vector<Known> known = {
      {"runc", {"runc"}},
      {"crun", {"crun"}},
      {"runsc", {"runsc"}},
      {"youki", {"youki"}},
      {"kata", {"kata-runtime", "kata"}},
  };
  return known;
}

// Where a program is, by PATH; "" = nowhere.
std::string FindProgram(const std::string& name) {
  if (absl::StrContains(name, '/')) return access(name.c_str(), X_OK) == 0 ? name : "";
  const char* const path = getenv("PATH");
  for (absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    std::string candidate = absl::StrCat(folder, "/", name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string VersionOf(const std::string& program) {
  const absl::StatusOr<ChildResult> result = RunChild({program, "--version"}, kProbeSeconds);
  return result.ok() ? FirstLine(result->output) : "";
}

// runsc starts with its own defaults on most hosts. Where it may not make cgroups or has no
// hardware to build on, these are the flags it needs; `platform` is what the user asked for.
std::vector<Command> RunscFlags(const std::string& platform) {
  const Command alone = {"--network=none", "--ignore-cgroups"};
  std::vector<Command> tries = {{}, alone};
  if (platform.empty()) {
    tries.push_back({"--platform=ptrace", "--network=none", "--ignore-cgroups"});
    return tries;
  }
  for (Command& flags : tries) flags.insert(flags.begin(), "--platform=" + platform);
  return tries;
}

std::string ContainerId(int index) {
  return absl::StrCat("ringfence-bench-", getpid(), "-", index);
}

std::string StateDirectory(const Inputs& inputs) { return inputs.directory + "/state"; }

// Does it start a program and see it end? Takes the CPU time of that, too.
absl::Status Probe(Runtime& runtime, const RuntimeOptions& options) {
  const absl::StatusOr<Command> command =
      CommandOf(runtime, options, {{options.inputs.first}, false, 0, {}});
  if (!command.ok()) return command.status();
  const double cpu_before = ChildCpuNs();
  const absl::StatusOr<ChildResult> result = RunChild(*command, kProbeSeconds);
  runtime.start_cpu_ns = ChildCpuNs() - cpu_before;
  if (result.ok()) return absl::OkStatus();
  ForgetContainer(runtime, options, 0);
  return absl::InternalError(absl::StrCat("does not start: ", result.status().message()));
}

absl::StatusOr<Runtime> FindOci(const std::string& name, const RuntimeOptions& options) {
  const std::vector<std::string> parts = absl::StrSplit(name, absl::MaxSplits(':', 1));
  const std::string variant = parts.size() == 2 ? parts[1] : "";
  for (const Known& known : KnownOci()) {
    if (known.name != parts[0]) continue;
    std::string program;
    for (const char* candidate : known.programs) {
      if (program.empty()) program = FindProgram(candidate);
    }
    if (program.empty()) return absl::NotFoundError("not installed");
    Runtime runtime{name, RuntimeKind::kOci, {program}, {}, VersionOf(program), 0};
    if (parts[0] != "runsc") {
      const absl::Status works = Probe(runtime, options);
      if (!works.ok()) return works;
      return runtime;
    }
    absl::Status last;
    for (const Command& flags : RunscFlags(variant)) {
      runtime.prefix = {program};
      runtime.prefix.insert(runtime.prefix.end(), flags.begin(), flags.end());
      last = Probe(runtime, options);
      if (!last.ok()) continue;
      runtime.on_host = runtime.prefix;
      runtime.on_host.push_back("do");
      if (!flags.empty()) absl::StrAppend(&runtime.version, " ", absl::StrJoin(flags, " "));
      return runtime;
    }
    return last;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no runtime is called ", name, "; known: ", KnownRuntimes()));
}

}  // namespace

std::string KnownRuntimes() {
  std::string names = "native, ringfence (exitless), ringfence:auto, ringfence:exit";
  for (const Known& known : KnownOci()) absl::StrAppend(&names, ", ", known.name);
  return names + ", runsc:PLATFORM";
}

absl::StatusOr<Runtime> FindRuntime(const std::string& name, const RuntimeOptions& options) {
  if (name == "native") return Runtime{name, RuntimeKind::kNative, {}, {}, "", 0};
  if (absl::StartsWith(name, "bare:")) {
    if (options.bare.empty()) return absl::NotFoundError("exit_bench was not given (--bare)");
    const std::string loop = "bare-" + name.substr(5);
    return Runtime{name, RuntimeKind::kBare, {options.bare, loop}, {}, "", 0};
  }
  const std::string& cli = options.ringfence;
  Runtime runtime{name, RuntimeKind::kRingfence, {}, {}, "", 0};
  if (name == "ringfence") runtime.prefix = {cli, "do", "--exitless=on"};
  if (name == "ringfence:auto") runtime.prefix = {cli, "do"};
  if (name == "ringfence:exit") runtime.prefix = {cli, "do", "--exitless=off"};
  if (runtime.prefix.empty()) return FindOci(name, options);
  if (FindProgram(cli).empty()) {
    return absl::NotFoundError(absl::StrCat("no program ", cli, " (--ringfence)"));
  }
  const absl::Status works = Probe(runtime, options);
  if (!works.ok()) return works;
  return runtime;
}

absl::StatusOr<Command> CommandOf(const Runtime& runtime, const RuntimeOptions& options,
                                  const RunSpec& spec) {
  Command command = runtime.prefix;
  const auto append = [&](const Command& more) {
    command.insert(command.end(), more.begin(), more.end());
  };
  if (runtime.kind == RuntimeKind::kBare) return command;
  if (runtime.kind == RuntimeKind::kRingfence) {
    append(spec.flags);
    append({"--"});
  }
  if (runtime.kind != RuntimeKind::kOci) {
    append(spec.program);
    return command;
  }
  if (spec.host_root && !runtime.on_host.empty()) {
    command = runtime.on_host;
    append(spec.program);
    return command;
  }
  // In a bundle the paths are the host's own, so that a command means the same everywhere.
  BundleSpec bundle;
  bundle.directory = absl::StrCat(options.inputs.directory, "/bundle-", spec.index);
  bundle.root = options.inputs.directory + "/root";
  bundle.arguments = spec.program;
  bundle.binds = HostBinds();
  bundle.binds.push_back(options.inputs.directory);
  const absl::Status written = WriteBundle(bundle);
  if (!written.ok()) return written;
  append({"--root", StateDirectory(options.inputs), "run", "--bundle", bundle.directory,
          ContainerId(spec.index)});
  return command;
}

void ForgetContainer(const Runtime& runtime, const RuntimeOptions& options, int index) {
  if (runtime.kind != RuntimeKind::kOci) return;
  const std::string state = StateDirectory(options.inputs);
  const std::string id = ContainerId(index);
  Command command = runtime.prefix;
  for (const std::string& word :
       {std::string("--root"), state, std::string("delete"), std::string("--force"), id}) {
    command.push_back(word);
  }
  // It may be gone already.
  static_cast<void>(RunChild(command, kProbeSeconds));
}

}  // namespace ringfence::bench
