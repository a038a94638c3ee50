// Check and Fatal: for invariants of our own code only. Never for anything that a guest, a file or
// the gofer can bring about: those get an Errno.
#ifndef RINGFENCE_PLATFORM_BASE_CHECK_H_
#define RINGFENCE_PLATFORM_BASE_CHECK_H_

#include <source_location>
#include <string_view>

namespace ringfence {

// Writes "ringfence: internal error: <what> (<file>:<line>)" to stderr and to the debug log, then
// aborts. Async-signal-safe.
[[noreturn]] void Fatal(std::string_view what,
                        std::source_location where = std::source_location::current());

inline void Check(bool holds, std::string_view what,
                  std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    Fatal(what, where);
}

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_CHECK_H_
