// What others may ask: /proc/PID/maps, usage, mincore(2), msync(2), memory policies.
#include <sys/mman.h>

#include <algorithm>

#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {

void MemoryManagerImpl::VisitVmas(absl::FunctionRef<void(const VmaInfo&)> visit) const {
  absl::ReaderMutexLock lock(&mutex_);
  for (const auto& [start, vma] : vmas_) visit(vma.Info());
}

MemoryManager::Usage MemoryManagerImpl::GetUsage() const {
  absl::ReaderMutexLock lock(&mutex_);
  Usage usage{};
  usage.virtual_bytes = virtual_bytes_;
  usage.peak_virtual_bytes = peak_virtual_;
  usage.resident_bytes = resident_pages_ * kPageSize;
  usage.peak_resident_bytes = std::max(peak_resident_, resident_pages_) * kPageSize;
  usage.data_bytes = data_bytes_;
  usage.stack_bytes = stack_bytes_;
  usage.text_bytes = text_bytes_;
  usage.locked_bytes = locked_bytes_;
  usage.table_bytes = space_->TableBytes();
  usage.minor_faults = minor_faults_;
  for (const auto& [start, vma] : vmas_) {
    if (vma.object == nullptr) continue;
    space_->Visit(vma.range, [&usage](VirtAddr, FrameRun run, const platform::Leaf& leaf) {
      if (leaf.soft_shared) usage.shared_bytes += run.count * kPageSize;
    });
  }
  return usage;
}

Result<void> MemoryManagerImpl::SetPolicy(VirtRange range, const MemoryPolicy& policy) {
  absl::MutexLock lock(&mutex_);
  if (range.end > platform::kUserEnd || !vmas_.Covers(range)) return Errno::kFAULT;
  if (vmas_.size() + vmas_.SplitsFor(range) > kMaxVmas) return Errno::kNOMEM;
  vmas_.Update(range, [&policy](Vma& vma) { vma.policy = policy; });
  return Ok();
}

Result<MemoryPolicy> MemoryManagerImpl::PolicyAt(VirtAddr addr) const {
  absl::ReaderMutexLock lock(&mutex_);
  const Vma* vma = vmas_.Find(addr);
  if (vma == nullptr) return Errno::kFAULT;
  return vma->policy;
}

Result<std::vector<uint8_t>> MemoryManagerImpl::Mincore(VirtAddr addr, uint64_t length) {
  if (!IsPageAligned(addr.value())) return Errno::kINVAL;
  if (addr > platform::kUserEnd || length > platform::kUserEnd.value() - addr.value()) {
    return Errno::kNOMEM;
  }
  const uint64_t pages = std::min((length + kPageMask) >> kPageShift, kMincoreMax);
  const VirtRange range{addr, VirtAddr(addr.value() + pages * kPageSize)};
  absl::ReaderMutexLock lock(&mutex_);
  if (!vmas_.Covers(range)) return Errno::kNOMEM;
  std::vector<uint8_t> resident(pages, 0);
  space_->Visit(range, [&](VirtAddr va, FrameRun run, const platform::Leaf&) {
    const uint64_t first = (va.value() - addr.value()) >> kPageShift;
    std::fill_n(resident.begin() + first, run.count, 1);
  });
  return resident;
}

Result<void> MemoryManagerImpl::Sync(VirtAddr addr, uint64_t length, int flags) {
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) != 0) return Errno::kINVAL;
  if (!IsPageAligned(addr.value())) return Errno::kINVAL;
  if ((flags & MS_ASYNC) != 0 && (flags & MS_SYNC) != 0) return Errno::kINVAL;
  const uint64_t rounded = (length + kPageMask) & ~kPageMask;
  if (addr.value() + rounded < addr.value() || rounded < length) return Errno::kNOMEM;
  const VirtRange range{addr, VirtAddr(addr.value() + rounded)};
  if (range.empty()) return Ok();

  struct Part {
    MappableRef object;
    uint64_t page, count;
  };
  std::vector<Part> parts;
  bool hole = false;
  {
    absl::ReaderMutexLock lock(&mutex_);
    hole = !vmas_.Covers(range);
    for (auto it = vmas_.From(addr); it != vmas_.end() && it->second.range.start < range.end;
         ++it) {
      const Vma& vma = it->second;
      if ((flags & MS_INVALIDATE) != 0 && vma.locked != Locked::kNo) return Errno::kBUSY;
      if (!vma.shared || (flags & MS_SYNC) == 0) continue;
      const VirtRange part = vma.Clip(range);
      parts.push_back({vma.object, vma.PageAt(part.start), part.pages()});
    }
  }
  for (const Part& part : parts) TRY(part.object->SyncPages(part.page, part.count));
  return hole ? Result<void>(Errno::kNOMEM) : Ok();
}

}  // namespace ringfence::sentry
