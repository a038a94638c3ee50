// The debug log: leveled lines to one file descriptor, or nowhere.
//
//   Log(kWarning, "slot ", n, " refused: ", ErrnoName(e));
//
// Arguments are those of absl::StrCat and are evaluated always, formatted only when the level is
// on. A line is one write(2), so lines of several threads do not mix. Bytes that are not printable
// ASCII become '?': the text may come from the guest. SetLogFd or SetLogFunction is called once,
// before threads start; a log that cannot be written is ignored. Not for signal handlers (StrCat
// allocates); LogLine itself does not allocate.
#ifndef RINGFENCE_PLATFORM_BASE_LOG_H_
#define RINGFENCE_PLATFORM_BASE_LOG_H_

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace ringfence {

enum LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// Logs from `minimum` up to `fd` (not owned); fd -1 turns logging off, which is the default.
void SetLogFd(int fd, LogLevel minimum = kInfo);
// Calls `function` with each line and its line feed, on any thread, in place of a descriptor;
// nullptr turns that off.
using LogFunction = void (*)(std::string_view line);
void SetLogFunction(LogFunction function, LogLevel minimum = kInfo);
bool LogEnabled(LogLevel level);

// Writes "<level> <seconds since boot> <host tid> <text>\n"; text beyond 1000 bytes is cut.
// Async-signal-safe with a descriptor.
void LogLine(LogLevel level, std::string_view text);

namespace log_internal {
// Debian's absl::string_view is not std::string_view, so StrCat does not know the latter.
template <typename T>
const T& Arg(const T& value) {
  return value;
}
inline absl::string_view Arg(const std::string_view& text) { return {text.data(), text.size()}; }
}  // namespace log_internal

template <typename... Args>
void Log(LogLevel level, const Args&... args) {
  if (!LogEnabled(level)) return;
  std::string text = absl::StrCat(log_internal::Arg(args)...);
  LogLine(level, std::string_view(text.data(), text.size()));
}

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_LOG_H_
