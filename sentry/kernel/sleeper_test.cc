#include "sentry/kernel/sleeper.h"

#include <catch2/catch.hpp>
#include <thread>

namespace ringfence::sentry {
namespace {

TEST_CASE("A wake-up before the sleep is not lost and counts once") {
  Sleeper sleeper;
  sleeper.Wake();
  sleeper.Wake();
  CHECK(sleeper.Sleep(Deadline::Never()));
  CHECK_FALSE(sleeper.Sleep(Deadline::After(1'000'000)));
}

TEST_CASE("Sleep ends at monotonic and realtime deadlines, also past ones") {
  Sleeper sleeper;
  const int64_t start = MonotonicNow();
  CHECK_FALSE(sleeper.Sleep(Deadline::After(20'000'000)));
  CHECK(MonotonicNow() - start >= 20'000'000);
  CHECK_FALSE(sleeper.Sleep(Deadline::AtRealtime(RealtimeNow() + 1'000'000)));
  CHECK_FALSE(sleeper.Sleep(Deadline::AtRealtime(-5)));
  CHECK_FALSE(sleeper.Sleep(Deadline::AtMonotonic(1)));
}

TEST_CASE("Another thread wakes the sleeper") {
  Sleeper sleeper;
  std::thread waker([&] { sleeper.Wake(); });
  CHECK(sleeper.Sleep(Deadline::Never()));
  waker.join();
}

TEST_CASE("Nanoseconds of a timespec") {
  CHECK(ToNanos({1, 5}).value() == 1'000'000'005);
  CHECK(ToNanos({-1, 0}).error() == Errno::kINVAL);
  CHECK(ToNanos({0, kNanosPerSecond}).error() == Errno::kINVAL);
  CHECK(ToNanos({0, -1}).error() == Errno::kINVAL);
  CHECK(ToNanos({std::numeric_limits<int64_t>::max(), 0}).value() ==
        std::numeric_limits<int64_t>::max());
  CHECK(Deadline::After(std::numeric_limits<int64_t>::max()).Remaining() > kNanosPerSecond);
}

}  // namespace
}  // namespace ringfence::sentry
