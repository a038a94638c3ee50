// Interleaved rounds: A B C A B C, noisy rounds dropped and repeated.
#ifndef RINGFENCE_BENCH_RUN_MEASURE_H_
#define RINGFENCE_BENCH_RUN_MEASURE_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/run/runtime.h"
#include "bench/run/workload.h"

namespace ringfence::bench {

// Counters of a run in Ringfence by name, as `ringfence do --stats` wrote them.
using Counters = std::map<std::string, double>;

// What one run found.
struct Sample {
  double value = 0;       // in the unit of the series
  double mean = 0;        // 0 = as `value`
  double operations = 1;  // that the run did, warming up included
  // CPU time of all processes of the runtime, the program's included, per operation; kGuest:
  // without what the runtime takes to start and end.
  double cpu_ns = 0;
  std::map<double, double> quantiles;  // of single operations, by share: 0.5, 0.99
  Counters counters;
};

// What all rounds found for one workload on one runtime.
struct Series {
  std::string suite, workload, runtime;
  std::string operation;        // one operation, in words
  std::string unit = "ns";      // or "bytes"
  std::vector<Sample> samples;  // one per round kept

  std::vector<double> Values() const;
  double MedianValue() const;
  double MedianCpu() const;
  double MedianMean() const;  // 0 = the values are means, or of single operations
  // Of single operations: the median over rounds for each share.
  std::map<double, double> Quantiles() const;
  // Of the rounds' counters, each one's median.
  Counters MedianCounters() const;
};

struct Results {
  std::string host, when;
  std::vector<Runtime> runtimes;
  std::vector<Series> series;
  int dropped_rounds = 0;
  int noisy_rounds = 0;
  std::vector<std::string> notes;             // what could not be measured and why
  std::map<std::string, std::string> absent;  // runtimes that cannot be measured here, and why
  bool interrupted = false;

  const Series* Find(const std::string& workload, const std::string& runtime) const;
  // Median of the ratios formed within rounds; 0 when one of the two is missing.
  double Ratio(const std::string& workload, const std::string& a, const std::string& b) const;
};

struct Options {
  int rounds = 5;
  int peer_rounds = 3;      // of runtimes that are only compared with, at most `rounds`
  int slow_rounds = 3;      // of slow workloads, at most `rounds`; runtimes to compare with: one
  double max_steal = 0.01;  // a round in which more CPU time was stolen is repeated ...
  int max_dropped = 4;      // ... at most so often per workload, then kept and counted as noisy
  int seconds_per_run = 120;
  double guest_time = 1;  // factor on how long the guest program repeats an operation
  RuntimeOptions runtime;
  const volatile bool* stop = nullptr;  // true = end after the run that is under way
  std::function<void(const std::string&)> progress;
};

// Measures one workload on those of the runtimes that it is for, into *results. Never fails as a
// whole: a run that fails becomes a note and its runtime is left out for that workload.
void MeasureWorkload(const Options& options, const Workload& workload,
                     const std::vector<Runtime>& runtimes, Results* results);

// What bench/micro/guest printed: see there.
absl::StatusOr<Sample> ParseGuestOutput(const std::string& output);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_MEASURE_H_
