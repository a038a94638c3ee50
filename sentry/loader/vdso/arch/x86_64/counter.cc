#include "sentry/loader/vdso/counter.h"

#include <cpuid.h>
#include <x86intrin.h>

namespace ringfence::sentry {

uint64_t ReadCounter() {
  // SAFETY: LFENCE and RDTSC touch no memory; LFENCE orders RDTSC (SDM vol. 2, RDTSC).
  _mm_lfence();
  const uint64_t tsc = __rdtsc();
  _mm_lfence();
  return tsc;
}

bool CounterIsReliable() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  // Invariant TSC (SDM vol. 3, 18.17.1).
  return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1 << 8)) != 0;
}

}  // namespace ringfence::sentry
