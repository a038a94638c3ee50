#include "sentry/kernel/deadline.h"

namespace ringfence::sentry {
namespace {

int64_t HostNow(clockid_t clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return int64_t{ts.tv_sec} * kNanosPerSecond + ts.tv_nsec;
}

}  // namespace

int64_t MonotonicNow() { return HostNow(CLOCK_MONOTONIC); }
int64_t RealtimeNow() { return HostNow(CLOCK_REALTIME); }
int64_t BoottimeNow() { return HostNow(CLOCK_BOOTTIME); }

Result<int64_t> ToNanos(const Timespec& ts) {
  if (ts.sec < 0 || ts.nsec < 0 || ts.nsec >= kNanosPerSecond) return Errno::kINVAL;
  int64_t ns;
  if (__builtin_mul_overflow(ts.sec, kNanosPerSecond, &ns) ||
      __builtin_add_overflow(ns, ts.nsec, &ns)) {
    return std::numeric_limits<int64_t>::max();
  }
  return ns;
}

Timespec FromNanos(int64_t ns) { return Timespec{ns / kNanosPerSecond, ns % kNanosPerSecond}; }

Deadline Deadline::After(int64_t ns) {
  int64_t at;
  if (__builtin_add_overflow(MonotonicNow(), ns < 0 ? 0 : ns, &at)) {
    at = std::numeric_limits<int64_t>::max();
  }
  return AtMonotonic(at);
}

int64_t Deadline::Remaining() const {
  if (never()) return std::numeric_limits<int64_t>::max();
  const int64_t now = clock == Clock::kMonotonic ? MonotonicNow() : RealtimeNow();
  return ns > now ? ns - now : 0;
}

}  // namespace ringfence::sentry
