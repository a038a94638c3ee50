#include "platform/api/arch_state.h"

#include <immintrin.h>

#include <catch2/catch.hpp>
#include <cstring>

namespace ringfence::platform {
namespace {

TEST_CASE("the initial FPU state is what Linux gives a program") {
  const FpuState state = InitialFpuState();
  uint16_t fcw = 0;
  uint32_t mxcsr = 0;
  std::memcpy(&fcw, state.image.data(), sizeof fcw);
  std::memcpy(&mxcsr, state.image.data() + 24, sizeof mxcsr);
  CHECK(fcw == 0x37f);
  CHECK(mxcsr == 0x1f80);
}

TEST_CASE("the CPU loads it") {
  FpuState state = InitialFpuState();
  FpuState back;
  // The first 512 bytes have the format of FXSAVE, which every x86-64 CPU knows.
  _fxrstor64(state.image.data());
  _fxsave64(back.image.data());
  CHECK(std::memcmp(state.image.data(), back.image.data(), 24) == 0);
  CHECK(std::memcmp(state.image.data() + 32, back.image.data() + 32, 384) == 0);
}

TEST_CASE("a hostile image loses what a CPU would refuse, and nothing else") {
  FpuState state;
  std::memset(state.image.data(), 0xff, FpuState::size());
  SanitizeFpuState(&state);
  const auto load64 = [&state](size_t at) {
    uint64_t value;
    std::memcpy(&value, state.image.data() + at, sizeof value);
    return value;
  };
  CHECK((load64(24) & 0xffffffff) == 0xffff);
  CHECK(load64(512) == GuestFpuLayout().components);
  for (size_t at = 520; at < 576; at += 8) CHECK(load64(at) == 0);
  CHECK(load64(0) == ~uint64_t{0});
  CHECK(load64(576) == ~uint64_t{0});
}

}  // namespace
}  // namespace ringfence::platform
