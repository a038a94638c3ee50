// TableView: the 512 entries of one page-table frame, read and written as the CPU does: whole, by
// single atomic 64-bit accesses, while vCPUs walk the table.
#ifndef RINGFENCE_PLATFORM_MEM_TABLE_VIEW_UNSAFE_H_
#define RINGFENCE_PLATFORM_MEM_TABLE_VIEW_UNSAFE_H_

#include <atomic>
#include <cstdint>

#include "platform/base/addr.h"
#include "platform/mem/arch/pte.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::platform {

class TableView {
 public:
  // `table` is an anonymous frame used as a page table and nothing else.
  TableView(const GuestMemory& memory, Frame table)
      // SAFETY: the frame is page aligned, always accessible, never mapped into a guest, and holds
      // 512 entries; the caller's lock excludes other writers.
      : entries_(reinterpret_cast<uint64_t*>(memory.HostAddress(table))) {}

  uint64_t Load(uint64_t index) const {
    return std::atomic_ref<uint64_t>(entries_[index]).load(std::memory_order_relaxed);
  }
  // Release: a table's own entries are visible before the entry that points to it.
  void Store(uint64_t index, uint64_t entry) {
    std::atomic_ref<uint64_t>(entries_[index]).store(entry, std::memory_order_release);
  }
  bool AllEmpty() const {
    for (uint64_t i = 0; i < pte::kEntries; ++i) {
      if (!pte::IsEmpty(Load(i))) return false;
    }
    return true;
  }

 private:
  uint64_t* entries_;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_TABLE_VIEW_UNSAFE_H_
