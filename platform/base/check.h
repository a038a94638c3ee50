// Check and Fatal: for invariants of our own code only. Never for anything that a guest, a file or
// the gofer can bring about: those get an Errno.
#ifndef RINGFENCE_PLATFORM_BASE_CHECK_H_
#define RINGFENCE_PLATFORM_BASE_CHECK_H_

#include <string_view>

namespace ringfence {

// Writes "ringfence: internal error: <what> (<file>:<line>)" to stderr and to the debug log, then
// aborts. Async-signal-safe. `file` and `line` are the caller's (clang 14, which `make check` uses,
// has no std::source_location).
[[noreturn]] void Fatal(std::string_view what, const char* file = __builtin_FILE(),
                        unsigned line = __builtin_LINE());

inline void Check(bool holds, std::string_view what, const char* file = __builtin_FILE(),
                  unsigned line = __builtin_LINE()) {
  if (!holds) [[unlikely]]
    Fatal(what, file, line);
}

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_CHECK_H_
