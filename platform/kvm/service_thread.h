// ServiceThread: answers calls that running guests have posted, on a core of its own if there is
// one. One per platform, started with the first context that wants it.
//
// It polls the gates of all vCPUs; after ExitlessPolicy's idle time without a call it parks, and
// `active()` turns false so that guests do not post in vain. A vCPU thread that sees a burst of
// calls exit wakes it.
//
// Threads: Register and Start under the pool's creation of vCPUs (one at a time); the rest any.
#ifndef RINGFENCE_PLATFORM_KVM_SERVICE_THREAD_H_
#define RINGFENCE_PLATFORM_KVM_SERVICE_THREAD_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/kvm/call_gate.h"
#include "platform/kvm/exitless_policy.h"
#include "platform/kvm/stats.h"

namespace ringfence::kvm {

class ServiceThread {
 public:
  // How long it leaves the gates alone after an answer (measured: less costs 60 ns a call, more as
  // much as it is more).
  static constexpr int64_t kTurnNanos = 40;

  // `turn_spins`: as many PAUSEs as make kTurnNanos. `stats` outlives the object.
  ServiceThread(const ExitlessPolicy& policy, unsigned max_vcpus, uint32_t spin_limit,
                uint32_t turn_spins, Stats* stats);
  // Ends the thread; no gate may be open.
  ~ServiceThread();

  bool enabled() const { return enabled_; }
  // Guests should post their calls.
  bool active() const { return active_.load(std::memory_order_relaxed); }
  // For CallPage::spin_limit.
  uint32_t spin_limit() const { return spin_limit_; }

  // `gate` outlives the thread.
  void Register(CallGate* gate);

  // A vCPU's calls that exited although they might have been served.
  struct Burst {
    unsigned calls = 0;
    int64_t start = 0;
  };
  // Counts one and wakes the thread when it is time to; cheap otherwise.
  void OnExitedCall(Burst* burst);
  // A call was posted and withdrawn. Too many in a row: guests stop posting.
  void OnNotServed();

 private:
  void Main();
  // Polls until the policy says no.
  void Poll();
  // One look at every gate, added to the window. Was there a call?
  bool Sweep(ExitlessPolicy::Window* window);
  void TryServe(CallGate& gate, ExitlessPolicy::Window* window);
  // Tells guests that run at the moment not to wait for this thread.
  void StopPosting();

  const bool enabled_;
  const uint32_t spin_limit_;
  const uint32_t turn_spins_;
  const int64_t idle_ns_;
  const uint64_t max_unserved_;
  const bool whole_stores_;
  Stats* const stats_;
  std::vector<std::atomic<CallGate*>> gates_;
  std::atomic<uint32_t> gate_count_{0};
  std::atomic<bool> active_{false};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> not_served_{0};
  std::atomic<uint64_t> not_served_in_a_row_{0};

  absl::Mutex mu_;
  ExitlessPolicy policy_ ABSL_GUARDED_BY(mu_);
  bool wanted_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_SERVICE_THREAD_H_
