#include "platform/kvm/wait_looks.h"

#include <catch2/catch.hpp>

namespace ringfence::kvm {
namespace {

constexpr int64_t kExit = 80'000, kShort = 4 * kExit, kLong = 20 * kExit;
constexpr uint32_t kMost = 8000 * WaitLooks::kWayExits;

TEST_CASE("a guest looks for long while its waits are short") {
  WaitLooks looks(8000, kExit);
  CHECK(looks.looks() == kMost);
  looks.OnWaited(kLong, 0);
  CHECK(looks.looks() == WaitLooks::kLeast);
  looks.OnWaited(kLong, 0);
  CHECK(looks.looks() == WaitLooks::kLeast);
  // Two threads that pass something on by way of the sentry find back to doing so without it.
  looks.OnWaited(kShort, 0);
  CHECK(looks.looks() == kMost);
}

TEST_CASE("who has nothing to show for its looks looks for long only now and then") {
  WaitLooks looks(8000, kExit);
  int most = 0;
  for (int i = 0; i < 2000; ++i) {
    most += looks.looks() == kMost;
    looks.OnWaited(kShort, 0);
  }
  CHECK(most < 2000 / 20);
  CHECK(most > 0);
}

TEST_CASE("who sees words change goes on looking") {
  WaitLooks looks(8000, kExit);
  for (int i = 0; i < 1000; ++i) looks.OnWaited(kShort, 0);
  for (uint32_t seen = 1; seen < 100; ++seen) {
    looks.OnWaited(kShort, seen);
    CHECK(looks.looks() == kMost);
  }
}

TEST_CASE("where no guest shall look none does") {
  WaitLooks none(0, kExit);
  CHECK(none.looks() == 0);
  none.OnWaited(kLong, 1);
  CHECK(none.looks() == 0);
  WaitLooks few(10, kExit);
  few.OnWaited(kLong, 0);
  CHECK(few.looks() == 30);
}

}  // namespace
}  // namespace ringfence::kvm
