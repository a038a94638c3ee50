#include "platform/api/fpu_layout.h"

#include <catch2/catch.hpp>

namespace ringfence::platform {
namespace {

FpuComponent Intel(unsigned index) {
  switch (index) {
    case 5:
      return {.offset = 1088, .size = 64};
    case 6:
      return {.offset = 1152, .size = 512};
    case 7:
      return {.offset = 1664, .size = 1024};
    default:
      return {};
  }
}

// No gap for MPX.
FpuComponent Amd(unsigned index) {
  FpuComponent part = Intel(index);
  if (part.size != 0) part.offset -= 256;
  return part;
}

TEST_CASE("guests have AVX-512 where the host's kernel has, with the CPU's own offsets") {
  CHECK(ChooseFpuLayout(0x600e7, Intel).components == 0xe7);
  CHECK(ChooseFpuLayout(0x600e7, Intel).size == 2688);
  CHECK(ChooseFpuLayout(0x2e7, Amd).components == 0xe7);
  CHECK(ChooseFpuLayout(0x2e7, Amd).size == 2432);
}

TEST_CASE("otherwise x87, SSE and AVX") {
  for (uint64_t xcr0 : {0x0, 0x7, 0x207, 0x27, 0x67}) {
    CHECK(ChooseFpuLayout(xcr0, Intel).components == 7);
    CHECK(ChooseFpuLayout(xcr0, Intel).size == 832);
  }
  const auto none = [](unsigned) { return FpuComponent{}; };
  CHECK(ChooseFpuLayout(0xe7, none).components == 7);
  const auto far = [](unsigned) { return FpuComponent{.offset = 2688, .size = 64}; };
  CHECK(ChooseFpuLayout(0xe7, far).components == 7);
  const auto low = [](unsigned) { return FpuComponent{.offset = 576, .size = 64}; };
  CHECK(ChooseFpuLayout(0xe7, low).components == 7);
}

TEST_CASE("the layout of this host") {
  const FpuLayout& layout = GuestFpuLayout();
  CHECK((layout.components & 7) == 7);
  CHECK(layout.size <= kMaxFpuSize);
}

}  // namespace
}  // namespace ringfence::platform
