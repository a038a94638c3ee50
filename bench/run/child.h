// Runs commands to their end, one or many at once; keeps what they printed and when.
//
// One thread. The process becomes the reaper of orphans (prctl(2), PR_SET_CHILD_SUBREAPER): helpers
// of a sandbox that outlive the command are ours, are counted and are ended with it.
#ifndef RINGFENCE_BENCH_RUN_CHILD_H_
#define RINGFENCE_BENCH_RUN_CHILD_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringfence::bench {

using Command = std::vector<std::string>;
using Clock = std::chrono::steady_clock;

struct ChildResult {
  std::string output;  // standard output
  Clock::time_point began;
  double wall_ns = 0;        // from `began` until its end was seen
  double first_byte_ns = 0;  // until its first byte of output was seen; 0 = none came
};

// Commands that run at the same time. Whatever still runs when it goes is killed.
class ChildSet {
 public:
  ChildSet();
  ~ChildSet();
  ChildSet(const ChildSet&) = delete;
  ChildSet& operator=(const ChildSet&) = delete;

  absl::Status Start(const Command& command);
  // Until each has printed something. An error names the command that ended before, or did not in
  // time.
  absl::Status WaitForFirstBytes(int seconds);
  // Until each has ended; results in the order of Start. An error says how one ended, with the last
  // line of its standard error, or that it took longer than `seconds`.
  absl::StatusOr<std::vector<ChildResult>> WaitForEnd(int seconds);
  // Kills all of them with all that came of them.
  void Kill();

 private:
  struct Child;
  void Read(Child& child, int* fd, std::string* to);
  // Waits for something to happen and takes note; false when the time is up.
  bool Step(Clock::time_point deadline);

  std::vector<Child> children_;
};

// One command.
absl::StatusOr<ChildResult> RunChild(const Command& command, int seconds);

// CPU time, of user and system, of all commands that have ended, with their descendants, in ns.
double ChildCpuNs();

// Processes that descend from this one.
std::vector<pid_t> Descendants();

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_CHILD_H_
