// Page faults: what a VMA promises becomes leaves. See README.md for the sizes that are filled.
#include <algorithm>
#include <iterator>

#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

using platform::Leaf;

// Pages that a first write to private memory of a file copies.
constexpr uint64_t kCopyWindow = 64 * kPageSize;

bool Allows(const Vma& vma, Access access) {
  switch (access) {
    case Access::kRead:
      return vma.prot.any();
    case Access::kWrite:
      return vma.prot.write;
    case Access::kExec:
      return vma.prot.exec;
  }
  return false;
}

bool Satisfies(Prot prot, Access access) {
  switch (access) {
    case Access::kRead:
      return prot.read;
    case Access::kWrite:
      return prot.write;
    case Access::kExec:
      return prot.exec;
  }
  return false;
}

VirtRange AlignedWindow(VirtAddr addr, uint64_t size) {
  const VirtAddr start(addr.value() & ~(size - 1));
  return {start, VirtAddr(start.value() + size)};
}

}  // namespace

Errno MemoryManagerImpl::ErrnoOf(FaultResult result) {
  return result == FaultResult::kOutOfMemory ? Errno::kNOMEM : Errno::kFAULT;
}

Result<void> MemoryManagerImpl::MapRunLocked(VirtAddr va, FrameRun run, const MapOptions& options) {
  auto mapped = space_->Map(va, run, options);
  if (!mapped.ok()) {
    memory_->Unref(run);
    return mapped.error();
  }
  // As on Linux, zeroes that all share are nobody's.
  if (!memory_->IsZeroFrame(run.first)) resident_pages_ += run.count;
  peak_resident_ = std::max(peak_resident_, resident_pages_);
  return Ok();
}

bool MemoryManagerImpl::AnyLeafLocked(VirtRange range) const {
  bool any = false;
  space_->Visit(range, [&any](VirtAddr, FrameRun, const Leaf&) { any = true; });
  return any;
}

VirtRange MemoryManagerImpl::HoleAroundLocked(VirtAddr addr, VirtRange window) const {
  VirtRange hole = window;
  space_->Visit(window, [&](VirtAddr va, FrameRun run, const Leaf&) {
    const VirtAddr end(va.value() + run.count * kPageSize);
    if (end <= addr) hole.start = std::max(hole.start, end);
    if (va > addr) hole.end = std::min(hole.end, va);
  });
  return hole;
}

FaultResult MemoryManagerImpl::HandleFault(VirtAddr addr, Access access) {
  absl::MutexLock lock(&mutex_);
  return FaultLocked(addr, access);
}

FaultResult MemoryManagerImpl::FaultLocked(VirtAddr addr, Access access) {
  addr = addr.page_down();
  if (addr >= platform::kUserEnd) return FaultResult::kMapError;
  const Vma* vma = vmas_.Find(addr);
  if (vma == nullptr) vma = GrowStackLocked(addr);
  if (vma == nullptr) return FaultResult::kMapError;
  if (!Allows(*vma, access)) return FaultResult::kAccessError;

  ++minor_faults_;
  const std::optional<Leaf> leaf = space_->Lookup(addr);
  if (!leaf) return MissingLocked(*vma, addr, access);
  if (Satisfies(leaf->prot, access)) {
    // Somebody was faster, or a child of fork(2) comes here for the first time (CloneInto).
    if (!leaf->huge) return FaultResult::kHandled;
    const VirtRange block = vma->Clip(AlignedWindow(addr, kHugePageSize));
    return space_->Protect(block, leaf->prot).ok() ? FaultResult::kHandled
                                                   : FaultResult::kOutOfMemory;
  }
  if (access == Access::kWrite && !vma->shared) return CopyOnWriteLocked(*vma, addr, *leaf);
  // A shared page with fewer rights than its VMA: fetch it again.
  const VirtRange page{addr, VirtAddr(addr.value() + kPageSize)};
  if (!DropLeavesLocked(page).ok()) return FaultResult::kOutOfMemory;
  return MissingLocked(*vma, addr, access);
}

