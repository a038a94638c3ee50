// Sleeper: how a task's host thread sleeps and is woken; a binary semaphore on a host futex.
//
// Sleep consumes a wake-up that came before it, so "register, try, sleep" loses none. A wake-up
// left over from an earlier wait only costs one more turn of the caller's loop.
// A sleeping thread costs no CPU. Threads: Sleep by the owner, Wake by any (takes no lock).
#ifndef RINGFENCE_SENTRY_KERNEL_SLEEPER_H_
#define RINGFENCE_SENTRY_KERNEL_SLEEPER_H_

#include <atomic>
#include <cstdint>

#include "sentry/kernel/deadline.h"

namespace ringfence::sentry {

class Sleeper {
 public:
  void Wake();
  // True when woken (the wake-up is consumed), false at the deadline.
  bool Sleep(const Deadline& deadline);

 private:
  static constexpr uint32_t kIdle = 0, kWoken = 1, kAsleep = 2;
  std::atomic<uint32_t> state_{kIdle};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_SLEEPER_H_
