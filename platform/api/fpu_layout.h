// FpuLayout: which state components guests have, and how long the XSAVE image with them is.
//
// Guests get x87, SSE and AVX, and AVX-512 where the host's kernel has switched it on. It cannot be
// kept from them: KVM without hardware virtualisation leaves the host's XCR0 in force, and one of
// its kernels shows AVX-512 in CPUID whatever it is told. What guests can use has to be saved.
// Offsets are the CPU's own (SDM vol. 1, 13.4 and 13.5; they differ between vendors).
#ifndef RINGFENCE_PLATFORM_API_FPU_LAYOUT_H_
#define RINGFENCE_PLATFORM_API_FPU_LAYOUT_H_

#include <cstddef>
#include <cstdint>

namespace ringfence::platform {

// Bits of XCR0 and of XSTATE_BV.
inline constexpr uint64_t kFpuX87 = 1, kFpuSse = 2, kFpuAvx = 4;
inline constexpr uint64_t kFpuAvx512 = 0xe0;  // masks, upper halves of ZMM0-15, ZMM16-31

inline constexpr size_t kFpuSizeWithAvx = 832;
inline constexpr size_t kMaxFpuSize = 2688;  // Intel's layout with AVX-512

struct FpuLayout {
  uint64_t components;  // the guests' XCR0
  size_t size;          // bytes of an image in the standard format
};

// Where a component lies in the image, as CPUID leaf 0xd tells; all zero: not there.
struct FpuComponent {
  uint32_t offset = 0, size = 0;
};
using FpuComponentFn = FpuComponent (*)(unsigned index);

// The decision; pure.
FpuLayout ChooseFpuLayout(uint64_t host_xcr0, FpuComponentFn component);

// The layout on this host. Any thread.
const FpuLayout& GuestFpuLayout();

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_API_FPU_LAYOUT_H_
