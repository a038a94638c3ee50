// timerfd_create(2).
#include "sentry/fs/timerfd/timerfd.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <thread>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kMs = 1'000'000;

Result<uint64_t> Take(TimerFd& file, size_t n = sizeof(uint64_t)) {
  const std::string bytes = TRY(ReadFrom(RootContext(), file, n));
  uint64_t value = 0;
  REQUIRE(bytes.size() == sizeof(value));
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

void AwaitReadable(TimerFd& file) {
  for (int i = 0; i < 5000 && file.Poll() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  REQUIRE(file.Poll() == kEventIn);
}

TEST_CASE("expires once, and tells so once") {
  TimerQueue queue;
  TimerFd file(&queue, Deadline::Clock::kMonotonic, false, 0);
  CHECK(Take(file).error() == Errno::kAGAIN);
  file.Set(false, {.value_ns = 2 * kMs});
  AwaitReadable(file);
  CHECK(Take(file).value() == 1);
  CHECK(Take(file).error() == Errno::kAGAIN);
  CHECK(file.Poll() == 0);
  CHECK(file.Get().value_ns == 0);
}

TEST_CASE("periods add up between reads") {
  TimerQueue queue;
  TimerFd file(&queue, Deadline::Clock::kRealtime, false, 0);
  file.Set(false, {.value_ns = kMs, .interval_ns = kMs});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  AwaitReadable(file);
  CHECK(Take(file).value() >= 5);
  CHECK(file.Get().interval_ns == kMs);
}

TEST_CASE("a new setting forgets what expired, and returns what was left") {
  TimerQueue queue;
  TimerFd file(&queue, Deadline::Clock::kMonotonic, false, 0);
  file.Set(true, {.value_ns = 1});  // long ago
  AwaitReadable(file);
  CHECK(file.Set(false, {.value_ns = 1000'000 * kMs, .interval_ns = 7}).value_ns == 0);
  CHECK(Take(file).error() == Errno::kAGAIN);
  const TimerValue old = file.Set(false, {});
  CHECK(old.value_ns > 999'000 * kMs);
  CHECK(old.interval_ns == 7);
  CHECK(file.Get().value_ns == 0);
}

TEST_CASE("what cannot be done") {
  TimerQueue queue;
  TimerFd file(&queue, Deadline::Clock::kMonotonic, false, 0);
  CHECK(Take(file, 7).error() == Errno::kINVAL);
  CHECK(ErrorOf(WriteTo(RootContext(), file, "12345678")) == Errno::kINVAL);
  const int64_t offset = 0;
  CHECK(ErrorOf(ReadFrom(RootContext(), file, 8, &offset)) == Errno::kSPIPE);
}

}  // namespace
}  // namespace ringfence::sentry
