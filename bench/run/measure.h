// Interleaved rounds: A B C A B C, noisy rounds dropped and repeated.
#ifndef RINGFENCE_BENCH_RUN_MEASURE_H_
#define RINGFENCE_BENCH_RUN_MEASURE_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/run/workload.h"

namespace ringfence::bench {

struct Options {
  int rounds = 7;
  double max_steal = 0.01;  // a round in which more CPU time was stolen is repeated ...
  int max_dropped = 10;     // ... at most so often per workload, then kept and counted as noisy
  int seconds_per_run = 120;
  std::string guest;  // path of bench/micro/guest
  std::string bare;   // path of //platform/kvm:exit_bench; "" leaves bare loops out
  std::vector<Runtime> runtimes;
  std::vector<Workload> workloads;
};

// Counters of the last run of a sandboxed series, by name, as `ringfence do --stats` wrote them.
using Counters = std::map<std::string, double>;

struct Series {
  std::string workload;
  std::string runtime;
  std::vector<double> ns;  // per operation, one value per round kept
  Counters counters;
};

struct Results {
  std::string host;
  std::vector<Series> series;
  int dropped_rounds = 0;
  int noisy_rounds = 0;
  std::vector<std::string> notes;   // what could not be measured and why
  std::vector<std::string> absent;  // runtimes that are not on this machine

  const Series* Find(const std::string& workload, const std::string& runtime) const;
  // Median of the ratios formed within rounds; 0 when one of the two is missing.
  double Ratio(const std::string& workload, const std::string& a, const std::string& b) const;
};

// `progress` is told about each step. Never fails as a whole: a run that fails becomes a note and
// its runtime is left out for that workload.
Results Measure(const Options& options, const std::function<void(const std::string&)>& progress);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_MEASURE_H_
