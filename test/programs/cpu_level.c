// Built for x86-64-v2 and x86-64-v3: does it start, does the CPU say that it is one, and do the
// instructions of that level compute what they should?
#include <cpuid.h>
#include <stdint.h>
#include <stdio.h>

enum { kCount = 1000 };
static float a[kCount], b[kCount], sums[kCount];

int main(void) {
  uint64_t bits = 0;
  for (int i = 0; i < kCount; i++) {
    a[i] = (float)(i % 17);
    b[i] = (float)(i % 13);
  }
  for (int i = 0; i < kCount; i++) sums[i] = a[i] * b[i] + a[i];  // vectorised, FMA in v3
  float total = 0;
  for (int i = 0; i < kCount; i++) total += sums[i];
  for (uint64_t i = 1; i < 100000; i++) bits += __builtin_popcountll(i * 0x9e3779b97f4a7c15u);
  __builtin_cpu_init();
#ifdef __AVX2__
  printf("v3: %s\n",
         __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") ? "yes" : "no");
#else
  printf("v2: %s\n", __builtin_cpu_supports("sse4.2") ? "yes" : "no");
#endif
  printf("%.0f %llu\n", (double)total, (unsigned long long)bits);
  return 0;
}
