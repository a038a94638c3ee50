#include "sentry/kernel/timer_queue.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>

namespace ringfence::sentry {
namespace {

void SleepMs(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST_CASE("One-shot timers fire once, in order") {
  TimerQueue queue;
  std::atomic<int> sequence{0}, first{0}, second{0};
  Timer a(&queue, [&](uint64_t) { first = ++sequence; });
  Timer b(&queue, [&](uint64_t) { second = ++sequence; });
  b.Arm({Deadline::After(20'000'000)});
  a.Arm({Deadline::After(5'000'000)});
  SleepMs(100);
  CHECK(first == 1);
  CHECK(second == 2);
  CHECK(a.Get().next.never());
}

TEST_CASE("Periodic timers count missed periods and stop when disarmed") {
  TimerQueue queue;
  std::atomic<uint64_t> periods{0};
  Timer timer(&queue, [&](uint64_t n) { periods += n; });
  timer.Arm({Deadline::AtRealtime(RealtimeNow() + 1'000'000), 1'000'000});
  SleepMs(100);
  const Timer::Setting old = timer.Disarm();
  CHECK(old.interval_ns == 1'000'000);
  SleepMs(5);
  const uint64_t seen = periods;
  CHECK(seen >= 50);
  CHECK(seen <= 120);
  SleepMs(20);
  CHECK(periods == seen);
}

TEST_CASE("A callback may re-arm and a timer may be destroyed while others run") {
  TimerQueue queue;
  std::atomic<int> calls{0};
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(&queue, [&](uint64_t) {
    if (++calls < 5) timer->Arm({Deadline::After(1'000'000)});
  });
  timer->Arm({Deadline::After(1'000'000)});
  SleepMs(100);
  timer.reset();
  CHECK(calls == 5);
}

TEST_CASE("Destruction waits for a running callback") {
  TimerQueue queue;
  std::atomic<bool> entered{false}, left{false};
  auto timer = std::make_unique<Timer>(&queue, [&](uint64_t) {
    entered = true;
    SleepMs(30);
    left = true;
  });
  timer->Arm({Deadline::After(0)});
  while (!entered) SleepMs(1);
  timer.reset();
  CHECK(left);
}

}  // namespace
}  // namespace ringfence::sentry