FaultResult MemoryManagerImpl::MissingLocked(const Vma& vma, VirtAddr addr, Access access) {
  if (vma.private_anonymous()) return AnonymousLocked(vma, addr, access);
  if (access == Access::kWrite && !vma.shared) return CopyFromObjectLocked(vma, addr);
  return ObjectLocked(vma, addr);
}

Result<VirtAddr> MemoryManagerImpl::MapObjectRunLocked(const Vma& vma, VirtAddr addr,
                                                       VirtAddr limit) {
  const Access access = vma.prot.write ? Access::kWrite : Access::kRead;
  const uint64_t count = (limit.value() - addr.value()) >> kPageShift;
  const uint64_t page = vma.PageAt(addr);
  const FrameRun run = TRY(vma.shared ? vma.object->GetFrames(page, count, access)
                                      : vma.object->GetPrivateFrames(page, count, vma.prot.exec));
  MapOptions options{.prot = vma.LeafProt(), .soft_cow = !vma.shared, .soft_shared = true};
  if (!vma.shared) options.prot.write = false;
  TRY(MapTextRunLocked(vma, addr, run, options));
  return VirtAddr(addr.value() + run.count * kPageSize);
}

FaultResult MemoryManagerImpl::ObjectLocked(const Vma& vma, VirtAddr addr) {
  // A window of the object, so that its 2 MiB chunks are asked for once and mapped whole.
  const uint64_t around = std::max<uint64_t>(1, vma.object->FaultAround());
  const uint64_t page = vma.PageAt(addr);
  const uint64_t before =
      std::min(page % around, (addr.value() - vma.range.start.value()) >> kPageShift);
  const uint64_t after =
      std::min(around - page % around, (vma.range.end.value() - addr.value()) >> kPageShift);
  const VirtRange window{VirtAddr(addr.value() - before * kPageSize),
                         VirtAddr(addr.value() + after * kPageSize)};
  const VirtRange hole = HoleAroundLocked(addr, window);
  // Whole and aligned first: the only way to get a 2 MiB leaf.
  if (hole.start < addr) {
    auto end = MapObjectRunLocked(vma, hole.start, hole.end);
    if (end.ok() && *end > addr) return FaultResult::kHandled;
  }
  auto end = MapObjectRunLocked(vma, addr, hole.end);
  if (end.ok()) return FaultResult::kHandled;
  return end.error() == Errno::kNOMEM ? FaultResult::kOutOfMemory : FaultResult::kBusError;
}

// Private copies of the pages of `range`, as many as the object gives at once: at least `wanted`.
Result<void> MemoryManagerImpl::MapCopiesLocked(const Vma& vma, VirtRange range, uint64_t wanted) {
  const FrameRun source =
      TRY(vma.object->GetPrivateFrames(vma.PageAt(range.start), range.pages(), vma.prot.exec));
  Result<FrameRun> copy = Errno::kFAULT;
  if (source.count >= wanted) copy = CopyRunLocked(source);
  memory_->Unref(source);
  return MapRunLocked(range.start, TRY(copy), {.prot = vma.LeafProt()});
}

// A first write to private memory of a file. Neighbours are likely to be written too (the data
// segment of a program), and a copy costs a tenth of a fault.
FaultResult MemoryManagerImpl::CopyFromObjectLocked(const Vma& vma, VirtAddr addr) {
  const VirtRange page{addr, VirtAddr(addr.value() + kPageSize)};
  const VirtRange hole = HoleAroundLocked(addr, vma.Clip(AlignedWindow(addr, kCopyWindow)));
  const uint64_t wanted = ((addr.value() - hole.start.value()) >> kPageShift) + 1;
  if (hole.pages() > 1 && MapCopiesLocked(vma, hole, wanted).ok()) return FaultResult::kHandled;
  const Result<void> mapped = MapCopiesLocked(vma, page, 1);
  if (mapped.ok()) return FaultResult::kHandled;
  return mapped.error() == Errno::kNOMEM ? FaultResult::kOutOfMemory : FaultResult::kBusError;
}

