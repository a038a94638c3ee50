// ExitlessPolicy: when is a polling service thread worth its CPU time? Pure arithmetic on times
// that the callers measure; no clocks, no threads, so that tests can play any history.
//
// Costs are compared as they are measured on this host; the number of vCPUs decides nothing alone:
//   - a call that exits costs exit_ns (measured at start);
//   - a call that is posted and not served in time costs its spin on top of the exit, one that the
//     service thread cannot answer (it would block) a quarter of an exit;
//   - while a core is idle anyway, polling costs nobody anything. When others had the CPU on which
//     the service thread polls, they have waited about as long as they ran: twice that is lost.
//     When guests alone keep all CPUs busy (they may be waiting for it right now), all of its time
//     is work displaced.
//
// The service thread asks at the end of every window (about 1 ms) whether to go on; vCPU threads
// ask at calls that exit whether to wake it. Gains and losses of the windows add up; when more was
// lost than a quarter of a window there is a pause, which doubles as long as polling does not pay,
// so the loss is bounded.
#ifndef RINGFENCE_PLATFORM_KVM_EXITLESS_POLICY_H_
#define RINGFENCE_PLATFORM_KVM_EXITLESS_POLICY_H_

#include <algorithm>
#include <cstdint>

#include "platform/api/platform.h"

namespace ringfence::kvm {

class ExitlessPolicy {
 public:
  static constexpr int64_t kWindowNanos = 1'000'000;
  static constexpr int64_t kFirstPauseNanos = 5'000'000;
  static constexpr int64_t kLongestPauseNanos = 640'000'000;
  // Calls in a row that exit, for waking to be worth it.
  static constexpr unsigned kBurstCalls = 6;

  ExitlessPolicy(platform::ExitlessMode mode, unsigned cpus, int64_t exit_ns)
      : mode_(mode), cpus_(cpus), exit_ns_(exit_ns) {}

  bool enabled() const {
    return mode_ == platform::ExitlessMode::kOn ||
           (mode_ == platform::ExitlessMode::kAuto && cpus_ >= 2);
  }
  // How long a posted call may wait before it is withdrawn: as long as an exit takes, so that a
  // wrong guess at most doubles the cost.
  int64_t SpinNanos() const { return exit_ns_; }

  // How long the calls may take that wake it: exits must be a fifth of the time, so that a program
  // that reads a file by large blocks is served, too, where an exit is expensive.
  int64_t BurstNanos() const {
    constexpr int64_t kLeast = 2'000'000;
    return std::max(kLeast, 5 * int64_t{kBurstCalls} * exit_ns_);
  }

  // Polling without a single call before the service thread parks, while nobody else wants the CPU:
  // several times what the calls may take that would wake it again, each of which exits.
  int64_t IdleNanos() const { return 4 * BurstNanos(); }

  // Calls in a row that nobody served, after which guests stop posting at once: they have lost a
  // window. The service thread may be waiting for a CPU and cannot say so itself.
  uint64_t MaxUnserved() const {
    constexpr int64_t kLeast = 4;
    return static_cast<uint64_t>(std::max(kLeast, kWindowNanos / std::max<int64_t>(exit_ns_, 1)));
  }

  struct Window {
    int64_t start;  // any clock, ns
    int64_t end;
    uint64_t served;       // calls answered
    uint64_t not_served;   // withdrawn by guests
    int64_t lost;          // ns that others had the service thread's CPU, taken from it
    uint64_t looks = 1;    // at all vCPUs
    uint64_t running = 0;  // vCPUs found in the guest, summed over the looks
    uint64_t punted = 0;   // calls that exited since they would have blocked
  };
  // At the end of a window of the service thread: true = keep polling.
  bool KeepPolling(const Window& window);

  // At the kBurstCalls-th call in a row that exited, `burst_ns` after the first.
  bool ShouldWake(int64_t now, int64_t burst_ns) const;

 private:
  const platform::ExitlessMode mode_;
  const unsigned cpus_;
  const int64_t exit_ns_;
  int64_t balance_ns_ = 0;  // gains less losses since the latest verdict
  int64_t pause_ns_ = 0;    // of the latest loss, 0 when polling paid since
  int64_t not_before_ = 0;  // no waking until then
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_EXITLESS_POLICY_H_
