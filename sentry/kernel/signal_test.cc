#include "sentry/kernel/signal.h"

#include <catch2/catch.hpp>

namespace ringfence::sentry {
namespace {

QueuedSignal Make(int n, int pid = 0) {
  return {SigInfo::User(static_cast<SigNo>(n), kSiQueue, pid, 0)};
}
constexpr SigSet kAll{~uint64_t{0}};

TEST_CASE("Standard signals coalesce, real-time signals queue in order") {
  PendingSignals pending;
  CHECK(pending.Add(Make(10, 1)));
  CHECK_FALSE(pending.Add(Make(10, 2)));
  CHECK(pending.Add(Make(40, 3)));
  CHECK(pending.Add(Make(40, 4)));
  CHECK(pending.Add(Make(36, 5)));
  CHECK(pending.Take(kAll)->info.kill.pid == 1);
  CHECK(pending.Take(kAll)->info.kill.pid == 5);
  CHECK(pending.Take(kAll)->info.kill.pid == 3);
  CHECK(pending.set().Has(static_cast<SigNo>(40)));
  CHECK(pending.Take(kAll)->info.kill.pid == 4);
  CHECK_FALSE(pending.Take(kAll).has_value());
  CHECK(pending.set().empty());
}

TEST_CASE("Synchronous signals go first") {
  PendingSignals pending;
  pending.Add(Make(1));
  pending.Add(Make(11));
  CHECK(pending.Take(kAll)->info.signo == 11);
  CHECK_FALSE(pending.Take(SigSet::Of(SigNo::kInt)).has_value());
  CHECK(pending.Take(kAll)->info.signo == 1);
}

TEST_CASE("Charges are given back") {
  uint64_t counter = 0;
  PendingSignals pending;
  for (int i = 0; i < 2; ++i) {
    QueuedSignal s = Make(40);
    s.charge = SignalCharge::Take(&counter, 2).value();
    pending.Add(std::move(s));
  }
  CHECK(SignalCharge::Take(&counter, 2).error() == Errno::kAGAIN);
  pending.Take(kAll);
  CHECK(counter == 1);
  pending.Discard(kAll);
  CHECK(counter == 0);
}

TEST_CASE("Default actions and execve") {
  CHECK(DefaultActionOf(SigNo::kChld) == DefaultAction::kIgnore);
  CHECK(DefaultActionOf(SigNo::kTstp) == DefaultAction::kStop);
  CHECK(DefaultActionOf(SigNo::kSegv) == DefaultAction::kCore);
  CHECK(DefaultActionOf(static_cast<SigNo>(64)) == DefaultAction::kTerminate);
  SignalActions actions;
  actions.Set(SigNo::kInt, {0x1000, kSaRestart, 0, {}});
  actions.Set(SigNo::kHup, {kSigIgn, kSaRestart, 0, {}});
  actions.ResetForExec();
  CHECK(actions.Get(SigNo::kInt).handler == kSigDfl);
  CHECK(actions.Get(SigNo::kInt).flags == 0);
  CHECK(actions.IsIgnored(SigNo::kHup));
  CHECK(actions.IsIgnored(SigNo::kChld));
  CHECK_FALSE(actions.IsIgnored(SigNo::kInt));
}

}  // namespace
}  // namespace ringfence::sentry
