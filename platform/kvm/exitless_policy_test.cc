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
  CHECK(policy.KeepPolling({0, kMs, 300, 0, false}));
  // A single call in a millisecond pays if the core was idle anyway ...
  CHECK(policy.KeepPolling({0, kMs, 1, 0, false}));
  // ... but not if somebody wanted it.
  CHECK_FALSE(policy.KeepPolling({0, kMs, 39, 0, true}));
  CHECK(policy.KeepPolling({0, kMs, 41, 0, true}));
}

TEST_CASE("guests that keep all CPUs busy are displaced, too") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK(policy.KeepPolling({0, kMs, 1, 0, false, 1000, 1000}));
  CHECK_FALSE(policy.KeepPolling({0, kMs, 39, 0, false, 1000, 1900}));
  CHECK(policy.KeepPolling({0, kMs, 41, 0, false, 1000, 1900}));
}

TEST_CASE("withdrawn calls count against it") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK_FALSE(policy.KeepPolling({0, kMs, 5, 5, false}));
  CHECK(policy.KeepPolling({0, kMs, 6, 5, false}));
}

TEST_CASE("the loss is bounded: pauses double up to a limit and end with a window that paid") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  int64_t now = 0;
  int64_t pause = ExitlessPolicy::kFirstPauseNanos;
  int64_t polled = 0;
  while (now < 10'000 * kMs) {
    REQUIRE(policy.ShouldWake(now, kMs));
    CHECK_FALSE(policy.KeepPolling({now, now + kMs, 0, 10, false}));
    now += kMs;
    polled += kMs;
    CHECK_FALSE(policy.ShouldWake(now + pause - 1, kMs));
    now += pause;
    pause = std::min(pause * 2, ExitlessPolicy::kLongestPauseNanos);
  }
  CHECK(polled * 100 < now);
  CHECK(policy.KeepPolling({now, now + kMs, 100, 0, false}));
  CHECK_FALSE(policy.KeepPolling({now, now + kMs, 0, 10, false}));
  CHECK(policy.ShouldWake(now + kMs + ExitlessPolicy::kFirstPauseNanos, kMs));
}

TEST_CASE("a silent window parks without a verdict") {
  ExitlessPolicy policy(ExitlessMode::kAuto, 2, kExit);
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 0, true}));
  CHECK(policy.ShouldWake(kMs, kMs));
  CHECK_FALSE(policy.ShouldWake(kMs, policy.BurstNanos() + 1));
}

TEST_CASE("calls with work between them are a burst where an exit is expensive") {
  const ExitlessPolicy cheap(ExitlessMode::kAuto, 2, kExit);
  CHECK(cheap.ShouldWake(kMs, 2 * kMs));
  CHECK_FALSE(cheap.ShouldWake(kMs, 2 * kMs + 1));
  const ExitlessPolicy expensive(ExitlessMode::kAuto, 2, 4 * kExit);
  CHECK(expensive.ShouldWake(kMs, 6 * kMs));
  CHECK_FALSE(expensive.ShouldWake(kMs, 6 * kMs + 1));
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
  CHECK_FALSE(policy.KeepPolling({0, 20 * kMs, 0, 10, true}));
  CHECK_FALSE(policy.ShouldWake(20 * kMs + 100 * kMs - 1, kMs));
  CHECK(policy.ShouldWake(20 * kMs + 100 * kMs, kMs));
}

TEST_CASE("mode on only parks when there is nothing to do") {
  ExitlessPolicy policy(ExitlessMode::kOn, 1, kExit);
  CHECK(policy.KeepPolling({0, kMs, 0, 10, true}));
  CHECK_FALSE(policy.KeepPolling({0, kMs, 0, 0, false}));
  CHECK(policy.ShouldWake(0, 1000 * kMs));
}

TEST_CASE("the service thread is not parked before an expensive exit is over") {
  const auto idle = [](int64_t exit_ns) {
    return ExitlessPolicy(ExitlessMode::kAuto, 2, exit_ns).IdleNanos();
  };
  CHECK(idle(2'000) == 200'000);
  CHECK(idle(50'000) == 600'000);
  CHECK(idle(500'000) == ExitlessPolicy::kWindowNanos);
}

}  // namespace
}  // namespace ringfence::kvm
