// The parts of PageTable that read: Lookup, Visit, CloneInto.
#include "platform/mem/page_table.h"

namespace ringfence::platform {

std::optional<Leaf> PageTable::Lookup(VirtAddr va) const {
  if (va >= kUserEnd) return std::nullopt;
  int level = 0;
  const auto slot = FindLeaf(va.value(), &level);
  if (!slot) return std::nullopt;
  Leaf leaf = ToLeaf(Load(*slot), level);
  if (leaf.huge) leaf.frame.index += pte::Index(va.value(), 0);
  return leaf;
}

void PageTable::Visit(VirtRange range, VisitFn visit) const {
  if (!IsUserRange(range)) return;
  constexpr uint64_t kNotAttributes = pte::kFrameMask;
  uint64_t run_va = 0;
  FrameRun run;
  uint64_t run_entry = 0;
  int run_level = 0;
  auto finish = [&] {
    if (run.count == 0) return;
    Leaf attributes = ToLeaf(run_entry, run_level);
    attributes.frame = run.first;
    visit(VirtAddr(run_va), run, attributes);
  };
  auto each = [&](Slot, int level, uint64_t va, uint64_t entry) {
    // The range may begin or end inside a 2 MiB leaf.
    const uint64_t skip = (va >> kPageShift) % PagesAt(level);
    const FrameRun part{Frame{pte::FrameOf(entry).index + skip},
                        (EntryEnd(va, level, range.end.value()) - va) >> kPageShift};
    if (run.count != 0 && level == run_level && part.first == run.end() &&
        va == run_va + (run.count << kPageShift) &&
        (entry & ~kNotAttributes) == (run_entry & ~kNotAttributes)) {
      run.count += part.count;
      return;
    }
    finish();
    run_va = va;
    run = part;
    run_entry = entry;
    run_level = level;
  };
  ForEachLeaf(range, each);
  finish();
}

// State of one CloneInto: the child's table last written to and references not yet taken.
class PageTable::Cloner {
 public:
  Cloner(PageTable* parent, PageTable* child, bool cow)
      : parent_(parent), child_(child), cow_(cow), batch_(parent->memory_) {}

  void CopyLeaf(Slot slot, int level, uint64_t va, uint64_t before) {
    if (!result_.ok()) return;
    uint64_t after = before;
    if (cow_) after = pte::WithoutWrite(before) | pte::kSoftCow;
    // Rule 5: the parent's may be the only 2 MiB entry of the block. Most children end, or become
    // another program, before they have looked at all of it: folded until then.
    const bool huge = level == pte::kHugeLevel && parent_->memory_->ClaimsHuge();
    const bool none = !pte::ProtOf(before).any();
    const Slot target = ChildSlot(va, huge && none ? 0 : level);
    if (!result_.ok()) return;
    if (huge && none) {
      TableView parts = child_->View(target.table);
      for (uint64_t i = 0; i < pte::kEntries; ++i) parts.Store(i, pte::SplitPart(after, i));
    } else {
      child_->Store(target, huge ? pte::Folded(after) : after);
    }
    const FrameRun run{pte::FrameOf(before), PagesAt(level)};
    AppendRun(&copied_, run);
    if (after == before) return;
    parent_->Store(slot, after);
    if (pte::IsDowngrade(before, after)) batch_.Add(run);
  }

  Result<void> Finish() {
    for (const FrameRun& run : copied_) parent_->memory_->Ref(run);
    batch_.Flush();
    return result_;
  }

 private:
  Slot ChildSlot(uint64_t va, int level) {
    const uint64_t region = va >> pte::Shift(level + 1);
    if (level != table_level_ || region != table_region_) {
      result_ = child_->Reserve(pte::kLevels - 1);
      if (!result_.ok()) return {};
      table_ = child_->Make(va, level).table;
      table_level_ = level;
      table_region_ = region;
    }
    const Slot slot{table_, pte::Index(va, level)};
    if (!pte::IsEmpty(child_->Load(slot))) result_ = Errno::kEXIST;
    return slot;
  }

  PageTable* const parent_;
  PageTable* const child_;
  const bool cow_;
  InvalidationBatch batch_;
  std::vector<FrameRun> copied_;
  Frame table_;
  int table_level_ = -1;
  uint64_t table_region_ = 0;
  Result<void> result_;
};

Result<void> PageTable::CloneInto(AddressSpace& child, VirtRange range, bool cow) {
  if (!IsUserRange(range)) return Errno::kINVAL;
  TRY(SplitEdges(range));
  // The only implementation there is; both belong to the same GuestMemory.
  Cloner cloner(this, static_cast<PageTable*>(&child), cow);
  auto copy = [&](Slot slot, int level, uint64_t va, uint64_t entry) {
    cloner.CopyLeaf(slot, level, va, entry);
  };
  ForEachLeaf(range, copy);
  return cloner.Finish();
}

}  // namespace ringfence::platform
