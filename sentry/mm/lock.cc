// mlock(2), munlock(2), mlockall(2): accounting, and faulting in ahead.
#include <sys/mman.h>

#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

// [addr, addr + length) widened to pages; EINVAL when it wraps.
Result<VirtRange> Widen(VirtAddr addr, uint64_t length) {
  const VirtAddr start = addr.page_down();
  const uint64_t bytes = length + addr.page_offset();
  const uint64_t rounded = (bytes + kPageMask) & ~kPageMask;
  if (bytes < length || rounded < bytes) return Errno::kINVAL;
  return VirtRange::Make(start, rounded);
}

}  // namespace

Result<void> MemoryManagerImpl::SetLockedLocked(VirtRange range, Locked locked) {
  VirtAddr at = range.start;
  while (at < range.end) {
    const Vma* vma = vmas_.Find(at);
    if (vma == nullptr) return Errno::kNOMEM;
    const VirtRange part = vma->Clip({at, range.end});
    at = part.end;
    if (vma->locked == locked) continue;
    if (vmas_.size() + vmas_.SplitsFor(part) > kMaxVmas) return Errno::kNOMEM;
    AccountRangeLocked(part, -1);
    vmas_.Update(part, [locked](Vma& v) { v.locked = locked; });
    AccountRangeLocked(part, 1);
  }
  return Ok();
}

Result<void> MemoryManagerImpl::Lock(VirtAddr addr, uint64_t length, LockMode mode) {
  const VirtRange range = TRY(Widen(addr, length));
  absl::MutexLock lock(&mutex_);
  if (limits_.locked == 0) return Errno::kPERM;
  uint64_t already = 0;
  for (auto it = vmas_.From(range.start); it != vmas_.end(); ++it) {
    if (it->second.range.start >= range.end) break;
    if (it->second.locked != Locked::kNo) already += it->second.Clip(range).size();
  }
  if (locked_bytes_ - already + range.size() > limits_.locked) return Errno::kNOMEM;
  TRY(SetLockedLocked(range, mode == LockMode::kNow ? Locked::kYes : Locked::kOnFault));
  if (mode == LockMode::kOnFault) return Ok();
  auto populated = PopulateLocked(range, std::nullopt);
  if (populated.ok()) return Ok();
  return populated.error() == Errno::kNOMEM ? Errno::kAGAIN : Errno::kNOMEM;
}

Result<void> MemoryManagerImpl::Unlock(VirtAddr addr, uint64_t length) {
  const VirtRange range = TRY(Widen(addr, length));
  absl::MutexLock lock(&mutex_);
  return SetLockedLocked(range, Locked::kNo);
}

Result<void> MemoryManagerImpl::LockAll(int flags) {
  if ((flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) != 0) return Errno::kINVAL;
  if (flags == 0 || flags == MCL_ONFAULT) return Errno::kINVAL;
  absl::MutexLock lock(&mutex_);
  if (limits_.locked == 0) return Errno::kPERM;
  if ((flags & MCL_CURRENT) != 0 && virtual_bytes_ > limits_.locked) return Errno::kNOMEM;
  const Locked mode = (flags & MCL_ONFAULT) != 0 ? Locked::kOnFault : Locked::kYes;
  lock_future_ = (flags & MCL_FUTURE) != 0 ? mode : Locked::kNo;
  if ((flags & MCL_CURRENT) == 0) return Ok();
  std::vector<VirtRange> ranges;
  for (const auto& [start, vma] : vmas_) ranges.push_back(vma.range);
  for (const VirtRange& range : ranges) {
    (void)SetLockedLocked(range, mode);  // whole VMAs: nothing to split
    if (mode == Locked::kYes) (void)PopulateLocked(range, std::nullopt);
  }
  return Ok();
}

Result<void> MemoryManagerImpl::UnlockAll() {
  absl::MutexLock lock(&mutex_);
  lock_future_ = Locked::kNo;
  std::vector<VirtRange> ranges;
  for (const auto& [start, vma] : vmas_) ranges.push_back(vma.range);
  for (const VirtRange& range : ranges) (void)SetLockedLocked(range, Locked::kNo);
  return Ok();
}

}  // namespace ringfence::sentry
