// Who runs the workloads: the host itself, Ringfence in its modes, whatever OCI runtime is there.
#ifndef RINGFENCE_BENCH_RUN_RUNTIME_H_
#define RINGFENCE_BENCH_RUN_RUNTIME_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/run/child.h"
#include "bench/run/workload.h"

namespace ringfence::bench {

enum class RuntimeKind {
  kNative,
  kBare,       // a loop of //platform/kvm:exit_bench, the bound of what is possible
  kRingfence,  // `ringfence do`, which writes its counters
  kOci,        // `RUNTIME run --bundle`
};

struct Runtime {
  std::string name;  // "native", "ringfence:exit", "bare:exit", "runsc", "runsc:kvm"
  RuntimeKind kind = RuntimeKind::kNative;
  Command prefix;   // program and flags; for kOci those before the verb
  Command on_host;  // kOci: how it runs a program of the host's own root (`runsc do`), if it can
  std::string version;      // its own first line about itself
  double start_cpu_ns = 0;  // CPU time of a start and end, all processes
  // Only compared with: measured in fewer rounds.
  bool peer() const { return kind == RuntimeKind::kOci; }
};

struct RuntimeOptions {
  std::string ringfence;  // path of the CLI
  std::string bare;       // path of exit_bench; "" = none
  Inputs inputs;
};

// What is known by that name on this machine. An error says why it cannot be measured: it is not
// installed, or its own words when it does not start a program; InvalidArgument: no such name.
absl::StatusOr<Runtime> FindRuntime(const std::string& name, const RuntimeOptions& options);
// For messages: the names that FindRuntime knows.
std::string KnownRuntimes();

// The command line that runs a program in it; index tells those apart that run at once.
// `host_root`: the program needs the host's root. `flags` are for Ringfence. Writes the bundle if
// it needs one.
struct RunSpec {
  Command program;
  bool host_root = false;
  int index = 0;
  std::vector<std::string> flags;
};
absl::StatusOr<Command> CommandOf(const Runtime& runtime, const RuntimeOptions& options,
                                  const RunSpec& spec);
// After a run that did not end well: makes the runtime forget its container.
void ForgetContainer(const Runtime& runtime, const RuntimeOptions& options, int index);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_RUNTIME_H_
