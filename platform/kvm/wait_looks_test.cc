#include "platform/kvm/wait_looks.h"

#include <catch2/catch.hpp>

namespace ringfence::kvm {
namespace {

TEST_CASE("looks in vain become few, and never none") {
  WaitLooks looks(8000);
  CHECK(looks.looks() == 2000);
  for (int i = 0; i < 100; ++i) looks.OnInVain(0);
  CHECK(looks.looks() == 64);
}

TEST_CASE("looks that see what they wait for become as many as take an exit, and no more") {
  WaitLooks looks(8000);
  for (int i = 0; i < 10; ++i) looks.OnInVain(0);
  for (uint32_t seen = 1; seen < 100; ++seen) looks.OnInVain(seen);
  CHECK(looks.looks() == 8000);
  // Whatever a hostile guest counts.
  looks.OnInVain(~uint32_t{0});
  CHECK(looks.looks() == 8000);
}

TEST_CASE("where no guest shall look none does") {
  WaitLooks none(0);
  none.OnInVain(1);
  CHECK(none.looks() == 0);
  WaitLooks few(10);
  few.OnInVain(0);
  CHECK(few.looks() == 10);
}

}  // namespace
}  // namespace ringfence::kvm
