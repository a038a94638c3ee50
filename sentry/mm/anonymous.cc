// Faults on private memory without an object: how much comes at once. See README.md.
#include <algorithm>

#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

using platform::Leaf;

// Pages that one fault fills: few enough not to waste, many enough that the cost of an exit is
// shared.
constexpr uint64_t kWindow = 16 * kPageSize;
// The same where memory is used from one end to the other: a heap that grows.
constexpr uint64_t kGrowingWindow = 256 * kPageSize;

// Mappings from this size on are asked how they are used: no CPU says which parts of a 2 MiB entry
// are touched, so that every so many blocks one comes in pages.
constexpr uint64_t kProbedSize = 16 * kHugePageSize;
constexpr uint64_t kBlocksPerProbe = 16;
// What a block has of pages when its probe has been used up, and when it is as good as full.
constexpr uint64_t kProbePages = kWindow / kPageSize;
constexpr uint64_t kDensePages = 64;

// Faults the same distance apart before those to come are foreseen, and how many at most.
constexpr unsigned kStrideStreak = 2;
constexpr unsigned kMaxStrideAhead = 64;

VirtRange AlignedWindow(VirtAddr addr, uint64_t size) {
  const VirtAddr start(addr.value() & ~(size - 1));
  return {start, VirtAddr(start.value() + size)};
}

VirtRange PageOf(VirtAddr addr) { return {addr, VirtAddr(addr.value() + kPageSize)}; }

}  // namespace

uint64_t MemoryManagerImpl::PagesInLocked(VirtRange range) const {
  uint64_t pages = 0;
  space_->Visit(range, [&pages](VirtAddr, FrameRun run, const Leaf&) { pages += run.count; });
  return pages;
}

MemoryManagerImpl::BlockUse MemoryManagerImpl::BlockUseLocked(const Vma& vma, VirtAddr addr) const {
  const VirtRange block = AlignedWindow(addr, kHugePageSize);
  if (vma.huge == HugePolicy::kNever || !vma.range.contains(block)) return BlockUse::kPages;
  const uint64_t pages = PagesInLocked(block);
  const bool probed = vma.huge == HugePolicy::kDefault && vma.range.size() >= kProbedSize;
  if (pages != 0) {
    const bool used_up = probed && pages >= kProbePages && pages <= kDensePages;
    return used_up && !memory_->Scarce() ? BlockUse::kPromote : BlockUse::kPages;
  }
  if (memory_->Scarce()) return probed ? BlockUse::kSparse : BlockUse::kPages;
  if (!probed || vma.huge == HugePolicy::kWanted) return BlockUse::kWhole;
  if ((block.start.value() / kHugePageSize) % kBlocksPerProbe == 0) return BlockUse::kProbe;

  // As the neighbours.
  bool sparse = false;
  for (const uint64_t at : {block.start.value() - kHugePageSize, block.end.value()}) {
    const VirtRange neighbour{VirtAddr(at), VirtAddr(at + kHugePageSize)};
    const uint64_t there = vma.range.contains(neighbour) ? PagesInLocked(neighbour) : 0;
    if (there > kProbePages) return BlockUse::kWhole;
    sparse = sparse || there != 0;
  }
  return sparse ? BlockUse::kSparse : BlockUse::kProbe;
}

bool MemoryManagerImpl::MapBlockLocked(const Vma& vma, VirtAddr block) {
  auto run = memory_->Allocate(kPagesPerHuge);
  return run.ok() && MapRunLocked(block, *run, {.prot = vma.LeafProt()}).ok();
}

bool MemoryManagerImpl::MapHoleLocked(const Vma& vma, VirtRange hole) {
  const auto run = memory_->Allocate(hole.pages());
  return run.ok() && MapRunLocked(hole.start, *run, {.prot = vma.LeafProt()}).ok();
}

// A block of which a few pages are there becomes a 2 MiB page.
bool MemoryManagerImpl::PromoteLocked(const Vma& vma, VirtAddr addr) {
  const VirtRange block = AlignedWindow(addr, kHugePageSize);
  struct Part {
    uint64_t offset;
    FrameRun run;
  };
  std::vector<Part> parts;
  bool ours = true;  // also not pinned: who pinned a page writes to the frame
  space_->Visit(block, [&](VirtAddr va, FrameRun run, const Leaf& leaf) {
    parts.push_back({va.value() - block.start.value(), run});
    ours = ours && leaf.prot.write && !leaf.soft_cow && !leaf.soft_shared;
    for (uint64_t i = 0; i < run.count; ++i) {
      ours = ours && memory_->RefCount(Frame{run.first.index + i}) == 1;
    }
  });
  if (!ours) return false;
  const auto whole = memory_->Allocate(kPagesPerHuge);
  if (!whole.ok()) return false;

  // Nobody writes while the contents move.
  Prot frozen = vma.LeafProt();
  frozen.write = false;
  bool moved = space_->Protect(block, frozen).ok();
  for (const Part& part : parts) {
    const size_t bytes = part.run.count * kPageSize;
    std::byte* const to = memory_->HostAddress(whole->first) + part.offset;
    moved = moved && platform::SafeCopy(to, memory_->HostAddress(part.run.first), bytes) == bytes;
  }
  moved = moved && space_->Collapse(block.start, *whole, {.prot = vma.LeafProt()},
                                    [this](FrameRun run) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                      resident_pages_ -= run.count;
                                      memory_->Unref(run);
                                    });
  if (!moved) {
    (void)space_->Protect(block, vma.LeafProt());
    memory_->Unref(*whole);
    return false;
  }
  resident_pages_ += kPagesPerHuge;
  peak_resident_ = std::max(peak_resident_, resident_pages_);
  return true;
}

