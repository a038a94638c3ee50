#include "platform/base/log.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace ringfence {
namespace {

std::atomic<int> log_fd{-1};
std::atomic<LogFunction> log_function{nullptr};
std::atomic<int> log_minimum{kInfo};

constexpr size_t kMaxText = 1000;

// Decimal `n`, at least `width` digits.
char* AppendNumber(char* p, long n, int width) {
  char digits[24];
  char* end = std::to_chars(digits, digits + sizeof digits, n).ptr;
  for (int i = static_cast<int>(end - digits); i < width; ++i) *p++ = '0';
  return std::copy(digits, end, p);
}

char* AppendPrefix(char* p, LogLevel level) {
  struct timespec now {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  *p++ = "DIWE"[std::clamp<int>(level, kDebug, kError)];
  *p++ = ' ';
  p = AppendNumber(p, now.tv_sec, 1);
  *p++ = '.';
  p = AppendNumber(p, now.tv_nsec / 1000, 6);
  *p++ = ' ';
  p = AppendNumber(p, gettid(), 1);
  *p++ = ' ';
  return p;
}

}  // namespace

void SetLogFd(int fd, LogLevel minimum) {
  log_minimum.store(minimum, std::memory_order_relaxed);
  log_fd.store(fd, std::memory_order_relaxed);
}

void SetLogFunction(LogFunction function, LogLevel minimum) {
  log_minimum.store(minimum, std::memory_order_relaxed);
  log_function.store(function, std::memory_order_relaxed);
}

bool LogEnabled(LogLevel level) {
  const bool open = log_fd.load(std::memory_order_relaxed) >= 0 ||
                    log_function.load(std::memory_order_relaxed) != nullptr;
  return open && level >= log_minimum.load(std::memory_order_relaxed);
}

void LogLine(LogLevel level, std::string_view text) {
  const int fd = log_fd.load(std::memory_order_relaxed);
  const LogFunction function = log_function.load(std::memory_order_relaxed);
  if (fd < 0 && function == nullptr) return;
  const int saved_errno = errno;
  char line[kMaxText + 96];
  char* p = AppendPrefix(line, level);
  for (char c : text.substr(0, kMaxText)) *p++ = (c >= ' ' && c <= '~') ? c : '?';
  *p++ = '\n';
  if (fd >= 0) {
    // A log that is full or closed must not disturb the sandbox.
    ssize_t ignored = write(fd, line, p - line);
    static_cast<void>(ignored);
  } else {
    function(std::string_view(line, p - line));
  }
  errno = saved_errno;
}

}  // namespace ringfence
