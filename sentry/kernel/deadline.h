// Deadline: until when to wait, on which clock of the guest (clock_gettime(2)). The sandbox's
// CLOCK_MONOTONIC and CLOCK_REALTIME are the host's.
#ifndef RINGFENCE_SENTRY_KERNEL_DEADLINE_H_
#define RINGFENCE_SENTRY_KERNEL_DEADLINE_H_

#include <time.h>

#include <cstdint>
#include <limits>

#include "platform/base/result.h"
#include "sentry/vfs/stat.h"

namespace ringfence::sentry {

inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

int64_t MonotonicNow();  // ns
int64_t RealtimeNow();   // ns since the epoch
int64_t BoottimeNow();   // ns, with the time asleep

// Nanoseconds of a timespec, saturating; EINVAL when sec < 0 or nsec is not in [0, 1e9).
Result<int64_t> ToNanos(const Timespec& ts);
Timespec FromNanos(int64_t ns);

struct Deadline {
  enum class Clock : uint8_t { kNever, kMonotonic, kRealtime };
  Clock clock = Clock::kNever;
  int64_t ns = 0;

  static Deadline Never() { return {}; }
  static Deadline AtMonotonic(int64_t ns) { return {Clock::kMonotonic, ns}; }
  static Deadline AtRealtime(int64_t ns) { return {Clock::kRealtime, ns}; }
  // ns from now, at most until the end of time; negative counts as 0.
  static Deadline After(int64_t ns);

  bool never() const { return clock == Clock::kNever; }
  int64_t Remaining() const;  // ns, 0 when passed, INT64_MAX for never
  bool Passed() const { return !never() && Remaining() == 0; }
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_DEADLINE_H_
