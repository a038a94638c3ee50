#include "platform/mem/page_table.h"

#include <algorithm>
#include <atomic>

#include "platform/base/check.h"
#include "platform/mem/page_table_entries.h"

namespace ringfence::platform {
namespace {

constexpr uint64_t kTablesAtATime = 8;
static_assert(pte::Index(kKernelTableBase.value(), pte::kLevels - 1) == pte::kKernelRootIndex);
static_assert(pte::Index(kOwnRootBase.value(), pte::kLevels - 1) == pte::kOwnRootIndex);

uint64_t NextId() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

Result<std::unique_ptr<AddressSpace>> AddressSpace::Create(GuestMemory* memory) {
  return TRY(PageTable::Create(memory));
}

Result<std::unique_ptr<PageTable>> PageTable::Create(GuestMemory* memory) {
  const FrameRun root = TRY(memory->Allocate(1));
  return std::unique_ptr<PageTable>(new PageTable(memory, root.first));
}

PageTable::PageTable(GuestMemory* memory, Frame root)
    : memory_(memory), root_(root), roots_{root}, id_(NextId()) {}

// ---- Walking and making tables ----

std::optional<PageTable::Slot> PageTable::Find(uint64_t va, int level) const {
  Frame table = root_;
  for (int l = pte::kLevels - 1; l > level; --l) {
    const uint64_t entry = View(table).Load(pte::Index(va, l));
    if (pte::IsEmpty(entry) || pte::IsLeaf(entry)) return std::nullopt;
    table = pte::FrameOf(entry);
  }
  return Slot{table, pte::Index(va, level)};
}

std::optional<PageTable::Slot> PageTable::FindLeaf(uint64_t va, int* level) const {
  Frame table = root_;
  for (int l = pte::kLevels - 1; l >= 0; --l) {
    const Slot slot{table, pte::Index(va, l)};
    const uint64_t entry = Load(slot);
    if (pte::IsEmpty(entry)) return std::nullopt;
    if (pte::IsLeaf(entry)) {
      *level = l;
      return slot;
    }
    table = pte::FrameOf(entry);
  }
  return std::nullopt;
}

void PageTable::StoreTable(Slot slot, int level, uint64_t entry) {
  if (level < pte::kLevels - 1 || slot.index == pte::kOwnRootIndex) return Store(slot, entry);
  for (const Frame root : roots_) Store({root, slot.index}, entry);
}

PageTable::Slot PageTable::MakeBelow(Frame root, uint64_t va, int level) {
  Frame table = root;
  for (int l = pte::kLevels - 1; l > level; --l) {
    const Slot slot{table, pte::Index(va, l)};
    uint64_t entry = Load(slot);
    Check(!pte::IsLeaf(entry), "a large page is split before a part of it changes");
    if (pte::IsEmpty(entry)) {
      entry = pte::Table(TakeTable());
      StoreTable(slot, l, entry);
    }
    table = pte::FrameOf(entry);
  }
  return {table, pte::Index(va, level)};
}

Result<void> PageTable::Reserve(uint64_t tables) {
  while (reserve_.size() < tables) {
    auto run = memory_->Allocate(kTablesAtATime);
    if (!run.ok()) run = memory_->Allocate(1);
    if (!run.ok()) return run.error();
    // Taken from the back: lowest address first.
    for (uint64_t i = run->count; i > 0; --i) {
      reserve_.push_back(Frame{run->first.index + i - 1});
    }
  }
  return Ok();
}

Frame PageTable::TakeTable() {
  Check(!reserve_.empty(), "tables are reserved before an edit");
  const Frame table = reserve_.back();
  reserve_.pop_back();
  ++tables_;
  return table;
}

// ---- Map, Replace ----

bool PageTable::IsHugeCandidate(uint64_t va, Frame frame, uint64_t pages_left) const {
  return pages_left >= kPagesPerHuge && va % kHugePageSize == 0 && frame.index % kPagesPerHuge == 0;
}

// Tables above the page table for `va` that do not exist, each counted at the first address of the
// run that needs it.
uint64_t PageTable::MissingUpperTables(uint64_t va, bool first) const {
  uint64_t missing = 0;
  for (int level = pte::kHugeLevel; level < pte::kLevels - 1; ++level) {
    const uint64_t span = uint64_t{1} << pte::Shift(level + 1);
    if ((first || va % span == 0) && !Find(va, level)) ++missing;
  }
  return missing;
}

Result<uint64_t> PageTable::TablesToMap(uint64_t va, FrameRun run) const {
  uint64_t needed = 0;
  for (uint64_t done = 0; done < run.count;) {
    const uint64_t at = va + (done << kPageShift);
    const uint64_t pages =
        std::min(run.count - done, kPagesPerHuge - ((at >> kPageShift) % kPagesPerHuge));
    const auto slot = Find(at, pte::kHugeLevel);
    const uint64_t entry = slot ? Load(*slot) : 0;
    if (pte::IsLeaf(entry)) return Errno::kEXIST;
    if (pte::IsEmpty(entry)) {
      needed += MissingUpperTables(at, done == 0);
      // A claim may be refused: then small entries need their table.
      const Frame frame{run.first.index + done};
      if (memory_->ClaimsHuge() || !IsHugeCandidate(at, frame, run.count - done)) ++needed;
    } else {
      const TableView view = View(pte::FrameOf(entry));
      for (uint64_t i = 0; i < pages; ++i) {
        if (!pte::IsEmpty(view.Load(pte::Index(at, 0) + i))) return Errno::kEXIST;
      }
    }
    done += pages;
  }
  return needed;
}

Result<void> PageTable::Map(VirtAddr va, FrameRun run, const MapOptions& options) {
  if (run.count > kUserEnd.value() >> kPageShift) return Errno::kINVAL;
  const VirtRange range = TRY(VirtRange::Make(va, run.count << kPageShift));
  if (!IsUserRange(range)) return Errno::kINVAL;
  TRY(Reserve(TRY(TablesToMap(va.value(), run))));
  for (uint64_t done = 0; done < run.count;) {
    const uint64_t at = va.value() + (done << kPageShift);
    const uint64_t left = run.count - done;
    const Frame frame{run.first.index + done};
    if (IsHugeCandidate(at, frame, left)) {
      const Slot slot = Make(at, pte::kHugeLevel);
      if (pte::IsEmpty(Load(slot)) && memory_->ClaimHuge(frame)) {
        Store(slot, LeafEntry(frame, options, pte::kHugeLevel));
        done += kPagesPerHuge;
        continue;
      }
    }
    const Slot slot = Make(at, 0);
    const uint64_t pages = std::min(left, pte::kEntries - slot.index);
    TableView view = View(slot.table);
    for (uint64_t i = 0; i < pages; ++i) {
      view.Store(slot.index + i, LeafEntry(Frame{frame.index + i}, options, 0));
    }
    done += pages;
  }
  return Ok();
}

Result<std::optional<Frame>> PageTable::Replace(VirtAddr va, Frame frame,
                                                const MapOptions& options) {
  const VirtRange range = TRY(VirtRange::Make(va, kPageSize));
  if (!IsUserRange(range)) return Errno::kINVAL;
  TRY(SplitEdges(range));
  if (!Find(va.value(), 0)) TRY(Reserve(pte::kLevels - 1));
  const Slot slot = Make(va.value(), 0);
  const uint64_t before = Load(slot);
  const uint64_t after = LeafEntry(frame, options, 0);
  Store(slot, after);
  if (pte::IsEmpty(before)) return std::optional<Frame>();
  const Frame old = pte::FrameOf(before);
  if (pte::IsDowngrade(before, after)) memory_->Invalidate({old, 1});
  return std::optional<Frame>(old);
}

Result<void> PageTable::MakePrivate(VirtRange range, Prot prot) {
  if (!IsUserRange(range)) return Errno::kINVAL;
  TRY(SplitEdges(range));
  TRY(Unfold(range));
  InvalidationBatch batch(memory_);
  auto privatise = [&](Slot slot, int level, uint64_t, uint64_t before) {
    const uint64_t after = pte::WithRights(before, prot) & ~pte::kSoftCow;
    Store(slot, after);
    // Not expected: a caller that takes rights away gets what Protect does.
    if (pte::IsDowngrade(before, after)) batch.Add({pte::FrameOf(before), PagesAt(level)});
  };
  ForEachLeaf(range, privatise);
  batch.Flush();
  return Ok();
}

// ---- Splitting (rule 5) ----

Frame PageTable::Split(Slot slot, InvalidationBatch* batch) {
  const uint64_t huge = Load(slot);
  const Frame table = TakeTable();
  TableView parts = View(table);
  for (uint64_t i = 0; i < pte::kEntries; ++i) parts.Store(i, pte::SplitPart(huge, i));
  Store(slot, pte::Table(table));
  if ((huge & pte::kPresent) != 0) batch->Add({pte::FrameOf(huge), kPagesPerHuge});
  return pte::FrameOf(huge);
}

Result<void> PageTable::SplitAll(const std::vector<Slot>& slots) {
  if (slots.empty()) return Ok();
  TRY(Reserve(slots.size()));
  InvalidationBatch batch(memory_);
  std::vector<Frame> huge;
  for (Slot slot : slots) {
    const bool claimed = !pte::IsFolded(Load(slot));
    const Frame first = Split(slot, &batch);
    if (claimed) huge.push_back(first);
  }
  batch.Flush();
  memory_->Retire({}, huge);
  return Ok();
}

Result<void> PageTable::SplitEdges(VirtRange range) {
  std::vector<Slot> cut;
  for (uint64_t edge : {range.start.value(), range.end.value()}) {
    if (edge % kHugePageSize == 0) continue;
    const auto slot = Find(edge, pte::kHugeLevel);
    if (!slot || !pte::IsLeaf(Load(*slot))) continue;
    // Both edges in one 2 MiB entry: one split does.
    if (cut.size() == 1 && cut[0].table == slot->table && cut[0].index == slot->index) continue;
    cut.push_back(*slot);
  }
  return SplitAll(cut);
}

// Folded leaves in the range become the small ones that they stand for.
Result<void> PageTable::Unfold(VirtRange range) {
  std::vector<Slot> folded;
  auto collect = [&](Slot slot, int, uint64_t, uint64_t entry) {
    if (pte::IsFolded(entry)) folded.push_back(slot);
  };
  ForEachLeaf(range, collect);
  return SplitAll(folded);
}

Result<void> PageTable::Protect(VirtRange range, Prot prot) {
  if (!IsUserRange(range)) return Errno::kINVAL;
  TRY(SplitEdges(range));
  TRY(Unfold(range));
  InvalidationBatch batch(memory_);
  auto protect = [&](Slot slot, int level, uint64_t, uint64_t before) {
    uint64_t after = pte::WithRights(before, prot);
    if ((before & pte::kSoftCow) != 0) after = pte::WithoutWrite(after);
    if (after == before) return;
    Store(slot, after);
    if (pte::IsDowngrade(before, after)) batch.Add({pte::FrameOf(before), PagesAt(level)});
  };
  ForEachLeaf(range, protect);
  batch.Flush();
  return Ok();
}

// ---- The platform's own pages ----

Result<unsigned> PageTable::AddRoot() {
  TRY(Reserve(1));
  const Frame root = TakeTable();
  TableView view = View(root);
  for (uint64_t i = 0; i < pte::kEntries; ++i) {
    if (i != pte::kOwnRootIndex) view.Store(i, Load({root_, i}));
  }
  roots_.push_back(root);
  return static_cast<unsigned>(roots_.size() - 1);
}

Result<void> PageTable::MapPlatformPage(VirtAddr va, Frame frame, Prot prot, bool user,
                                        unsigned root) {
  const uint64_t top = va.value() >> (pte::kAddressBits - 1);
  const bool canonical = top == 0 || top == ~uint64_t{0} >> (pte::kAddressBits - 1);
  if (va < kUserEnd || !canonical || va.page_offset() != 0) return Errno::kINVAL;
  const bool in_kernel_table =
      pte::Index(va.value(), pte::kLevels - 1) == pte::kKernelRootIndex && has_kernel_table_;
  if (in_kernel_table) return Errno::kINVAL;
  TRY(Reserve(pte::kLevels - 1));
  const Slot slot = MakeBelow(roots_[root], va.value(), 0);
  if (!pte::IsEmpty(Load(slot))) return Errno::kEXIST;
  Store(slot, user ? pte::UserLeaf(frame, prot) : pte::SupervisorLeaf(frame, prot));
  return Ok();
}

void PageTable::SetKernelTable(Frame table) {
  const Slot slot{root_, pte::kKernelRootIndex};
  Check(has_kernel_table_ || pte::IsEmpty(Load(slot)),
        "the kernel table is set before pages are mapped there");
  StoreTable(slot, pte::kLevels - 1, pte::Table(table));
  has_kernel_table_ = true;
}

}  // namespace ringfence::platform
