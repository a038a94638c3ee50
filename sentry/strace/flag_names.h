// Names of the constants of the Linux ABI, for strace output: "O_RDONLY|O_CLOEXEC",
// "CLOCK_REALTIME". Pure functions of numbers.
#ifndef RINGFENCE_SENTRY_STRACE_FLAG_NAMES_H_
#define RINGFENCE_SENTRY_STRACE_FLAG_NAMES_H_

#include <cstdint>
#include <string>

#include "sentry/strace/arg_kind.h"

namespace ringfence::sentry {

// The word as strace(1) prints it; unknown bits or values come in hexadecimal. `kind` is one of
// the enumerations and flag words of ArgKind; for any other the number is printed.
std::string FlagNames(ArgKind kind, uint64_t value);

// "SIGINT", "SIGRT_3" or the number.
std::string SignalName(int signo);

// "EPOLLIN|EPOLLET" and "POLLIN".
std::string EpollEventNames(uint32_t events);
std::string PollEventNames(uint32_t events);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_STRACE_FLAG_NAMES_H_
