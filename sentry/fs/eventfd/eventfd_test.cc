// eventfd(2).
#include "sentry/fs/eventfd/eventfd.h"

#include <fcntl.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMax = ~uint64_t{0} - 1;

Errno Add(EventFd& file, uint64_t value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return ErrorOf(WriteTo(RootContext(), file, bytes));
}

Result<uint64_t> Take(EventFd& file, size_t n = sizeof(uint64_t)) {
  const std::string bytes = TRY(ReadFrom(RootContext(), file, n));
  uint64_t value = 0;
  REQUIRE(bytes.size() == sizeof(value));
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

TEST_CASE("a read takes the sum, then there is nothing") {
  EventFd file(3, false, 0);
  CHECK(Add(file, 4) == Errno{});
  CHECK(Take(file).value() == 7);
  CHECK(Take(file).error() == Errno::kAGAIN);
  CHECK(Add(file, 0) == Errno{});
  CHECK(Take(file).error() == Errno::kAGAIN);
}

TEST_CASE("a semaphore gives one at a time") {
  EventFd file(2, true, 0);
  CHECK(Take(file).value() == 1);
  CHECK(Take(file).value() == 1);
  CHECK(Take(file).error() == Errno::kAGAIN);
}

TEST_CASE("the counter never overflows") {
  EventFd file(0, false, 0);
  CHECK(Add(file, ~uint64_t{0}) == Errno::kINVAL);
  CHECK(Add(file, kMax) == Errno{});
  CHECK(Add(file, 1) == Errno::kAGAIN);
  CHECK(Add(file, 0) == Errno{});
  CHECK(file.Poll() == kEventIn);
  CHECK(Take(file).value() == kMax);
  CHECK(file.Poll() == kEventOut);
  CHECK(Add(file, 1) == Errno{});
  CHECK(file.Poll() == (kEventIn | kEventOut));
}

TEST_CASE("sizes: at least 8 bytes, 8 are moved") {
  EventFd file(5, false, 0);
  CHECK(Take(file, 7).error() == Errno::kINVAL);
  CHECK(ErrorOf(WriteTo(RootContext(), file, "1234567")) == Errno::kINVAL);
  CHECK(WriteTo(RootContext(), file, std::string(20, '\0')).value() == 8);
  CHECK(Take(file, 100).value() == 5);
  const int64_t offset = 0;
  CHECK(ReadFrom(RootContext(), file, 8, &offset).error() == Errno::kSPIPE);
  CHECK(file.Seek(RootContext(), 0, 0).value() == 0);  // noop_llseek
}

TEST_CASE("a write that would overflow leaves its data for the next try") {
  EventFd file(kMax, false, 0);
  uint64_t value = 2;
  UserIo io(absl::Span<std::byte>(reinterpret_cast<std::byte*>(&value), sizeof(value)));
  CHECK(file.Write(RootContext(), io, nullptr).error() == Errno::kAGAIN);
  CHECK(io.remaining() == sizeof(value));
  CHECK(Take(file).value() == kMax);
  CHECK(file.Write(RootContext(), io, nullptr).value() == sizeof(value));
  CHECK(Take(file).value() == 2);
}

TEST_CASE("nothing is lost between threads") {
  EventFd file(0, false, 0);
  std::atomic<int> running = 3;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) (void)Add(file, 1);
      --running;
    });
  }
  uint64_t sum = 0;
  while (running != 0 || (file.Poll() & kEventIn) != 0) sum += Take(file).value_or(0);
  for (std::thread& thread : threads) thread.join();
  CHECK(sum == 30000);
}

}  // namespace
}  // namespace ringfence::sentry
