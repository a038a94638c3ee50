// mremap(2).
#include <sys/mman.h>

#include <algorithm>

#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

using platform::kUserEnd;
using platform::Leaf;

constexpr uint32_t kMayMove = MREMAP_MAYMOVE;
constexpr uint32_t kFixed = MREMAP_FIXED;
constexpr uint32_t kDontUnmap = 4;  // MREMAP_DONTUNMAP

struct LeafRun {
  VirtAddr va;
  FrameRun run;
  Leaf leaf;
};

}  // namespace

// Gives the leaves of `from` to the same pages at `to`. ENOMEM: nothing moved.
Result<void> MemoryManagerImpl::MoveLeavesLocked(VirtRange from, VirtAddr to) {
  std::vector<LeafRun> runs;
  space_->Visit(from, [&runs](VirtAddr va, FrameRun run, const Leaf& leaf) {
    runs.push_back({va, run, leaf});
  });
  const VirtRange target{to, VirtAddr(to.value() + from.size())};
  for (const LeafRun& r : runs) {
    memory_->Ref(r.run);
    const VirtAddr at(to.value() + (r.va.value() - from.start.value()));
    auto mapped = MapRunLocked(
        at, r.run,
        {.prot = r.leaf.prot, .soft_cow = r.leaf.soft_cow, .soft_shared = r.leaf.soft_shared});
    if (mapped.ok()) continue;
    (void)DropLeavesLocked(target);
    return mapped.error();
  }
  auto dropped = DropLeavesLocked(from);
  if (!dropped.ok()) (void)DropLeavesLocked(target);
  return dropped;
}

// Moves `from`, which lies in `old`, to `to` (or where there is room) with `new_size` bytes.
// An empty `from` makes a second mapping of a shared object.
Result<VirtAddr> MemoryManagerImpl::MoveMappingLocked(const Vma& old, VirtRange from,
                                                      uint64_t new_size, std::optional<VirtAddr> to,
                                                      bool keep_old) {
  if (vmas_.size() + 4 > kMaxVmas) return Errno::kNOMEM;
  const VirtAddr at = to ? *to : TRY(FindFreeLocked(new_size));
  Vma moved = old;
  moved.range = {at, VirtAddr(at.value() + new_size)};
  if (moved.object != nullptr) moved.page = old.PageAt(from.start);
  const bool locked = old.locked == Locked::kYes;
  TRY(RestoreCallSitesLocked(from));
  TRY(MoveLeavesLocked(from, at));
  if (!keep_old && !from.empty()) {
    AccountRangeLocked(from, -1);
    vmas_.Remove(from);
  }
  const VirtRange range = moved.range;
  TRY(InsertLocked(std::move(moved)));
  if (keep_old) (void)SetLockedLocked(from, Locked::kNo);
  if (locked) (void)PopulateLocked(range, std::nullopt);
  return at;
}

Result<VirtAddr> MemoryManagerImpl::RemapToLocked(VirtRange old_range, uint64_t new_size,
                                                  uint32_t flags, VirtAddr new_addr) {
  const bool fixed = (flags & kFixed) != 0;
  VirtRange from = old_range;
  std::optional<VirtAddr> to;
  if (fixed) {
    if (!IsPageAligned(new_addr.value())) return Errno::kINVAL;
    if (new_size > kUserEnd.value() || new_addr.value() > kUserEnd.value() - new_size) {
      return Errno::kINVAL;
    }
    const VirtRange target{new_addr, VirtAddr(new_addr.value() + new_size)};
    if (target.overlaps(from)) return Errno::kINVAL;
    if (new_addr < kMmapMinAddr) return Errno::kPERM;
    if (vmas_.size() + 2 >= kMaxVmas) return Errno::kNOMEM;
    TRY(UnmapLocked(target));
    to = new_addr;
  }
  if (from.size() > new_size) {
    TRY(UnmapLocked({VirtAddr(from.start.value() + new_size), from.end}));
    from.end = VirtAddr(from.start.value() + new_size);
  }
  const Vma* vma = vmas_.Find(from.start);
  if (vma == nullptr) return Errno::kFAULT;
  TRY(CheckResizeLocked(*vma, from, new_size));
  const bool keep = (flags & kDontUnmap) != 0;
  if (keep) TRY(CheckExpandLocked(*vma, new_size, 0));
  const Vma old = *vma;
  return MoveMappingLocked(old, from, new_size, to, keep);
}

