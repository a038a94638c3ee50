// Conversions between nanoseconds and the time structures of the ABI.
#ifndef RINGFENCE_SENTRY_SYSCALLS_TIME_ABI_H_
#define RINGFENCE_SENTRY_SYSCALLS_TIME_ABI_H_

#include <limits>

#include "sentry/kernel/clock_timer.h"
#include "sentry/kernel/deadline.h"
#include "sentry/kernel/limits.h"
#include "sentry/syscalls/guest_abi.h"

namespace ringfence::sentry {

inline GuestTimeval ToTimeval(int64_t ns) {
  return {ns / kNanosPerSecond, ns % kNanosPerSecond / 1000};
}

// EINVAL when out of range; saturates.
inline Result<int64_t> TimevalToNanos(const GuestTimeval& t) {
  if (t.usec < 0 || t.usec >= 1000000) return Errno::kINVAL;
  return ToNanos(Timespec{t.sec, t.usec * 1000});
}

inline int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::numeric_limits<int64_t>::max();
  return sum;
}

inline GuestRusage ToGuestRusage(const Rusage& usage) {
  GuestRusage out = {};
  out.utime = ToTimeval(usage.user_ns);
  out.stime = ToTimeval(usage.system_ns);
  out.maxrss = static_cast<int64_t>(usage.max_rss_bytes / 1024);
  out.minflt = static_cast<int64_t>(usage.minor_faults);
  out.majflt = static_cast<int64_t>(usage.major_faults);
  out.inblock = static_cast<int64_t>(usage.in_blocks);
  out.oublock = static_cast<int64_t>(usage.out_blocks);
  out.nvcsw = static_cast<int64_t>(usage.voluntary_switches);
  out.nivcsw = static_cast<int64_t>(usage.involuntary_switches);
  return out;
}

inline GuestItimerspec ToItimerspec(const TimerValue& value) {
  return {FromNanos(value.interval_ns), FromNanos(value.value_ns)};
}

// EINVAL for times that are none.
inline Result<TimerValue> ToTimerValue(const GuestItimerspec& spec) {
  const int64_t value = TRY(ToNanos(spec.value));
  return TimerValue{.value_ns = value, .interval_ns = TRY(ToNanos(spec.interval))};
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_TIME_ABI_H_
