// What is measured: workloads (what is run, how often, by whom) and runtimes (how it is started).
#ifndef RINGFENCE_BENCH_RUN_WORKLOAD_H_
#define RINGFENCE_BENCH_RUN_WORKLOAD_H_

#include <string>
#include <vector>

namespace ringfence::bench {

struct Workload {
  std::string name;       // also what bench/micro/guest calls it
  std::string unit;       // of one operation
  long native_count = 1;  // operations in one run, chosen for 0.2 to 1 s
  long sandbox_count = 1;
  std::vector<std::string> runtimes;   // by name, those that can run it
  std::vector<std::string> arguments;  // of the guest program, after the count
  // Not empty: this is run in place of the guest program, once, and timed from outside from its
  // start to its end: what a person waits for.
  std::vector<std::string> command;
};
// System calls and the like, by the guest program's own clock.
std::vector<Workload> MicroWorkloads();

// Files that the macro workloads use (inputs.h).
struct Inputs {
  std::string source;  // of C
  std::string object;  // where the compiler's output goes
  std::string data;    // kDataBytes of it
};
// Programs of the host, as people use them.
std::vector<Workload> MacroWorkloads(const Inputs& inputs);

struct Runtime {
  std::string name;                 // "native", "ringfence", "bare:exit", "runsc"
  std::vector<std::string> prefix;  // command line before the guest program
  bool sandbox = false;             // it takes the counts of sandboxes
  bool ringfence = false;           // it takes --stats
};

// Pass lines: median ratio of `runtime` to `against` for `workload`.
struct Target {
  std::string workload;
  std::string runtime;
  std::string against;
  double at_most;
};
const std::vector<Target>& Targets();

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_WORKLOAD_H_
