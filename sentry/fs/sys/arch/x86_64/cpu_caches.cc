#include "sentry/fs/sys/cpu_caches.h"

#include <cpuid.h>

namespace ringfence::sentry {
namespace {

constexpr uint32_t kIntelLeaf = 4, kAmdLeaf = 0x8000001d;  // the same layout
constexpr uint32_t kMaxCaches = 8;

std::vector<CpuCache> ReadLeaf(uint32_t leaf) {
  static constexpr const char* kTypes[] = {"", "Data", "Instruction", "Unified"};
  std::vector<CpuCache> caches;
  for (uint32_t i = 0; i < kMaxCaches; ++i) {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(leaf, i, &eax, &ebx, &ecx, &edx) == 0) break;
    const uint32_t type = eax & 31;
    if (type == 0 || type > 3) break;
    caches.push_back({.level = eax >> 5 & 7,
                      .type = kTypes[type],
                      .line_bytes = (ebx & 0xfff) + 1,
                      .ways = (ebx >> 22) + 1,
                      .sets = ecx + 1});
  }
  return caches;
}

}  // namespace

const std::vector<CpuCache>& CpuCaches() {
  static const auto* const caches = [] {
    auto* read = new std::vector<CpuCache>(ReadLeaf(kIntelLeaf));
    if (read->empty()) *read = ReadLeaf(kAmdLeaf);
    return read;
  }();
  return *caches;
}

}  // namespace ringfence::sentry
