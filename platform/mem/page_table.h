// PageTable: the AddressSpace of CPUs that walk a radix tree of 512-entry tables. The entry format
// is the architecture's (platform/mem/arch/pte.h). Private to platform/mem.
//
// Tables of the user range never stay empty: the operation that removes the last entry frees them,
// so a guest that maps sparsely cannot leave tables behind.
#ifndef RINGFENCE_PLATFORM_MEM_PAGE_TABLE_H_
#define RINGFENCE_PLATFORM_MEM_PAGE_TABLE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "platform/mem/address_space.h"
#include "platform/mem/invalidation_batch.h"
#include "platform/mem/page_table_entries.h"
#include "platform/mem/table_view_unsafe.h"

namespace ringfence::platform {

class PageTable final : public AddressSpace {
 public:
  static Result<std::unique_ptr<PageTable>> Create(GuestMemory* memory);
  ~PageTable() override;

  Result<void> Map(VirtAddr va, FrameRun run, const MapOptions& options) override;
  Result<std::optional<Frame>> Replace(VirtAddr va, Frame frame,
                                       const MapOptions& options) override;
  Result<void> ReplaceRun(VirtAddr va, FrameRun run, const MapOptions& options,
                          DroppedFn dropped) override;
  Result<void> MakePrivate(VirtRange range, Prot prot) override;
  bool Collapse(VirtAddr va, FrameRun run, const MapOptions& options, DroppedFn dropped) override;
  Result<void> Unmap(VirtRange range, DroppedFn dropped) override;
  void Dissolve(DroppedFn dropped) override;
  Result<void> Protect(VirtRange range, Prot prot) override;
  std::optional<Leaf> Lookup(VirtAddr va) const override;
  void Visit(VirtRange range, VisitFn visit) const override;
  Result<void> CloneInto(AddressSpace& child, VirtRange range, bool cow) override;
  uint64_t TableBytes() const override { return tables_ * kPageSize; }
  uint64_t RootPhys(unsigned root) const override { return roots_[root].phys(); }
  Result<unsigned> AddRoot() override;
  uint64_t Id() const override { return id_; }
  Result<void> MapPlatformPage(VirtAddr va, Frame frame, Prot prot, bool user,
                               unsigned root) override;
  void SetKernelTable(Frame table) override;

 private:
  // Where an entry is kept.
  struct Slot {
    Frame table;
    uint64_t index;
  };
  struct Removal;
  class Cloner;

  PageTable(GuestMemory* memory, Frame root);
  TableView View(Frame table) const { return TableView(*memory_, table); }
  uint64_t Load(Slot slot) const { return View(slot.table).Load(slot.index); }
  void Store(Slot slot, uint64_t entry) { View(slot.table).Store(slot.index, entry); }
  // A pointer to a table: one in a root goes into every root.
  void StoreTable(Slot slot, int level, uint64_t entry);

  // The slot for `va` in a table of `level`, if that table exists.
  std::optional<Slot> Find(uint64_t va, int level) const;
  // The slot that holds the leaf for `va`; *level is its level.
  std::optional<Slot> FindLeaf(uint64_t va, int* level) const;
  // As Find, making the tables on the way from reserve_, which holds enough.
  Slot Make(uint64_t va, int level) { return MakeBelow(root_, va, level); }
  Slot MakeBelow(Frame root, uint64_t va, int level);

  // Tables set aside so that an edit cannot fail half-way.
  Result<void> Reserve(uint64_t tables);
  Frame TakeTable();

  bool IsHugeCandidate(uint64_t va, Frame frame, uint64_t pages_left) const;
  // EEXIST when a leaf is in the way, otherwise how many tables mapping the run needs.
  Result<uint64_t> TablesToMap(uint64_t va, FrameRun run) const;
  uint64_t MissingUpperTables(uint64_t va, bool first) const;

  // Rule 5: cuts 2 MiB leaves that straddle an end of the range. ENOMEM: nothing changed.
  Result<void> SplitEdges(VirtRange range);
  Result<void> SplitAll(const std::vector<Slot>& slots);
  Result<void> Unfold(VirtRange range);
  // Returns the first frame of the block, which is to be retired when the batch has been flushed.
  Frame Split(Slot slot, InvalidationBatch* batch);
  // Cuts the whole 2 MiB leaves in the range that cannot be pointed to the run as they are.
  Result<void> SplitForRun(VirtRange range, FrameRun run);

  // Calls fn(slot, level, va, entry) for each leaf that begins in [start, end), ascending.
  template <typename Fn>
  void ForEachLeaf(Frame table, int level, uint64_t start, uint64_t end, Fn& fn) const;

  template <typename Fn>
  void ForEachLeaf(VirtRange range, Fn& fn) const {
    ForEachLeaf(root_, pte::kLevels - 1, range.start.value(), range.end.value(), fn);
  }

  void UnmapLevel(Frame table, int level, uint64_t start, uint64_t end, Removal* removal);
  void DestroyLevel(Frame table, int level, uint64_t base, Removal* removal);

  GuestMemory* const memory_;
  const Frame root_;  // roots_[0]
  std::vector<Frame> roots_;
  const uint64_t id_;
  bool has_kernel_table_ = false;
  uint64_t tables_ = 1;
  std::vector<Frame> reserve_;
};

template <typename Fn>
void PageTable::ForEachLeaf(Frame table, int level, uint64_t start, uint64_t end, Fn& fn) const {
  const TableView view = View(table);
  for (uint64_t va = start; va < end;) {
    const uint64_t next = EntryEnd(va, level, end);
    const Slot slot{table, pte::Index(va, level)};
    const uint64_t entry = view.Load(slot.index);
    if (pte::IsLeaf(entry)) {
      fn(slot, level, va, entry);
    } else if (!pte::IsEmpty(entry)) {
      ForEachLeaf(pte::FrameOf(entry), level - 1, va, next, fn);
    }
    va = next;
  }
}

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_PAGE_TABLE_H_
