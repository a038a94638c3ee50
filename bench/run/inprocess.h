// Google Benchmark programs: pieces of the sentry in this process, without a sandbox around them.
#ifndef RINGFENCE_BENCH_RUN_INPROCESS_H_
#define RINGFENCE_BENCH_RUN_INPROCESS_H_

#include <string>
#include <vector>

#include "bench/run/measure.h"

namespace ringfence::bench {

// Runs each program and adds a series per benchmark: suite "inprocess", runtime "in process".
void MeasureInProcess(const Options& options, const std::vector<std::string>& programs,
                      Results* results);

// The series in what a program printed for --benchmark_format=json.
absl::StatusOr<std::vector<Series>> ParseGoogleBenchmark(const std::string& json);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_INPROCESS_H_
