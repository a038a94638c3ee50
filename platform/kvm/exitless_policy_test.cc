#include "platform/kvm/exitless_policy.h"

#include <catch2/catch.hpp>

namespace ringfence::kvm {
namespace {

using platform::ExitlessMode;
constexpr int64_t kMs = 1'000'000;
constexpr int64_t kExit = 25'000;

TEST_CASE("one CPU is not enough unless told so") {
  CHECK_FALSE(ExitlessPolicy(ExitlessMode::kAuto, 1, kExit).enabled());
  CHECK(ExitlessPolicy(ExitlessMode::kAuto, 2, kExit).enabled());
  CHECK(ExitlessPolicy(ExitlessMode::kOn, 1, kExit).enabled());
  CHECK_FALSE(ExitlessPolicy(ExitlessMode::kOff, 8, kExit).enabled());
}

TEST_CASE("polling goes on while it pays") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK(policy.KeepPolling({0, kMs, 300, 0, 0}));
  // A single call in a millisecond pays if the core was idle anyway ...
  for (int i = 0; i < 100; ++i) CHECK(policy.KeepPolling({0, kMs, 1, 0, 0}));
}

// Windows that somebody else wanted the CPU in, until polling ends; 100 = it does not.
int WindowsUntilParked(ExitlessPolicy::Window window) {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  int windows = 1;
  while (windows < 100 && policy.KeepPolling(window)) ++windows;
  return windows;
}

TEST_CASE("... but not if somebody wanted it: a call saves three quarters of an exit") {
  CHECK(WindowsUntilParked({0, kMs, 1, 0, kMs}) == 1);
  CHECK(WindowsUntilParked({0, kMs, 52, 0, kMs}) == 10);  // 25 us lost in each, 250 at most
  CHECK(WindowsUntilParked({0, kMs, 54, 0, kMs}) == 100);
}

TEST_CASE("others wait as long as they have the CPU") {
  CHECK(WindowsUntilParked({0, kMs, 10, 0, 93'000}) == 100);  // 187.5 us saved, 186 lost
  CHECK(WindowsUntilParked({0, kMs, 10, 0, 120'000}) == 5);   // 52.5 us lost in each
}

TEST_CASE("guests that keep all CPUs busy are displaced, too") {
  CHECK(WindowsUntilParked({0, kMs, 1, 0, 0, 1000, 1000}) == 100);
  CHECK(WindowsUntilParked({0, kMs, 39, 0, 0, 1000, 1900}) == 1);
  CHECK(WindowsUntilParked({0, kMs, 54, 0, 0, 1000, 1900}) == 100);
}

TEST_CASE("withdrawn calls count against it, punted ones a little") {
  CHECK(WindowsUntilParked({0, kMs, 0, 10, 0}) == 1);
  CHECK(WindowsUntilParked({0, kMs, 0, 5, 0}) == 2);
  CHECK(WindowsUntilParked({0, kMs, 7, 5, 0}) == 100);
  CHECK(WindowsUntilParked({0, kMs, 0, 0, 0, 1, 0, 40}) == 1);
  CHECK(WindowsUntilParked({0, kMs, 0, 0, 0, 1, 0, 10}) == 4);
  CHECK(WindowsUntilParked({0, kMs, 1, 0, 0, 1, 0, 3}) == 100);
}

TEST_CASE("one bad window among good ones is no verdict, three are") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK(policy.KeepPolling({0, kMs, 300, 0, 0}));  // counts for 2 ms
  CHECK(policy.KeepPolling({0, kMs, 0, 1, kMs}));
  CHECK(policy.KeepPolling({0, kMs, 0, 1, kMs}));
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 8, kMs}));
}

TEST_CASE("the loss is bounded: pauses double up to a limit and end with a window that paid") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  int64_t now = 0;
  int64_t pause = ExitlessPolicy::kFirstPauseNanos;
  int64_t polled = 0;
  while (now < 10'000 * kMs) {
    REQUIRE(policy.ShouldWake(now, kMs));
    CHECK_FALSE(policy.KeepPolling({now, now + kMs, 0, 10, 0}));
    now += kMs;
    polled += kMs;
    CHECK_FALSE(policy.ShouldWake(now + pause - 1, kMs));
    now += pause;
    pause = std::min(pause * 2, ExitlessPolicy::kLongestPauseNanos);
  }
  CHECK(polled * 100 < now);
  CHECK(policy.KeepPolling({now, now + kMs, 300, 0, 0}));
  CHECK_FALSE(policy.KeepPolling({now, now + kMs, 0, 90, 0}));
  CHECK(policy.ShouldWake(now + kMs + ExitlessPolicy::kFirstPauseNanos, kMs));
}

TEST_CASE("a silent window parks without a verdict, and only where the CPU is wanted") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK(policy.KeepPolling({0, kMs, 0, 0, 0}));
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 0, kMs}));
  CHECK(policy.ShouldWake(kMs, kMs));
  CHECK_FALSE(policy.ShouldWake(kMs, policy.BurstNanos() + 1));
}

