// Files for the macro workloads, made anew for each run of the bench and the same each time.
#ifndef RINGFENCE_BENCH_RUN_INPUTS_H_
#define RINGFENCE_BENCH_RUN_INPUTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "bench/run/workload.h"

namespace ringfence::bench {

constexpr long kDataBytes = 256L << 20;

// A C file of exactly `lines` lines: functions over lists, matrices, text and arrays.
std::string SourceText(int lines);

// Makes `directory`, which the sandboxes must be able to see (not below /tmp), and the files in it.
absl::StatusOr<Inputs> MakeInputs(const std::string& directory);
void RemoveInputs(const Inputs& inputs);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_INPUTS_H_
