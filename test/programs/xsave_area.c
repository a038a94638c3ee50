// Does XSAVE stay within the area that CPUID leaf 0xd describes? The dynamic linker saves registers
// in an area computed so, and a wrong leaf destroys its stack.
#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { kArea = 32768, kHeaderEnd = 576 };
static uint8_t area[kArea] __attribute__((aligned(64)));

// Has anything been stored at or beyond `end`?
static int Overrun(uint32_t end) {
  for (uint32_t i = end; i < kArea; i++) {
    if (area[i] != 0xa5) return 1;
  }
  return 0;
}

static void Paint(void) {
  memset(area, 0xa5, kArea);
  memset(area + 512, 0, 64);  // the header must be valid
}

__attribute__((target("xsave,xsavec"))) int main(void) {
  uint32_t xcr0, size, unused, eax;
  __cpuid_count(0xd, 0, xcr0, size, unused, unused);
  Paint();
  _xsave64(area, xcr0);
  printf("xsave: %s\n", Overrun(size) ? "overrun" : "within");

  __cpuid_count(0xd, 1, eax, unused, unused, unused);
  if ((eax & 2) == 0) {
    printf("xsavec: within\n");
    return 0;
  }
  // What glibc saves: SSE, AVX, MPX and AVX-512, 64-byte aligned where bit 1 of ecx says so.
  const uint32_t kMask = 0xee;
  uint32_t end = kHeaderEnd;
  for (uint32_t i = 2; i < 32; i++) {
    uint32_t bytes, offset, flags;
    __cpuid_count(0xd, i, bytes, offset, flags, unused);
    if ((kMask >> i & 1) == 0) continue;
    if (flags & 2) end = (end + 63) & ~63u;
    end += bytes;
  }
  Paint();
  _xsavec64(area, kMask);
  printf("xsavec: %s\n", Overrun(end) ? "overrun" : "within");
  return 0;
}
