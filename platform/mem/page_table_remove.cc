// The parts of PageTable that take leaves away: Unmap, ReplaceRun, Collapse, destruction.
#include "platform/base/log.h"
#include "platform/mem/page_table.h"

namespace ringfence::platform {
namespace {

// A removal invalidates and reports after this many runs of frames, to bound its own memory.
constexpr size_t kMaxPendingRuns = 4096;

}  // namespace

// What has been taken out of the tables and not yet been invalidated and reported.
struct PageTable::Removal {
  // `unused`: no vCPU will run in the space again.
  Removal(PageTable* owner, DroppedFn on_dropped, bool unused = false)
      : space(owner),
        dropped(on_dropped),
        invalidates(!unused || !owner->memory_->KeepsTables()),
        batch(owner->memory_) {}

  void AddLeaf(uint64_t entry, int level) {
    const FrameRun run{pte::FrameOf(entry), PagesAt(level)};
    if (invalidates && (entry & pte::kPresent) != 0) batch.Add(run);
    AppendRun(&leaves, run);
    if (level == pte::kHugeLevel && !pte::IsFolded(entry)) huge.push_back(run.first);
    if (leaves.size() >= kMaxPendingRuns) Finish();
  }
  void AddTable(Frame table) {
    if (invalidates) batch.Add({table, 1});  // rule 4
    AppendRun(&tables, {table, 1});
    --space->tables_;
  }
  void Finish() {
    batch.Flush();
    for (const FrameRun& run : leaves) dropped(run);
    space->memory_->Retire(tables, huge);
    leaves.clear();
    tables.clear();
    huge.clear();
  }

