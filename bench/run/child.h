// Runs a command to its end and keeps what it printed.
#ifndef RINGFENCE_BENCH_RUN_CHILD_H_
#define RINGFENCE_BENCH_RUN_CHILD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ringfence::bench {

// Standard output of the command. An error names the command and says how it ended or that it took
// longer than `seconds` (it is killed then, with its process group).
absl::StatusOr<std::string> RunChild(const std::vector<std::string>& command, int seconds);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_CHILD_H_
