#include "sentry/kernel/sleeper.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ringfence::sentry {
namespace {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

// False at the deadline; true otherwise, also for spurious wake-ups.
bool HostFutexWait(std::atomic<uint32_t>* word, uint32_t expected, const Deadline& deadline) {
  int op = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG;
  if (deadline.clock == Deadline::Clock::kRealtime) op |= FUTEX_CLOCK_REALTIME;
  struct timespec ts;
  ts.tv_sec = deadline.ns / kNanosPerSecond;
  ts.tv_nsec = deadline.ns % kNanosPerSecond;
  const long rc = syscall(SYS_futex, word, op, expected, deadline.never() ? nullptr : &ts, nullptr,
                          FUTEX_BITSET_MATCH_ANY);
  return rc == 0 || errno != ETIMEDOUT;
}

}  // namespace

void Sleeper::Wake() {
  if (state_.exchange(kWoken) == kAsleep) {
    syscall(SYS_futex, &state_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
  }
}

bool Sleeper::Sleep(const Deadline& deadline) {
  uint32_t found = kIdle;
  if (!state_.compare_exchange_strong(found, kAsleep)) {
    state_.store(kIdle);
    return true;
  }
  // A deadline before the epoch is one that the host's futex would refuse.
  bool in_time = deadline.never() || deadline.ns > 0;
  while (in_time && state_.load() == kAsleep) {
    in_time = HostFutexWait(&state_, kAsleep, deadline);
  }
  return state_.exchange(kIdle) == kWoken;
}

}  // namespace ringfence::sentry
