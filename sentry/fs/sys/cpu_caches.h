// The caches of the CPU, as CPUID describes them.
#ifndef RINGFENCE_SENTRY_FS_SYS_CPU_CACHES_H_
#define RINGFENCE_SENTRY_FS_SYS_CPU_CACHES_H_

#include <cstdint>
#include <vector>

namespace ringfence::sentry {

struct CpuCache {
  uint32_t level = 0;
  const char* type = "";  // "Data", "Instruction", "Unified"
  uint32_t line_bytes = 0, ways = 0, sets = 0;
  uint64_t KiB() const { return uint64_t{line_bytes} * ways * sets / 1024; }
};

// At most 8; empty where the CPU does not say.
const std::vector<CpuCache>& CpuCaches();

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_SYS_CPU_CACHES_H_
