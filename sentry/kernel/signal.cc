#include "sentry/kernel/signal.h"

#include <algorithm>
#include <limits>

namespace ringfence::sentry {

DefaultAction DefaultActionOf(SigNo sig) {
  constexpr SigSet kIgnored = SigSet::Make(SigNo::kChld, SigNo::kUrg, SigNo::kWinch);
  constexpr SigSet kCores =
      SigSet::Make(SigNo::kQuit, SigNo::kIll, SigNo::kTrap, SigNo::kAbrt, SigNo::kBus, SigNo::kFpe,
                   SigNo::kSegv, SigNo::kXcpu, SigNo::kXfsz, SigNo::kSys);
  if (sig == SigNo::kCont) return DefaultAction::kContinue;
  if (kIgnored.Has(sig)) return DefaultAction::kIgnore;
  if (kStopSignals.Has(sig)) return DefaultAction::kStop;
  if (kCores.Has(sig)) return DefaultAction::kCore;
  return DefaultAction::kTerminate;
}

Result<SignalCharge> SignalCharge::Take(uint64_t* counter, uint64_t limit) {
  if (*counter >= limit) return Errno::kAGAIN;
  ++*counter;
  SignalCharge charge;
  charge.counter_ = counter;
  return charge;
}

bool PendingSignals::Add(QueuedSignal signal) {
  const SigNo sig = signal.info.sig();
  if (set_.Has(sig) && !IsRealTime(sig)) return false;
  set_.Add(sig);
  queue_.push_back(std::move(signal));
  return true;
}

std::optional<QueuedSignal> PendingSignals::Take(SigSet wanted) {
  SigSet eligible = set_ & wanted;
  if (!(eligible & kSynchronousSignals).empty()) eligible = eligible & kSynchronousSignals;
  const SigNo sig = eligible.First();
  if (sig == SigNo::kNone) return std::nullopt;
  const auto is_sig = [sig](const QueuedSignal& s) { return s.info.sig() == sig; };
  auto it = std::find_if(queue_.begin(), queue_.end(), is_sig);
  std::optional<QueuedSignal> taken(std::move(*it));
  it = queue_.erase(it);
  if (std::none_of(it, queue_.end(), is_sig)) set_.Remove(sig);
  return taken;
}

void PendingSignals::Discard(SigSet which) {
  if ((set_ & which).empty()) return;
  std::erase_if(queue_, [which](const QueuedSignal& s) { return which.Has(s.info.sig()); });
  set_ = set_ & ~which;
}

bool PendingSignals::AddOverrun(const SigInfo& info) {
  if (!set_.Has(info.sig())) return false;
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&info](const QueuedSignal& s) {
    return s.info.signo == info.signo && s.info.code == kSiTimer &&
           s.info.timer.id == info.timer.id;
  });
  if (it == queue_.end()) return false;
  const int64_t sum = int64_t{it->info.timer.overrun} + info.timer.overrun + 1;
  it->info.timer.overrun =
      static_cast<int32_t>(std::min<int64_t>(sum, std::numeric_limits<int32_t>::max()));
  return true;
}

void SignalActions::ResetForExec() {
  for (SigAction& action : actions_) {
    const bool ignored = action.handler == kSigIgn;
    action = SigAction{};
    if (ignored) action.handler = kSigIgn;
  }
}

bool SignalActions::IsIgnored(SigNo sig) const {
  const SigAction& action = Get(sig);
  if (action.handler == kSigIgn) return true;
  if (action.handler != kSigDfl) return false;
  const DefaultAction what = DefaultActionOf(sig);
  return what == DefaultAction::kIgnore || what == DefaultAction::kContinue;
}

}  // namespace ringfence::sentry
