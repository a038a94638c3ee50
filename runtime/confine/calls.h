// The system calls that the processes of a sandbox may make once they are set up, each line with
// the reason why it is there (arch/<cpu>/sentry_calls.cc, gofer_calls.cc).
//
// Both processes are number 1 in a pid namespace of their own and have one user id; an empty root
// and no directory but what the gofer serves bound what a path can name. What is not in a table
// ends the process. A line is added only with a reason that holds for every argument it lets
// through.
#ifndef RINGFENCE_RUNTIME_CONFINE_CALLS_H_
#define RINGFENCE_RUNTIME_CONFINE_CALLS_H_

#include <span>

#include "platform/seccomp/rule.h"

namespace ringfence::runtime {

std::span<const seccomp::Rule> SentryCalls();
std::span<const seccomp::Rule> GoferCalls();

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CONFINE_CALLS_H_
