// What is measured: the workloads of each suite, as data.
#ifndef RINGFENCE_BENCH_RUN_WORKLOAD_H_
#define RINGFENCE_BENCH_RUN_WORKLOAD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ringfence::bench {

// Which clock says how long an operation took.
enum class Timing {
  kGuest,      // the guest program's own: bench/micro/guest, which repeats the operation
  kWhole,      // ours, from before the command is started to its end: what a person waits for
  kFirstByte,  // ours, to its first byte of output
};

struct Workload {
  std::string suite;  // "micro", "macro", "startup"
  std::string name;   // for kGuest also what bench/micro/guest calls it
  std::string unit;   // one operation, in words
  Timing timing = Timing::kGuest;
  int milliseconds = 80;  // kGuest: how long the guest repeats the operation, after warming up
  std::vector<std::string> words;  // kGuest: arguments after the time; else the command
  // Needs programs and files of the host, not only the guest program.
  bool host_root = false;
  int copies = 1;      // so many commands at once; the time of the last counts
  bool evict = false;  // what is started is dropped from the page cache before
  bool slow = false;   // fewer rounds, and one of runtimes that are only compared with
  std::vector<std::string> ringfence_flags;  // of `ringfence do`
  // Empty: whichever runtimes the suite is run with. Else these in addition ("bare:exit").
  std::vector<std::string> bare;
  // Not empty: only these of the chosen runtimes.
  std::vector<std::string> only;
};

// Files that the macro workloads use (inputs.h).
struct Inputs {
  std::string directory;  // where all of it is, and what programs write goes
  std::string guest;      // the guest program
  std::string first;      // a program that writes one byte and ends
  std::string source;     // of C
  std::string object;     // where the compiler's output goes
  std::string data;       // kDataBytes of it
  std::string tree;       // a source tree of C with a Makefile
};

// System calls and the like, by the guest program's own clock.
std::vector<Workload> MicroWorkloads();
// Programs of the host, as people use them.
std::vector<Workload> MacroWorkloads(const Inputs& inputs);
// From the command line to the first instruction of a program, and to its end.
std::vector<Workload> StartupWorkloads(const Inputs& inputs);

// The runtimes that a suite is run with by default.
std::vector<std::string> DefaultRuntimes(const std::string& suite);
// "micro", "macro", "startup", "density", "inprocess".
const std::vector<std::string>& Suites();

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_WORKLOAD_H_
