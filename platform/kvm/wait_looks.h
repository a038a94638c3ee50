// WaitLooks: how long a guest that calls FUTEX_WAIT looks at the word itself, in looks of the stub,
// before the call goes to the sentry. Pure arithmetic for one context.
//
// A word that another vCPU changes meanwhile has cost no exit. One that nobody changes has cost the
// looks on top of the exit, so at most an exit's time is spent, and less and less while it is spent
// in vain: half as long after each wait that went to the sentry with none between that did not, and
// never less than a few looks, by which it finds out when waits are short again.
#ifndef RINGFENCE_PLATFORM_KVM_WAIT_LOOKS_H_
#define RINGFENCE_PLATFORM_KVM_WAIT_LOOKS_H_

#include <algorithm>
#include <cstdint>

namespace ringfence::kvm {

class WaitLooks {
 public:
  // `most`: as many as take the time of an exit; 0: guests do not look at all.
  explicit WaitLooks(uint32_t most) : most_(most), looks_(most == 0 ? 0 : Bound(most / 4)) {}

  uint32_t looks() const { return looks_; }

  // A wait goes to the sentry. `seen`: the guest's count of waits that ended while it looked; any
  // value, it is the guest's to write.
  void OnInVain(uint32_t seen) {
    if (most_ == 0) return;
    looks_ = Bound(seen != seen_ ? uint64_t{looks_} * 2 : looks_ / 2);
    seen_ = seen;
  }

 private:
  static constexpr uint32_t kLeast = 64;
  uint32_t Bound(uint64_t looks) const {
    return static_cast<uint32_t>(std::min<uint64_t>(std::max<uint64_t>(looks, kLeast), most_));
  }

  const uint32_t most_;
  uint32_t looks_;
  uint32_t seen_ = 0;
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_WAIT_LOOKS_H_
