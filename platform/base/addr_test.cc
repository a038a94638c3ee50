#include "platform/base/addr.h"

#include <catch2/catch.hpp>

namespace ringfence {
namespace {

constexpr uint64_t kMax = ~uint64_t{0};

TEST_CASE("page rounding never wraps") {
  CHECK(PageDown(0x1fff) == 0x1000);
  CHECK(PageUp(0).value() == 0);
  CHECK(PageUp(1).value() == 0x1000);
  CHECK(PageUp(kMax - kPageMask).value() == kMax - kPageMask);
  CHECK(PageUp(kMax - kPageMask + 1).error() == Errno::kINVAL);
  CHECK(PageUp(kMax).error() == Errno::kINVAL);
}

TEST_CASE("address arithmetic reports overflow") {
  CHECK(VirtAddr(kMax - 1).Add(1).value() == VirtAddr(kMax));
  CHECK(VirtAddr(kMax).Add(1).error() == Errno::kFAULT);
  CHECK(VirtAddr(0x201234).huge_down() == VirtAddr(0x200000));
  CHECK(VirtAddr(0x201234).page_offset() == 0x234);
}

TEST_CASE("ranges") {
  const VirtRange r = VirtRange::Make(VirtAddr(0x1000), 0x2000).value();
  CHECK(r.pages() == 2);
  CHECK(r.contains(VirtAddr(0x2fff)));
  CHECK_FALSE(r.contains(VirtAddr(0x3000)));
  CHECK(r.contains(r));
  CHECK(r.overlaps({VirtAddr(0x2000), VirtAddr(0x5000)}));
  CHECK_FALSE(r.overlaps({VirtAddr(0x3000), VirtAddr(0x5000)}));
  CHECK(VirtRange::Make(VirtAddr(kMax), 2).error() == Errno::kINVAL);
  CHECK(VirtRange::Make(VirtAddr(kMax), 0).value().empty());
}

}  // namespace
}  // namespace ringfence