// Faults that come at equal distances are taken ahead: a page each, and twice as many each time.
void MemoryManagerImpl::FaultStrideAheadLocked(const Vma& vma, VirtAddr addr) {
  const uint64_t delta = addr.value() - stride_.last;
  stride_.streak = delta == stride_.delta ? std::min(stride_.streak + 1, 16u) : 0;
  stride_.delta = delta;
  stride_.last = addr.value();
  if (stride_.streak < kStrideStreak || memory_->Scarce()) return;
  const unsigned ahead = std::min(1u << stride_.streak, kMaxStrideAhead);
  for (unsigned i = 0; i < ahead; ++i) {
    const VirtAddr next(stride_.last + delta);
    if (!vma.range.contains(next) || space_->Lookup(next).has_value()) return;
    if (!MapHoleLocked(vma, PageOf(next))) return;
    stride_.last = next.value();
  }
}

// Memory that is only read so far: zeroes that all share, where else a block would come. More of
// them where there are some.
bool MemoryManagerImpl::MapZeroesLocked(const Vma& vma, VirtAddr addr) {
  const VirtRange block = AlignedWindow(addr, kHugePageSize);
  if (!vma.range.contains(block) || !OnlyZeroesLocked(block)) return false;
  const auto zeroes = memory_->ZeroFrames();
  if (!zeroes.ok()) return false;
  MapOptions options{.prot = vma.LeafProt(), .soft_cow = true};
  options.prot.write = false;
  const VirtRange fill = AnyLeafLocked(block) ? block : AlignedWindow(addr, kWindow);
  for (uint64_t at = fill.start.value(); at < fill.end.value(); at += kWindow) {
    if (AnyLeafLocked({VirtAddr(at), VirtAddr(at + kWindow)})) continue;
    memory_->Ref(*zeroes);
    if (!MapRunLocked(VirtAddr(at), *zeroes, options).ok()) break;
  }
  return space_->Lookup(addr).has_value();
}

bool MemoryManagerImpl::OnlyZeroesLocked(VirtRange range) const {
  bool only = true;
  space_->Visit(range, [&](VirtAddr, FrameRun run, const Leaf&) {
    only = only && memory_->IsZeroFrame(run.first);
  });
  return only;
}

// The first write to such memory: as if it had never been read.
FaultResult MemoryManagerImpl::WriteToZeroesLocked(const Vma& vma, VirtAddr addr) {
  const VirtRange block = AlignedWindow(addr, kHugePageSize);
  const bool whole = vma.range.contains(block) && OnlyZeroesLocked(block);
  const VirtRange range = whole ? block : vma.Clip(AlignedWindow(addr, kWindow));
  std::vector<VirtRange> zeroes;
  space_->Visit(range, [&](VirtAddr va, FrameRun run, const Leaf&) {
    if (!memory_->IsZeroFrame(run.first)) return;
    const VirtAddr end(va.value() + run.count * kPageSize);
    if (!zeroes.empty() && zeroes.back().end == va) {
      zeroes.back().end = end;
    } else {
      zeroes.push_back({va, end});
    }
  });
  for (const VirtRange& part : zeroes) {
    if (!DropLeavesLocked(part).ok()) return FaultResult::kOutOfMemory;
  }
  return AnonymousLocked(vma, addr, Access::kWrite);
}

FaultResult MemoryManagerImpl::AnonymousLocked(const Vma& vma, VirtAddr addr, Access access) {
  if (access == Access::kRead && MapZeroesLocked(vma, addr)) return FaultResult::kHandled;
  const BlockUse use = BlockUseLocked(vma, addr);
  if (use == BlockUse::kWhole && MapBlockLocked(vma, addr.huge_down()))
    return FaultResult::kHandled;
  if (use == BlockUse::kPromote && PromoteLocked(vma, addr)) return FaultResult::kHandled;
  if (use == BlockUse::kSparse && MapHoleLocked(vma, PageOf(addr))) {
    FaultStrideAheadLocked(vma, addr);
    return FaultResult::kHandled;
  }
  const VirtAddr low = AlignedWindow(addr, kWindow).start;
  const bool growing = use != BlockUse::kProbe && low > vma.range.start &&
                       space_->Lookup(VirtAddr(low.value() - kPageSize)).has_value();
  // Not into the next block of 2 MiB, which may get an entry of its own.
  const uint64_t block_end = low.huge_down().value() + kHugePageSize;
  const uint64_t more = growing ? kGrowingWindow : kWindow;
  const VirtRange windows[] = {{low, VirtAddr(std::min(low.value() + more, block_end))},
                               {low, VirtAddr(low.value() + kWindow)},
                               PageOf(addr)};
  for (const VirtRange& window : windows) {
    if (MapHoleLocked(vma, HoleAroundLocked(addr, vma.Clip(window)))) return FaultResult::kHandled;
  }
  return FaultResult::kOutOfMemory;
}

}  // namespace ringfence::sentry
