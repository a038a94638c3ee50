#include "platform/kvm/exitless_policy.h"

#include <algorithm>

namespace ringfence::kvm {

bool ExitlessPolicy::KeepPolling(const Window& window) {
  // Parked for want of calls: no verdict, the next burst may wake it again.
  if (window.served == 0 && window.not_served == 0) return false;
  if (mode_ == platform::ExitlessMode::kOn) return true;
  const int64_t saved = static_cast<int64_t>(window.served) * exit_ns_;
  const int64_t wasted = static_cast<int64_t>(window.not_served) * SpinNanos();
  const bool crowded = window.preempted || window.running > window.looks * (cpus_ - 1);
  const int64_t displaced = crowded ? window.end - window.start : 0;
  if (saved > wasted + displaced) {
    pause_ns_ = 0;
    return true;
  }
  // A thread that was waiting for a CPU has lost more than a window.
  const int64_t least = (window.end - window.start) * (kFirstPauseNanos / kWindowNanos);
  pause_ns_ = std::clamp(std::max(pause_ns_ * 2, least), kFirstPauseNanos, kLongestPauseNanos);
  not_before_ = window.end + pause_ns_;
  return false;
}

bool ExitlessPolicy::ShouldWake(int64_t now, int64_t burst_ns) const {
  if (!enabled()) return false;
  if (mode_ == platform::ExitlessMode::kOn) return true;
  return now >= not_before_ && burst_ns <= BurstNanos();
}

}  // namespace ringfence::kvm