TEST_CASE("a pause is over for good only when as much was gained as may count") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 10, 0}));
  CHECK(policy.KeepPolling({0, kMs, 20, 0, 0}));
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 30, 0}));  // 10 ms now
  CHECK_FALSE(policy.ShouldWake(kMs + 2 * ExitlessPolicy::kFirstPauseNanos - 1, kMs));
  CHECK(policy.KeepPolling({0, kMs, 300, 0, 0}));
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 90, 0}));
  CHECK(policy.ShouldWake(kMs + ExitlessPolicy::kFirstPauseNanos, kMs));
}

TEST_CASE("calls with work between them are a burst where an exit is expensive") {
  const ExitlessPolicy cheap(ExitlessMode::kAuto, 2, kExit);
  CHECK(cheap.ShouldWake(kMs, 2 * kMs));
  CHECK_FALSE(cheap.ShouldWake(kMs, 2 * kMs + 1));
  const ExitlessPolicy expensive(ExitlessMode::kAuto, 2, 4 * kExit);
  CHECK(expensive.ShouldWake(kMs, 3 * kMs));
  CHECK_FALSE(expensive.ShouldWake(kMs, 3 * kMs + 1));
}

TEST_CASE("guests that spin for a service thread without a CPU lose a window, not more") {
  const auto unserved = [](int64_t exit_ns) {
    return ExitlessPolicy(ExitlessMode::kAuto, 2, exit_ns).MaxUnserved();
  };
  CHECK(unserved(25'000) == 40);
  CHECK(unserved(100'000) == 10);
  CHECK(unserved(10 * kMs) == 4);
}

TEST_CASE("a window that took long for want of a CPU is paid for by a longer pause") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK_FALSE(policy.KeepPolling({0, 20 * kMs, 0, 10, 19 * kMs}));
  CHECK_FALSE(policy.ShouldWake(20 * kMs + 100 * kMs - 1, kMs));
  CHECK(policy.ShouldWake(20 * kMs + 100 * kMs, kMs));
}

TEST_CASE("mode on parks only when there is nothing to do and somebody else has") {
  ExitlessPolicy policy(ExitlessMode::kOn, 1, kExit);
  CHECK(policy.KeepPolling({0, kMs, 0, 10, kMs}));
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 0, kMs}));
  CHECK(policy.ShouldWake(0, 1000 * kMs));
}

TEST_CASE("the service thread is not parked before the calls that wake it could have come") {
  for (const int64_t exit_ns : {2'000, 50'000, 500'000}) {
    const ExitlessPolicy policy(ExitlessMode::kAuto, 2, exit_ns);
    CHECK(policy.IdleNanos() >= policy.BurstNanos());
    CHECK(policy.IdleNanos() >= ExitlessPolicy::kBurstCalls * exit_ns);
  }
}

}  // namespace
}  // namespace ringfence::kvm
