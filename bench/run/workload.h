// What is measured: workloads (a name and a count for bench/micro/guest) and runtimes (how the
// guest program is started).
#ifndef RINGFENCE_BENCH_RUN_WORKLOAD_H_
#define RINGFENCE_BENCH_RUN_WORKLOAD_H_

#include <string>
#include <vector>

namespace ringfence::bench {

struct Workload {
  std::string name;
  std::string unit;   // of one operation
  long native_count;  // operations in one run, chosen for 0.2 to 1 s
  long sandbox_count;
};
const std::vector<Workload>& MicroWorkloads();

struct Runtime {
  std::string name;                 // "native", "ringfence", "ringfence:exit", "bare"
  std::vector<std::string> prefix;  // command line before the guest program
  bool sandbox = false;
};

// Pass lines of docs/performance.md: median ratio of `runtime` to `against` for `workload`.
struct Target {
  std::string workload;
  std::string runtime;
  std::string against;
  double at_most;
};
const std::vector<Target>& Targets();

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_WORKLOAD_H_
