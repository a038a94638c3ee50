// Files for the workloads, made anew for each run of the bench and the same each time.
#ifndef RINGFENCE_BENCH_RUN_INPUTS_H_
#define RINGFENCE_BENCH_RUN_INPUTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "bench/run/workload.h"

namespace ringfence::bench {

constexpr long kDataBytes = 256L << 20;

// A C file of exactly `lines` lines: functions over lists, matrices, text and arrays.
std::string SourceText(int lines);

// What the inputs are made from.
struct Sources {
  std::string guest;  // bench/micro/guest
  std::string first;  // bench/micro/first
  std::string tree;   // a directory of C files to be built; "" = generated ones
  bool data = true;   // Inputs::data is needed
};

// A Makefile that compiles every C file below it and puts the objects into one archive.
std::string MakefileText();

// Makes a directory of its own in `directory`, which the sandboxes must be able to see (not below
// /tmp), and the files in it. RemoveInputs removes it.
absl::StatusOr<Inputs> MakeInputs(const std::string& directory, const Sources& sources);
void RemoveInputs(const Inputs& inputs);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_INPUTS_H_
