#include "platform/api/arch_state.h"

#include <cstring>

namespace ringfence::platform {
namespace {

// Offsets in the XSAVE area, SDM vol. 1, 13.4.
constexpr size_t kFcw = 0;
constexpr size_t kMxcsr = 24;
constexpr size_t kXstateBv = 512;

constexpr uint16_t kInitialFcw = 0x37f;     // all exceptions masked, 64-bit precision
constexpr uint32_t kInitialMxcsr = 0x1f80;  // all exceptions masked, round to nearest

constexpr size_t kHeaderBytes = 64;
constexpr uint32_t kMxcsrBits = 0xffff;  // the others fault when loaded

template <typename T>
void Put(FpuState& state, size_t offset, T value) {
  std::memcpy(state.image.data() + offset, &value, sizeof value);
}

template <typename T>
T Get(const FpuState& state, size_t offset) {
  T value;
  std::memcpy(&value, state.image.data() + offset, sizeof value);
  return value;
}

}  // namespace

FpuState InitialFpuState() {
  FpuState state;
  Put(state, kFcw, kInitialFcw);
  Put(state, kMxcsr, kInitialMxcsr);
  // x87 and SSE come from the image, the rest is in its initial configuration (zero).
  Put(state, kXstateBv, kFpuX87 | kFpuSse);
  return state;
}

void SanitizeFpuState(FpuState* state) {
  Put(*state, kMxcsr, Get<uint32_t>(*state, kMxcsr) & kMxcsrBits);
  const uint64_t components = Get<uint64_t>(*state, kXstateBv) & GuestFpuLayout().components;
  std::memset(state->image.data() + kXstateBv, 0, kHeaderBytes);
  Put(*state, kXstateBv, components);
}

}  // namespace ringfence::platform
