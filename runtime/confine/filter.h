// Puts the tables of calls.h in force.
#ifndef RINGFENCE_RUNTIME_CONFINE_FILTER_H_
#define RINGFENCE_RUNTIME_CONFINE_FILTER_H_

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "platform/seccomp/rule.h"
#include "runtime/control/wire.h"

namespace ringfence::runtime {

// Makes libraries look now at the files that they would look at later: the number of CPUs. Call
// while /proc and /sys are in sight.
void WarmUpLibraries();

struct FilterOptions {
  std::string_view process;  // for the report
  std::span<const seccomp::Rule> calls;
  // Instead of a death that leaves no word: a forbidden call is told to the CLI, then the process
  // ends. The call is not made either way. For --debug-log, since code that has taken over the
  // process can replace the handler and go on within what is allowed.
  bool report;
};

// For good, in every thread. `control`, which must stay, gets the report.
absl::Status FilterCalls(const FilterOptions& options, ControlSocket* control);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CONFINE_FILTER_H_