// vma_to_resize of Linux.
Result<void> MemoryManagerImpl::CheckResizeLocked(const Vma& vma, VirtRange from,
                                                  uint64_t new_size) const {
  if (from.empty() && !vma.shared) return Errno::kINVAL;
  if (new_size == from.size()) {
    return from.end > vma.range.end ? Result<void>(Errno::kFAULT) : Ok();
  }
  if (from.end > vma.range.end) return Errno::kFAULT;
  if (vma.kind == VmaKind::kVdso || vma.kind == VmaKind::kVvar) return Errno::kFAULT;
  const uint64_t more = new_size - from.size();
  if (vma.object != nullptr) {
    const uint64_t page = vma.PageAt(from.start);
    if (page + (new_size >> kPageShift) < page) return Errno::kINVAL;
  }
  if (vma.locked != Locked::kNo && locked_bytes_ + more > limits_.locked) return Errno::kAGAIN;
  return CheckExpandLocked(vma, more, 0);
}

Result<VirtAddr> MemoryManagerImpl::Remap(VirtAddr old_addr, uint64_t old_size, uint64_t new_size,
                                          uint32_t flags, VirtAddr new_addr) {
  if ((flags & ~(kMayMove | kFixed | kDontUnmap)) != 0) return Errno::kINVAL;
  if ((flags & kFixed) != 0 && (flags & kMayMove) == 0) return Errno::kINVAL;
  if ((flags & kDontUnmap) != 0 && ((flags & kMayMove) == 0 || old_size != new_size)) {
    return Errno::kINVAL;
  }
  if (!IsPageAligned(old_addr.value())) return Errno::kINVAL;
  const uint64_t old_bytes = (old_size + kPageMask) & ~kPageMask;
  const uint64_t new_bytes = (new_size + kPageMask) & ~kPageMask;
  if (new_bytes == 0) return Errno::kINVAL;
  if (old_bytes < old_size) return Errno::kINVAL;
  const VirtRange from = TRY(VirtRange::Make(old_addr, old_bytes));

  absl::MutexLock lock(&mutex_);
  const Vma* vma = vmas_.Find(old_addr);
  if (vma == nullptr) return Errno::kFAULT;
  if ((flags & (kFixed | kDontUnmap)) != 0) {
    return RemapToLocked(from, new_bytes, flags, new_addr);
  }
  if (old_bytes >= new_bytes) {
    if (old_bytes > new_bytes) {
      if (from.end > kUserEnd) return Errno::kINVAL;
      TRY(UnmapLocked({VirtAddr(old_addr.value() + new_bytes), from.end}));
    }
    return old_addr;
  }
  TRY(CheckResizeLocked(*vma, from, new_bytes));
  if (from.end == vma->range.end && !from.empty()) {
    const VirtAddr end(old_addr.value() + new_bytes);
    if (end > old_addr && end <= kUserEnd &&
        vmas_.FindBottomUp(end.value() - from.end.value(), from.end, end)) {
      const bool locked = vma->locked == Locked::kYes;
      AccountLocked(*vma, end.value() - from.end.value(), 1);
      vmas_.GrowUp(std::prev(vmas_.From(from.end)), end);
      if (locked) (void)PopulateLocked({from.end, end}, std::nullopt);
      return old_addr;
    }
  }
  if ((flags & kMayMove) == 0) return Errno::kNOMEM;
  const Vma old = *vma;
  return MoveMappingLocked(old, from, new_bytes, std::nullopt, false);
}

}  // namespace ringfence::sentry
