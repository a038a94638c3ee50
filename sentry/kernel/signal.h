// Signal queues and dispositions (signal(7), sigaction(2)). Pure data structures; who sends and
// who delivers is in kill.h and task_signals.cc.
//
// Threads: everything here is guarded by task_tree_mutex (tree_mutex.h).
#ifndef RINGFENCE_SENTRY_KERNEL_SIGNAL_H_
#define RINGFENCE_SENTRY_KERNEL_SIGNAL_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "platform/base/result.h"
#include "sentry/base/signal.h"

namespace ringfence::sentry {

inline constexpr SigSet kUnblockableSignals = SigSet::Make(SigNo::kKill, SigNo::kStop);
inline constexpr SigSet kStopSignals =
    SigSet::Make(SigNo::kStop, SigNo::kTstp, SigNo::kTtin, SigNo::kTtou);
// Sent by the faulting instruction itself; dequeued before others.
inline constexpr SigSet kSynchronousSignals =
    SigSet::Make(SigNo::kSegv, SigNo::kBus, SigNo::kIll, SigNo::kTrap, SigNo::kFpe, SigNo::kSys);

enum class DefaultAction : uint8_t { kTerminate, kCore, kStop, kContinue, kIgnore };
DefaultAction DefaultActionOf(SigNo sig);

// One queued signal's place in its receiver's RLIMIT_SIGPENDING account; given back when destroyed.
class SignalCharge {
 public:
  SignalCharge() = default;
  // EAGAIN when `*counter` has reached `limit`.
  static Result<SignalCharge> Take(uint64_t* counter, uint64_t limit);
  SignalCharge(SignalCharge&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
  SignalCharge& operator=(SignalCharge&& other) noexcept {
    std::swap(counter_, other.counter_);
    return *this;
  }
  ~SignalCharge() {
    if (counter_ != nullptr) --*counter_;
  }

 private:
  uint64_t* counter_ = nullptr;
};

struct QueuedSignal {
  SigInfo info;
  bool from_outside = false;  // sent by the operator, not by a task of the sandbox
  SignalCharge charge = {};
};

// Pending signals of a task or of a thread group. Standard signals are kept once, real-time
// signals in order with their values.
class PendingSignals {
 public:
  SigSet set() const { return set_; }
  // False when a standard signal was pending already (and is dropped).
  bool Add(QueuedSignal signal);
  // Takes the first signal in `wanted`: synchronous ones first, then the lowest number, then age.
  std::optional<QueuedSignal> Take(SigSet wanted);
  void Discard(SigSet which);
  // A timer's signal that is still queued takes up later expiries as its overrun count
  // (timer_getoverrun(2)): false when `info`'s timer has none queued.
  bool AddOverrun(const SigInfo& info);

 private:
  SigSet set_;
  std::deque<QueuedSignal> queue_;
};

// Dispositions (sighand_struct); shared by CLONE_SIGHAND.
class SignalActions {
 public:
  const SigAction& Get(SigNo sig) const { return actions_[ToInt(sig) - 1]; }
  void Set(SigNo sig, const SigAction& action) { actions_[ToInt(sig) - 1] = action; }
  std::shared_ptr<SignalActions> Clone() const { return std::make_shared<SignalActions>(*this); }
  // execve: handlers become SIG_DFL, ignored stays ignored, flags and masks are cleared.
  void ResetForExec();
  // CLONE_CLEAR_SIGHAND.
  void ResetHandlers() { ResetForExec(); }
  // Handler is SIG_IGN, or SIG_DFL and that does nothing when delivered (SIGCONT continues when
  // it is sent).
  bool IsIgnored(SigNo sig) const;

 private:
  std::array<SigAction, kNumSignals> actions_{};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_SIGNAL_H_