const Vma* MemoryManagerImpl::GrowStackLocked(VirtAddr addr) {
  auto it = vmas_.From(addr);
  if (it == vmas_.end() || !it->second.grows_down) return nullptr;
  const Vma& vma = it->second;
  if (addr < kMmapMinAddr) return nullptr;
  if (vma.range.end.value() - addr.value() > limits_.stack) return nullptr;
  if (it != vmas_.begin()) {
    const Vma& below = std::prev(it)->second;
    if (below.prot.any() && !below.grows_down &&
        addr.value() - below.range.end.value() < kStackGuardGap) {
      return nullptr;
    }
  }
  const uint64_t more = vma.range.start.value() - addr.value();
  if (!CheckExpandLocked(vma, more, 0).ok()) return nullptr;
  if (vma.locked != Locked::kNo && locked_bytes_ + more > limits_.locked) return nullptr;
  AccountLocked(vma, more, 1);
  vmas_.GrowDown(it, addr);
  return vmas_.Find(addr);
}

Result<void> MemoryManagerImpl::PopulateLocked(VirtRange range, std::optional<Access> access) {
  VirtAddr at = range.start;
  while (at < range.end) {
    const Vma* vma = vmas_.Find(at);
    if (vma == nullptr) return Errno::kNOMEM;
    Access want = Access::kRead;
    if (access.has_value()) {
      want = *access;
    } else if (vma->prot.write && !vma->shared) {
      want = Access::kWrite;
    }
    const auto leaf = space_->Lookup(at);
    if (!leaf || !Satisfies(leaf->prot, want)) {
      const FaultResult result = FaultLocked(at, want);
      if (result != FaultResult::kHandled) return ErrnoOf(result);
      continue;
    }
    at = VirtAddr(leaf->huge ? at.huge_down().value() + kHugePageSize : at.value() + kPageSize);
  }
  return Ok();
}

void MemoryManagerImpl::DropFileLeaves() {
  absl::MutexLock lock(&mutex_);
  std::vector<VirtRange> ranges;
  space_->Visit({VirtAddr(0), platform::kUserEnd}, [&](VirtAddr va, FrameRun run, const Leaf&) {
    if (!memory_->IsFileFrame(run.first)) return;
    ranges.push_back({va, VirtAddr(va.value() + run.count * kPageSize)});
  });
  // Whole runs: no 2 MiB leaf is cut, so this cannot fail.
  for (const VirtRange& range : ranges) (void)DropLeavesLocked(range);
}

void MemoryManagerImpl::ZapMappable(Mappable* object, uint64_t first_page, uint64_t end_page,
                                    bool even_cow) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [start, vma] : vmas_) {
    if (vma.object.get() != object) continue;
    const uint64_t end = vma.page + vma.range.pages();
    const uint64_t first = std::max(first_page, vma.page);
    const uint64_t last = std::min(end_page, end);
    if (first >= last) continue;
    const VirtRange range{VirtAddr(start + (first - vma.page) * kPageSize),
                          VirtAddr(start + (last - vma.page) * kPageSize)};
    std::vector<VirtRange> doomed;
    if (vma.shared || even_cow) {
      doomed.push_back(range);
    } else {
      space_->Visit(range, [&](VirtAddr va, FrameRun run, const Leaf& leaf) {
        if (leaf.soft_shared) doomed.push_back({va, VirtAddr(va.value() + run.count * kPageSize)});
      });
    }
    for (const VirtRange& part : doomed) {
      if (DropLeavesLocked(part).ok()) continue;
      // No frame for a table to split a 2 MiB leaf into: drop the whole block, it faults back.
      const VirtRange wide{part.start.huge_down(),
                           VirtAddr(VirtAddr(part.end.value() + kHugePageSize - 1).huge_down())};
      (void)DropLeavesLocked(wide);
    }
  }
}

}  // namespace ringfence::sentry
