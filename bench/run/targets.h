// Pass lines, as data, and what a run says about them.
#ifndef RINGFENCE_BENCH_RUN_TARGETS_H_
#define RINGFENCE_BENCH_RUN_TARGETS_H_

#include <string>
#include <vector>

#include "bench/run/measure.h"

namespace ringfence::bench {

enum class Figure {
  kRatio,     // median over rounds of the ratio to `against`
  kNs,        // median ns
  kBytes,     // median bytes
  kExitFree,  // ExitFreeShare
};
enum class Bound { kAtMost, kAtLeast, kReported };

struct Target {
  std::string what;  // in words
  std::string workload, runtime;
  Figure figure = Figure::kRatio;
  Bound bound = Bound::kAtMost;
  double limit = 0;
  std::string against;  // kRatio: a runtime, for the same workload
};

// What this project wants to reach on a host with two cores and KVM without hardware
// virtualisation.
const std::vector<Target>& Targets();

enum class Verdict { kMet, kMissed, kReported, kNotMeasured };

struct Outcome {
  const Target* target;
  Verdict verdict;
  double value = 0;
  std::string figure;  // "1.25x", "81 us", "94.1%"
  std::string limit;   // "at most 1.4x native"
  std::string why;     // kNotMeasured: the reason
};
// For each target. Those whose suite was not run are left out; not measured is never met.
std::vector<Outcome> Judge(const Results& results, const std::vector<std::string>& suites);

std::string VerdictText(Verdict verdict);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_TARGETS_H_
