// madvise(2).
#include <sys/mman.h>

#include <optional>

#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

// Advice newer than the C library's headers.
constexpr int kMadvDontneedLocked = 24;
constexpr int kMadvCollapse = 25;
constexpr int kMadvPopulateRead = 22;
constexpr int kMadvPopulateWrite = 23;
constexpr int kMadvCold = 20;
constexpr int kMadvPageout = 21;

bool IsKnown(int advice) {
  return (advice >= MADV_NORMAL && advice <= MADV_DONTNEED) ||
         (advice >= MADV_FREE && advice <= kMadvCollapse);
}

// Advice that only changes what is remembered of a VMA: the change, or an errno where it does not
// apply.
Result<VmaAttributes> Changed(const VmaAttributes& vma, int advice) {
  VmaAttributes after = vma;
  switch (advice) {
    case MADV_DONTFORK:
      after.dont_fork = true;
      break;
    case MADV_DOFORK:
      after.dont_fork = false;
      break;
    case MADV_WIPEONFORK:
      if (vma.object != nullptr || vma.shared) return Errno::kINVAL;
      after.wipe_on_fork = true;
      break;
    case MADV_KEEPONFORK:
      after.wipe_on_fork = false;
      break;
    case MADV_DONTDUMP:
      after.dont_dump = true;
      break;
    case MADV_DODUMP:
      after.dont_dump = false;
      break;
    case MADV_HUGEPAGE:
      after.huge = HugePolicy::kWanted;
      break;
    case MADV_NOHUGEPAGE:
      after.huge = HugePolicy::kNever;
      break;
    default:
      break;  // hints on access patterns: nothing to remember
  }
  return after;
}

}  // namespace

Result<void> MemoryManagerImpl::AdviseVmaLocked(const Vma& vma, VirtRange part, int advice) {
  const bool locked = vma.locked != Locked::kNo;
  switch (advice) {
    case MADV_DONTNEED:
    case kMadvDontneedLocked:
      if (locked && advice == MADV_DONTNEED) return Errno::kINVAL;
      return DropLeavesLocked(part);
    case MADV_FREE:
      // Freed at once: the caller may find zeros or the old data, Linux promises neither.
      if (!vma.private_anonymous() || locked) return Errno::kINVAL;
      return DropLeavesLocked(part);
    case MADV_WILLNEED:
      if (vma.object != nullptr) (void)PopulateLocked(part, Access::kRead);
      return Ok();
    case kMadvPopulateRead:
    case kMadvPopulateWrite: {
      const bool write = advice == kMadvPopulateWrite;
      if (write ? !vma.prot.write : !vma.prot.any()) return Errno::kINVAL;
      return PopulateLocked(part, write ? Access::kWrite : Access::kRead);
    }
    case kMadvCold:
    case kMadvPageout:
      return locked ? Result<void>(Errno::kINVAL) : Ok();
    default:
      break;
  }
  const VmaAttributes after = TRY(Changed(vma, advice));
  if (after == static_cast<const VmaAttributes&>(vma)) return Ok();
  if (vmas_.size() + vmas_.SplitsFor(part) > kMaxVmas) return Errno::kNOMEM;
  vmas_.Update(part, [&after](Vma& v) { static_cast<VmaAttributes&>(v) = after; });
  return Ok();
}

// MADV_REMOVE calls into the object, which calls back: not under our lock.
Result<void> MemoryManagerImpl::RemovePages(VirtRange range) {
  VirtAddr at = range.start;
  bool hole = false;
  while (at < range.end) {
    MappableRef object;
    uint64_t page = 0;
    VirtRange part;
    {
      absl::ReaderMutexLock lock(&mutex_);
      auto it = vmas_.From(at);
      if (it == vmas_.end() || it->second.range.start >= range.end) return Errno::kNOMEM;
      const Vma& vma = it->second;
      hole = hole || vma.range.start > at;
      if (vma.locked != Locked::kNo || vma.object == nullptr) return Errno::kINVAL;
      if (!vma.shared || !vma.prot.write) return Errno::kACCES;
      part = vma.Clip({at, range.end});
      object = vma.object;
      page = vma.PageAt(part.start);
    }
    TRY(object->RemovePages(page, part.pages()));
    at = part.end;
  }
  return hole ? Result<void>(Errno::kNOMEM) : Ok();
}

Result<void> MemoryManagerImpl::Advise(VirtAddr addr, uint64_t length, int advice) {
  if (!IsKnown(advice)) return Errno::kINVAL;
  if (!IsPageAligned(addr.value())) return Errno::kINVAL;
  const uint64_t rounded = (length + kPageMask) & ~kPageMask;
  if (rounded < length || addr.value() + rounded < addr.value()) return Errno::kINVAL;
  const VirtRange range{addr, VirtAddr(addr.value() + rounded)};
  if (range.empty()) return Ok();
  if (advice == MADV_REMOVE) return RemovePages(range);

  absl::MutexLock lock(&mutex_);
  // As Linux: holes are passed over and reported at the end; populating stops at them.
  const bool stops_at_hole = advice == kMadvPopulateRead || advice == kMadvPopulateWrite;
  bool hole = false;
  VirtAddr at = range.start;
  while (at < range.end) {
    auto it = vmas_.From(at);
    if (it == vmas_.end() || it->second.range.start >= range.end) return Errno::kNOMEM;
    if (it->second.range.start > at) {
      if (stops_at_hole) return Errno::kNOMEM;
      hole = true;
    }
    const VirtRange part = it->second.Clip({at, range.end});
    TRY(AdviseVmaLocked(it->second, part, advice));
    at = part.end;
  }
  return hole ? Result<void>(Errno::kNOMEM) : Ok();
}

}  // namespace ringfence::sentry
