#include "platform/api/fpu_layout.h"

#include <cpuid.h>

#include <algorithm>

namespace ringfence::platform {
namespace {

constexpr uint32_t kXsaveLeaf = 0xd;
constexpr uint32_t kOsxsave = 1 << 27;  // leaf 1, ecx: the kernel has set XCR0

uint64_t HostXcr0() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsxsave) == 0) return 0;
  uint32_t low = 0, high = 0;
  // SAFETY: XGETBV with ecx = 0 exists wherever OSXSAVE is set, and reads only XCR0.
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

FpuComponent HostComponent(unsigned index) {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(kXsaveLeaf, index, &eax, &ebx, &ecx, &edx) == 0) return {};
  return {.offset = ebx, .size = eax};
}

}  // namespace

FpuLayout ChooseFpuLayout(uint64_t host_xcr0, FpuComponentFn component) {
  const FpuLayout without{.components = kFpuX87 | kFpuSse | kFpuAvx, .size = kFpuSizeWithAvx};
  if ((host_xcr0 & kFpuAvx512) != kFpuAvx512) return without;
  size_t end = kFpuSizeWithAvx;
  for (unsigned index : {5, 6, 7}) {
    const FpuComponent part = component(index);
    if (part.size == 0 || part.offset < kFpuSizeWithAvx) return without;
    end = std::max(end, size_t{part.offset} + part.size);
  }
  if (end > kMaxFpuSize) return without;
  return {.components = without.components | kFpuAvx512, .size = end};
}

const FpuLayout& GuestFpuLayout() {
  static const FpuLayout layout = ChooseFpuLayout(HostXcr0(), HostComponent);
  return layout;
}

}  // namespace ringfence::platform
