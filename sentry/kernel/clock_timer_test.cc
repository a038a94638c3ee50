#include "sentry/kernel/clock_timer.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

namespace ringfence::sentry {
namespace {

void SleepMs(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST_CASE("A wall-clock timer tells what is left") {
  TimerQueue queue;
  std::atomic<uint64_t> fired{0};
  ClockTimer timer(&queue, Deadline::Clock::kMonotonic, [&](uint64_t n) { fired += n; });
  CHECK(timer.Set(false, {kNanosPerSecond, 5}).value_ns == 0);
  const TimerValue left = timer.Get();
  CHECK(left.value_ns > kNanosPerSecond / 2);
  CHECK(left.interval_ns == 5);
  CHECK(timer.Set(false, {2'000'000, 0}).value_ns > kNanosPerSecond / 2);
  SleepMs(60);
  CHECK(fired == 1);
  CHECK(timer.Get().value_ns == 0);
}

TEST_CASE("An absolute time in the past expires at once") {
  TimerQueue queue;
  std::atomic<uint64_t> fired{0};
  ClockTimer timer(&queue, Deadline::Clock::kRealtime, [&](uint64_t n) { fired += n; });
  timer.Set(true, {RealtimeNow() - 10'000'000, 0});
  SleepMs(30);
  CHECK(fired == 1);
}

TEST_CASE("A CPU-clock timer fires by the clock, not by the wall") {
  TimerQueue queue;
  std::atomic<int64_t> cpu{1000};
  std::atomic<uint64_t> fired{0};
  ClockTimer timer(
      &queue, [&] { return cpu.load(); }, [&](uint64_t n) { fired += n; });
  timer.Set(false, {5'000'000, 1'000'000});
  SleepMs(30);
  CHECK(fired == 0);
  CHECK(timer.Get().value_ns == 5'000'000);
  cpu += 7'500'000;
  SleepMs(50);
  CHECK(fired == 3);
  CHECK(timer.Set(false, {}).value_ns > 0);
  cpu += 50'000'000;
  SleepMs(20);
  CHECK(fired == 3);
}

}  // namespace
}  // namespace ringfence::sentry
