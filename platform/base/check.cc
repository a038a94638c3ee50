#include "platform/base/check.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "platform/base/log.h"

namespace ringfence {
namespace {

// Appends as much of `text` as fits and keeps one byte for the newline.
char* Append(char* p, char* end, std::string_view text) {
  const size_t n = std::min<size_t>(text.size(), end - p - 1);
  return std::copy_n(text.data(), n, p);
}

}  // namespace

void Fatal(std::string_view what, const char* file, unsigned line_number) {
  char line[1024];
  char* const end = line + sizeof line;
  char digits[16];
  char* digits_end = std::to_chars(digits, digits + sizeof digits, line_number).ptr;
  char* p = Append(line, end, "ringfence: internal error: ");
  p = Append(p, end, what);
  p = Append(p, end, " (");
  p = Append(p, end, file);
  p = Append(p, end, ":");
  p = Append(p, end, std::string_view(digits, digits_end - digits));
  p = Append(p, end, ")");
  LogLine(kError, std::string_view(line, p - line));
  *p++ = '\n';
  ssize_t ignored = write(STDERR_FILENO, line, p - line);
  static_cast<void>(ignored);
  std::abort();
}

}  // namespace ringfence
