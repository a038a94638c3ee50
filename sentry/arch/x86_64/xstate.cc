#include "sentry/arch/x86_64/xstate.h"

#include <cstring>

#include "sentry/arch/x86_64/sigcontext.h"

namespace ringfence::sentry {
namespace {

using platform::FpuState;

constexpr size_t kMxcsrOffset = 24, kXmmOffset = 160, kXmmSize = 256;
constexpr size_t kX87Size = 160;  // FCW to ST7, MXCSR and its mask in between
constexpr uint32_t kMxcsrMask = 0xffff;

template <typename T>
T Load(const std::byte* bytes) {
  T value;
  memcpy(&value, bytes, sizeof(value));
  return value;
}

template <typename T>
void Store(std::byte* bytes, const T& value) {
  memcpy(bytes, &value, sizeof(value));
}

// XSAVE may leave out what is in its initial state; signal frames have it spelled out.
void SpellOutLegacy(std::byte* image) {
  const uint64_t present = Load<uint64_t>(image + kXsaveHeaderOffset);
  const FpuState initial = platform::InitialFpuState();
  if ((present & platform::kFpuX87) == 0) {
    const auto mxcsr = Load<uint64_t>(image + kMxcsrOffset);  // with its mask
    memcpy(image, initial.image.data(), kX87Size);
    Store(image + kMxcsrOffset, mxcsr);
  }
  if ((present & platform::kFpuSse) == 0) memset(image + kXmmOffset, 0, kXmmSize);
  if ((present & (platform::kFpuSse | platform::kFpuAvx)) == 0) {
    Store(image + kMxcsrOffset, Load<uint32_t>(initial.image.data() + kMxcsrOffset));
  }
  Store(image + kXsaveHeaderOffset, present | platform::kFpuX87 | platform::kFpuSse);
}

bool IsExtended(const FpxSwBytes& sw) {
  return sw.magic1 == kFpXstateMagic1 && sw.xstate_size >= kXsaveHeaderOffset + kXsaveHeaderSize &&
         sw.xstate_size <= FpuState::size() && sw.xstate_size <= sw.extended_size;
}

// What XRSTOR checks (SDM vol. 1, 13.8).
Result<void> CheckHeader(const std::byte* header) {
  if ((Load<uint64_t>(header) & ~platform::GuestFpuLayout().components) != 0) return Errno::kINVAL;
  for (size_t i = 8; i < kXsaveHeaderSize; ++i) {
    if (header[i] != std::byte{0}) return Errno::kINVAL;
  }
  return Ok();
}

}  // namespace

std::vector<std::byte> MakeXstateFrame(const FpuState& fpu) {
  const size_t size = FpuState::size();
  std::vector<std::byte> frame(XstateFrameSize());
  memcpy(frame.data(), fpu.image.data(), size);
  SpellOutLegacy(frame.data());
  const FpxSwBytes sw{.magic1 = kFpXstateMagic1,
                      .extended_size = static_cast<uint32_t>(frame.size()),
                      .xfeatures = platform::GuestFpuLayout().components,
                      .xstate_size = static_cast<uint32_t>(size),
                      .padding = {}};
  Store(frame.data() + kSwBytesOffset, sw);
  Store(frame.data() + size, kFpXstateMagic2);
  return frame;
}

Result<FpuState> ReadXstateFrame(MemoryManager& mm, VirtAddr addr) {
  FpuState fpu = platform::InitialFpuState();
  if (addr.is_null()) return fpu;
  if (addr.value() % alignof(FpuState) != 0) return Errno::kINVAL;

  std::array<std::byte, kXsaveHeaderOffset> legacy;
  TRY(mm.CopyIn(legacy.data(), addr, legacy.size()));
  const auto sw = Load<FpxSwBytes>(legacy.data() + kSwBytesOffset);
  uint64_t features = platform::kFpuX87 | platform::kFpuSse;
  if (IsExtended(sw)) {
    uint32_t magic2 = 0;
    TRY(mm.CopyIn(&magic2, TRY(addr.Add(sw.xstate_size)), sizeof(magic2)));
    if (magic2 == kFpXstateMagic2) {
      const size_t rest = sw.xstate_size - kXsaveHeaderOffset;
      TRY(mm.CopyIn(fpu.image.data() + kXsaveHeaderOffset, TRY(addr.Add(kXsaveHeaderOffset)),
                    rest));
      TRY(CheckHeader(fpu.image.data() + kXsaveHeaderOffset));
      features = Load<uint64_t>(fpu.image.data() + kXsaveHeaderOffset) & sw.xfeatures;
      // What a shorter image does not hold is initial.
      if (sw.xstate_size < FpuState::size()) features &= ~platform::kFpuAvx512;
      if (sw.xstate_size < platform::kFpuSizeWithAvx) features &= ~platform::kFpuAvx;
    }
  }
  if ((Load<uint32_t>(legacy.data() + kMxcsrOffset) & ~kMxcsrMask) != 0) return Errno::kINVAL;
  memcpy(fpu.image.data(), legacy.data(), kSwBytesOffset);
  Store(fpu.image.data() + kXsaveHeaderOffset, features);
  SpellOutLegacy(fpu.image.data());
  return fpu;
}

}  // namespace ringfence::sentry
