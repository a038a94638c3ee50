#include "sentry/loader/script.h"

namespace ringfence::sentry {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

}  // namespace

Result<ScriptLine> ParseScript(std::string_view header) {
  if (header.size() != kExecHeaderSize || header.substr(0, 2) != "#!") return Errno::kNOEXEC;
  std::string_view line = header.substr(2);
  const size_t newline = line.find('\n');
  if (newline != std::string_view::npos) {
    line = line.substr(0, newline);
  } else {
    // Cut off by the buffer: fine if at least the interpreter's name ends inside it.
    const size_t name = line.find_first_not_of(" \t");
    if (name == std::string_view::npos) return Errno::kNOEXEC;
    const std::string_view ends(" \t\0", 3);
    if (line.find_first_of(ends, name) == std::string_view::npos) return Errno::kNOEXEC;
  }
  line = line.substr(0, line.find('\0'));
  while (!line.empty() && IsBlank(line.back())) line.remove_suffix(1);
  while (!line.empty() && IsBlank(line.front())) line.remove_prefix(1);
  if (line.empty()) return Errno::kNOEXEC;

  ScriptLine script;
  const size_t end = line.find_first_of(" \t");
  script.interpreter = std::string(line.substr(0, end));
  if (end == std::string_view::npos) return script;
  const size_t argument = line.find_first_not_of(" \t", end);
  if (argument != std::string_view::npos) script.argument = std::string(line.substr(argument));
  return script;
}

}  // namespace ringfence::sentry