  PageTable* const space;
  DroppedFn dropped;
  const bool invalidates;
  InvalidationBatch batch;
  std::vector<FrameRun> leaves;
  std::vector<FrameRun> tables;
  std::vector<Frame> huge;  // blocks that had a 2 MiB entry (rule 5)
};

void PageTable::UnmapLevel(Frame table, int level, uint64_t start, uint64_t end, Removal* removal) {
  TableView view = View(table);
  for (uint64_t va = start; va < end;) {
    const uint64_t next = EntryEnd(va, level, end);
    const uint64_t index = pte::Index(va, level);
    const uint64_t entry = view.Load(index);
    if (pte::IsLeaf(entry)) {
      view.Store(index, 0);
      removal->AddLeaf(entry, level);
    } else if (!pte::IsEmpty(entry)) {
      const Frame child = pte::FrameOf(entry);
      UnmapLevel(child, level - 1, va, next, removal);
      if (View(child).AllEmpty()) {
        StoreTable({table, index}, level, 0);
        removal->AddTable(child);
      }
    }
    va = next;
  }
}

Result<void> PageTable::Unmap(VirtRange range, DroppedFn dropped) {
  if (!IsUserRange(range)) return Errno::kINVAL;
  TRY(SplitEdges(range));
  Removal removal(this, dropped);
  UnmapLevel(root_, pte::kLevels - 1, range.start.value(), range.end.value(), &removal);
  removal.Finish();
  return Ok();
}

void PageTable::Dissolve(DroppedFn dropped) {
  Removal removal(this, dropped, /*unused=*/true);
  UnmapLevel(root_, pte::kLevels - 1, 0, kUserEnd.value(), &removal);
  removal.Finish();
}

void PageTable::DestroyLevel(Frame table, int level, uint64_t base, Removal* removal) {
  const TableView view = View(table);
  for (uint64_t i = 0; i < pte::kEntries; ++i) {
    const bool is_root = level == pte::kLevels - 1;
    if (is_root && i == pte::kKernelRootIndex && has_kernel_table_) continue;
    const uint64_t entry = view.Load(i);
    const uint64_t va = base + (i << pte::Shift(level));
    if (pte::IsEmpty(entry)) continue;
    if (!pte::IsLeaf(entry)) {
      DestroyLevel(pte::FrameOf(entry), level - 1, va, removal);
    } else if (va < kUserEnd.value()) {
      // Its reference is the owner's, who has lost it: better a leak than a frame used twice.
      Log(kError, "address space ", id_, " destroyed with page ", va, " still mapped");
    } else {
      removal->AddLeaf(entry, level);
    }
  }
  removal->AddTable(table);
}

PageTable::~PageTable() {
  auto unref = [this](FrameRun platform_pages) { memory_->Unref(platform_pages); };
  Removal removal(this, unref, /*unused=*/true);
  for (size_t i = 1; i < roots_.size(); ++i) {
    const uint64_t own = Load({roots_[i], pte::kOwnRootIndex});
    if (!pte::IsEmpty(own)) {
      DestroyLevel(pte::FrameOf(own), pte::kLevels - 2, kOwnRootBase.value(), &removal);
    }
    removal.AddTable(roots_[i]);
  }
  DestroyLevel(root_, pte::kLevels - 1, 0, &removal);
  removal.Finish();
  for (Frame table : reserve_) memory_->Unref({table, 1});
}

Result<void> PageTable::SplitForRun(VirtRange range, FrameRun run) {
  std::vector<Slot> cut;
  std::vector<Frame> claimed;
  auto collect = [&](Slot slot, int level, uint64_t at, uint64_t) {
    if (level != pte::kHugeLevel) return;
    const Frame frame{run.first.index + ((at - range.start.value()) >> kPageShift)};
    if (frame.index % kPagesPerHuge == 0 && memory_->ClaimHuge(frame)) {
      claimed.push_back(frame);
    } else {
      cut.push_back(slot);
    }
  };
  ForEachLeaf(range, collect);
  Result<void> split = SplitAll(cut);
  if (!split.ok()) memory_->Retire({}, claimed);  // not to be used after all
  return split;
}

Result<void> PageTable::ReplaceRun(VirtAddr va, FrameRun run, const MapOptions& options,
                                   DroppedFn dropped) {
  if (run.count > kUserEnd.value() >> kPageShift) return Errno::kINVAL;
  const VirtRange range = TRY(VirtRange::Make(va, run.count << kPageShift));
  if (!IsUserRange(range)) return Errno::kINVAL;
  uint64_t found = 0;
  auto count = [&](Slot, int level, uint64_t at, uint64_t) {
    found += (EntryEnd(at, level, range.end.value()) - at) >> kPageShift;
  };
  ForEachLeaf(range, count);
  if (found != run.count) return Errno::kNOENT;
  TRY(SplitEdges(range));
  TRY(SplitForRun(range, run));
  Removal removal(this, dropped);
  auto repoint = [&](Slot slot, int level, uint64_t at, uint64_t before) {
    const Frame frame{run.first.index + ((at - va.value()) >> kPageShift)};
    const uint64_t after = LeafEntry(frame, options, level);
    Store(slot, after);
    removal.AddLeaf(before, level);
  };
  ForEachLeaf(range, repoint);
  removal.Finish();
  return Ok();
}

bool PageTable::Collapse(VirtAddr va, FrameRun run, const MapOptions& options, DroppedFn dropped) {
  if (va >= kUserEnd || !IsHugeCandidate(va.value(), run.first, run.count)) return false;
  const auto slot = Find(va.value(), pte::kHugeLevel);
  const uint64_t before = slot ? Load(*slot) : 0;
  if (pte::IsEmpty(before) || pte::IsLeaf(before) || !memory_->ClaimHuge(run.first)) return false;
  const Frame table = pte::FrameOf(before);
  Removal removal(this, dropped);
  Store(*slot, LeafEntry(run.first, options, pte::kHugeLevel));
  const TableView view = View(table);
  for (uint64_t i = 0; i < pte::kEntries; ++i) {
    const uint64_t entry = view.Load(i);
    if (pte::IsLeaf(entry)) removal.AddLeaf(entry, 0);
  }
  removal.AddTable(table);
  removal.Finish();
  return true;
}

}  // namespace ringfence::platform
