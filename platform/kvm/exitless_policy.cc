#include "platform/kvm/exitless_policy.h"

#include <algorithm>

namespace ringfence::kvm {
namespace {

// Others that share a CPU with the service thread wait as long as they run.
constexpr int64_t kLostShare = 2;
// Posting a call and having it looked at, as a part of an exit.
constexpr int64_t kLookShare = 4;
// What windows that paid may count for later ones, and what a loss may come to: one bad window
// among good ones is no verdict.
constexpr int64_t kMostCredit = 2 * ExitlessPolicy::kWindowNanos;
constexpr int64_t kMostLoss = ExitlessPolicy::kWindowNanos / 4;

}  // namespace

bool ExitlessPolicy::KeepPolling(const Window& window) {
  const int64_t length = window.end - window.start;
  const bool all_busy = window.running > window.looks * (cpus_ - 1);
  const int64_t displaced = all_busy ? length : std::min(kLostShare * window.lost, length);
  // For want of calls: no verdict, the next burst may wake it again.
  if (window.served == 0 && window.not_served == 0 && window.punted == 0) {
    return displaced < length / 2;
  }
  if (mode_ == platform::ExitlessMode::kOn) return true;
  const int64_t look_ns = exit_ns_ / kLookShare;
  balance_ns_ += static_cast<int64_t>(window.served) * (exit_ns_ - look_ns);
  balance_ns_ -= static_cast<int64_t>(window.punted) * look_ns;
  balance_ns_ -= static_cast<int64_t>(window.not_served) * SpinNanos();
  balance_ns_ -= displaced;
  balance_ns_ = std::min(balance_ns_, kMostCredit);
  if (balance_ns_ == kMostCredit) pause_ns_ = 0;
  if (balance_ns_ > -kMostLoss) return true;
  balance_ns_ = 0;
  // A thread that was waiting for a CPU has lost more than a window.
  const int64_t least = length * (kFirstPauseNanos / kWindowNanos);
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
