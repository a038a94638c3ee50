#include "platform/mem/ref_count.h"

#include <catch2/catch.hpp>

namespace ringfence::platform {
namespace {

TEST_CASE("up and down") {
  RefCountWord count{1};
  AddReference(count);
  CHECK_FALSE(DropReference(count));
  CHECK(DropReference(count));
}

TEST_CASE("a count that overflows is stuck, not free") {
  RefCountWord count{kStuckFrom - 1};
  AddReference(count);
  AddReference(count);
  CHECK(count == kStuckAt);
  for (int i = 0; i < 10; ++i) CHECK_FALSE(DropReference(count));
  CHECK(count == kStuckAt);
  count = 0xffffffff;
  AddReference(count);
  CHECK(count == kStuckAt);
}

}  // namespace
}  // namespace ringfence::platform
