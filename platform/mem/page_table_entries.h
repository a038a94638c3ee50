// Small facts about entries and ranges shared by the parts of PageTable. Private to platform/mem.
#ifndef RINGFENCE_PLATFORM_MEM_PAGE_TABLE_ENTRIES_H_
#define RINGFENCE_PLATFORM_MEM_PAGE_TABLE_ENTRIES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "platform/mem/address_space.h"
#include "platform/mem/arch/pte.h"

namespace ringfence::platform {

// Start of the entry after the one that maps `va` in a table of `level`, at most `end`.
inline uint64_t EntryEnd(uint64_t va, int level, uint64_t end) {
  const uint64_t size = uint64_t{1} << pte::Shift(level);
  const uint64_t next = (va & ~(size - 1)) + size;
  return next == 0 ? end : std::min(next, end);
}

inline bool IsUserRange(VirtRange range) {
  return range.start <= range.end && range.end <= kUserEnd && IsPageAligned(range.start.value()) &&
         IsPageAligned(range.end.value());
}

inline uint64_t PagesAt(int level) { return level == pte::kHugeLevel ? kPagesPerHuge : 1; }

inline uint64_t LeafEntry(Frame frame, const AddressSpace::MapOptions& options, int level) {
  return pte::UserLeaf(frame, options.prot) | (options.soft_cow ? pte::kSoftCow : 0) |
         (options.soft_shared ? pte::kSoftShared : 0) | (level == pte::kHugeLevel ? pte::kHuge : 0);
}

inline Leaf ToLeaf(uint64_t entry, int level) {
  return {.frame = pte::FrameOf(entry),
          .prot = pte::ProtOf(entry),
          .soft_cow = (entry & pte::kSoftCow) != 0,
          .soft_shared = (entry & pte::kSoftShared) != 0,
          .huge = level == pte::kHugeLevel};
}

inline void AppendRun(std::vector<FrameRun>* runs, FrameRun run) {
  if (!runs->empty() && runs->back().end() == run.first) {
    runs->back().count += run.count;
  } else {
    runs->push_back(run);
  }
}

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_PAGE_TABLE_ENTRIES_H_
