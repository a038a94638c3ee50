// WaitLooks: how long a guest that calls FUTEX_WAIT looks at the word itself, in looks of the stub,
// before the call goes to the sentry. Pure arithmetic for one context.
//
// A word that another vCPU changes meanwhile has cost no exit, and neither has the wake-up. One
// that nobody changes has cost the looks on top of the exit. So a guest looks for as long as the
// way through the sentry takes (who would change the word may still be on that way) while its waits
// are short, that way included. After a long wait it looks a few times only; and when it has looked
// for long several times with nothing to show for it (the other thread may need this very CPU), it
// does so only now and then.
#ifndef RINGFENCE_PLATFORM_KVM_WAIT_LOOKS_H_
#define RINGFENCE_PLATFORM_KVM_WAIT_LOOKS_H_

#include <algorithm>
#include <cstdint>

namespace ringfence::kvm {

class WaitLooks {
 public:
  // In times of an exit. A wake-up by way of the sentry: an exit of each side and the start of a
  // thread of the host, which takes about as long.
  static constexpr uint32_t kWayExits = 3;
  static constexpr int64_t kShortWaitExits = 8;
  static constexpr uint32_t kLeast = 64;
  // Long looks in vain before a pause, and short waits that a pause lasts; it doubles.
  static constexpr uint32_t kTries = 4;
  static constexpr uint32_t kFirstPause = 16;
  static constexpr uint32_t kLongestPause = 256;

  // `per_exit`: as many as take `exit_ns`, the time of an exit; 0: guests do not look at all.
  WaitLooks(uint32_t per_exit, int64_t exit_ns)
      : most_(per_exit * kWayExits),
        least_(std::min(most_, kLeast)),
        short_ns_(kShortWaitExits * exit_ns) {}

  uint32_t looks() const { return long_ ? most_ : least_; }

  // A guest had looked in vain and was back after `ns`. `seen`: its count of waits that ended while
  // it looked; the guest can write it, so any value.
  void OnWaited(int64_t ns, uint32_t seen);

 private:
  const uint32_t most_;
  const uint32_t least_;
  const int64_t short_ns_;
  bool long_ = true;
  uint32_t seen_ = 0;
  uint32_t in_vain_ = 0;  // long looks in a row
  uint32_t pause_ = 0;    // short waits before the next long look
  uint32_t next_pause_ = kFirstPause;
};

inline void WaitLooks::OnWaited(int64_t ns, uint32_t seen) {
  if (seen != seen_) {
    seen_ = seen;
    in_vain_ = 0;
    pause_ = 0;
    next_pause_ = kFirstPause;
  }
  if (ns > short_ns_) {
    long_ = false;
    return;
  }
  if (pause_ > 0) {
    long_ = --pause_ == 0;
    return;
  }
  if (long_ && ++in_vain_ == kTries) {
    in_vain_ = 0;
    pause_ = next_pause_;
    next_pause_ = std::min(2 * next_pause_, kLongestPause);
  }
  long_ = pause_ == 0;
}

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_WAIT_LOOKS_H_
