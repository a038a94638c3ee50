// mmap(2), munmap(2), mprotect(2), brk(2).
#include <algorithm>

#include "sentry/mm/memory_manager_impl.h"
#include "sentry/mm/shared_pages.h"

namespace ringfence::sentry {
namespace {

using platform::kUserEnd;

bool IsStack(const VmaAttributes& a) { return a.grows_down; }
bool IsData(const VmaAttributes& a) { return a.prot.write && !a.shared && !a.grows_down; }
bool IsText(const VmaAttributes& a) { return a.prot.exec && !a.prot.write && !a.grows_down; }

// Text that a dynamic linker puts in its place is used as soon as it is there. Not what may be
// written: smaps(5) would show copies of pages that nobody has written yet.
bool IsLoadersText(const MapRequest& request, const Vma& vma) {
  return request.fixed && vma.object != nullptr && !vma.shared && vma.prot.any() && !vma.prot.write;
}

// So is the data of a program that is started again and again: a dynamic linker writes to it. These
// many pages of it are copied ahead, which costs as much as two faults.
constexpr uint64_t kDataAhead = kHugePageSize;
bool IsHotData(const MapRequest& request, const Vma& vma) {
  return request.fixed && vma.object != nullptr && !vma.shared && vma.prot.write &&
         vma.object->IsHotText();
}

// Rounds a length from the guest up to pages: EINVAL for 0, ENOMEM when it cannot be.
Result<uint64_t> RoundLength(uint64_t length) {
  if (length == 0) return Errno::kINVAL;
  const uint64_t rounded = (length + kPageMask) & ~kPageMask;
  if (rounded == 0 || rounded > kUserEnd.value()) return Errno::kNOMEM;
  return rounded;
}

}  // namespace

Result<VirtAddr> MemoryManagerImpl::FindFreeLocked(uint64_t length) {
  // Blocks of 2 MiB are worth having 2 MiB entries: aligned when there is room to choose.
  if (length >= kHugePageSize && length < kUserEnd.value() - kHugePageSize) {
    auto at = vmas_.FindTopDown(length + kHugePageSize - kPageSize, kMmapMinAddr, mmap_base_);
    if (at) {
      const uint64_t top = at->value() + length + kHugePageSize - kPageSize;
      return VirtAddr(top - length).huge_down();
    }
  }
  if (auto at = vmas_.FindTopDown(length, kMmapMinAddr, mmap_base_)) return *at;
  if (auto at = vmas_.FindBottomUp(length, mmap_base_, kUserEnd)) return *at;
  return Errno::kNOMEM;
}

Result<VirtAddr> MemoryManagerImpl::CheckFixedLocked(const MapRequest& request,
                                                     uint64_t length) const {
  if (length > kUserEnd.value() || request.addr.value() > kUserEnd.value() - length) {
    return Errno::kNOMEM;
  }
  if (!IsPageAligned(request.addr.value())) return Errno::kINVAL;
  if (request.addr < kMmapMinAddr) return Errno::kPERM;
  const VirtRange range{request.addr, VirtAddr(request.addr.value() + length)};
  if (request.fixed_noreplace && vmas_.AnyIn(range)) return Errno::kEXIST;
  return request.addr;
}

Result<VirtAddr> MemoryManagerImpl::PickAddressLocked(const MapRequest& request, uint64_t length) {
  if (request.fixed || request.fixed_noreplace) return CheckFixedLocked(request, length);
  uint64_t hint = PageDown(request.addr.value());
  if (!request.addr.is_null()) {
    hint = std::max(hint, kMmapMinAddr.value());
    if (length <= kUserEnd.value() && hint <= kUserEnd.value() - length) {
      auto at = vmas_.FindBottomUp(length, VirtAddr(hint), VirtAddr(hint + length));
      if (at) return *at;
    }
  }
  return FindFreeLocked(length);
}

Result<void> MemoryManagerImpl::CheckExpandLocked(const VmaAttributes& attributes, uint64_t more,
                                                  uint64_t less) const {
  if (virtual_bytes_ - less + more > limits_.address_space) return Errno::kNOMEM;
  if (IsData(attributes) && data_bytes_ + more > limits_.data) return Errno::kNOMEM;
  return Ok();
}

void MemoryManagerImpl::AccountLocked(const VmaAttributes& attributes, uint64_t bytes, int sign) {
  const uint64_t delta = sign > 0 ? bytes : -bytes;
  virtual_bytes_ += delta;
  if (IsStack(attributes)) stack_bytes_ += delta;
  if (IsData(attributes)) data_bytes_ += delta;
  if (IsText(attributes)) text_bytes_ += delta;
  if (attributes.locked != Locked::kNo) locked_bytes_ += delta;
  peak_virtual_ = std::max(peak_virtual_, virtual_bytes_);
}

void MemoryManagerImpl::AccountRangeLocked(VirtRange range, int sign) {
  for (auto it = vmas_.From(range.start); it != vmas_.end(); ++it) {
    const Vma& vma = it->second;
    if (vma.range.start >= range.end) break;
    AccountLocked(vma, vma.Clip(range).size(), sign);
  }
}

Result<void> MemoryManagerImpl::InsertLocked(Vma vma) {
  AccountLocked(vma, vma.range.size(), 1);
  vmas_.Insert(std::move(vma));
  return Ok();
}

Result<VirtAddr> MemoryManagerImpl::Map(const MapRequest& request) {
  const uint64_t length = TRY(RoundLength(request.length));
  if (!IsPageAligned(request.offset)) return Errno::kINVAL;
  if (request.offset + length < request.offset) return Errno::kOVERFLOW;

  Vma vma;
  vma.prot = request.prot;
  vma.max_prot = request.max_prot;
  vma.shared = request.shared;
  vma.grows_down = request.grows_down;
  vma.noreserve = request.noreserve;
  vma.kind = request.kind;
  vma.name = request.name;
  vma.object = request.object;
  vma.page = request.object == nullptr ? 0 : request.offset >> kPageShift;
  if (request.shared && request.object == nullptr) {
    vma.object = std::make_shared<AnonymousPages>(
        memory_,
        AnonymousPages::Options{
            .name = "/dev/zero (deleted)", .size = length, .quota = nullptr, .whole_blocks = true});
  }

  absl::MutexLock lock(&mutex_);
  const VirtAddr at = TRY(PickAddressLocked(request, length));
  vma.range = {at, VirtAddr(at.value() + length)};
  vma.locked = lock_future_;
  if (vmas_.size() + 1 + vmas_.SplitsFor(vma.range) > kMaxVmas) return Errno::kNOMEM;
  uint64_t replaced = 0;
  for (auto it = vmas_.From(at); it != vmas_.end() && it->second.range.overlaps(vma.range); ++it) {
    replaced += it->second.Clip(vma.range).size();
  }
  TRY(CheckExpandLocked(vma, length, replaced));
  if (vma.locked != Locked::kNo && locked_bytes_ + length > limits_.locked) return Errno::kAGAIN;
  TRY(UnmapLocked(vma.range));
  const VirtRange range = vma.range;
  const bool populate = request.populate || vma.locked == Locked::kYes;
  const bool text = IsLoadersText(request, vma);
  const bool data = IsHotData(request, vma) || IsHotBssLocked(request, vma);
  TRY(InsertLocked(std::move(vma)));
  if (populate) {
    (void)PopulateLocked(range, std::nullopt);  // best effort, as in Linux
  } else if (text) {
    FaultAheadLocked(at);
    FaultHeadersAheadLocked(at);
  } else if (data) {
    const uint64_t ahead = std::min(length, kDataAhead);
    (void)PopulateLocked({at, VirtAddr(at.value() + ahead)}, Access::kWrite);
  }
  return at;
}

// The zeroed end of such data, which a loader maps behind it.
bool MemoryManagerImpl::IsHotBssLocked(const MapRequest& request, const Vma& vma) const {
  constexpr uint64_t kBssAhead = 16 * kPageSize;
  if (!request.fixed || vma.object != nullptr || vma.shared || !vma.prot.write) return false;
  if (vma.range.size() > kBssAhead) return false;
  const Vma* const before = vmas_.Find(VirtAddr(vma.range.start.value() - kPageSize));
  return before != nullptr && before->prot.write && before->object != nullptr &&
         before->object->IsHotText();
}

// What is in front of text and of the same file: headers and symbols, which a dynamic linker maps
// together with all the rest first, and reads when text and data are in their places.
void MemoryManagerImpl::FaultHeadersAheadLocked(VirtAddr text) {
  const Vma* const vma = vmas_.Find(text);
  const Vma* const before = vmas_.Find(VirtAddr(text.value() - kPageSize));
  if (before == nullptr || before->object != vma->object || before->shared) return;
  if (!vma->object->IsHotText() || before->prot.write || !before->prot.any()) return;
  const VirtAddr headers = before->range.start;
  if (!space_->Lookup(headers).has_value()) (void)FaultLocked(headers, Access::kRead);
}

void MemoryManagerImpl::FaultAheadLocked(VirtAddr addr) {
  const Vma* const vma = vmas_.Find(addr);
  const bool write = vma->prot.write && !vma->shared;
  // What cannot be had now is told of when it is used.
  (void)FaultLocked(addr, write ? Access::kWrite : Access::kRead);
}

Result<void> MemoryManagerImpl::DropLeavesLocked(VirtRange range) {
  return space_->Unmap(range, [this](FrameRun run) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (!memory_->IsZeroFrame(run.first)) resident_pages_ -= run.count;
    memory_->Unref(run);
  });
}

Result<void> MemoryManagerImpl::UnmapLocked(VirtRange range) {
  if (!vmas_.AnyIn(range)) return Ok();
  TRY(DropLeavesLocked(range));
  ForgetCallSitesLocked(range);
  AccountRangeLocked(range, -1);
  vmas_.Remove(range);
  return Ok();
}

Result<void> MemoryManagerImpl::Unmap(VirtAddr addr, uint64_t length) {
  if (!IsPageAligned(addr.value()) || addr > kUserEnd || length == 0) return Errno::kINVAL;
  if (length > kUserEnd.value() - addr.value()) return Errno::kINVAL;
  const VirtRange range{addr, VirtAddr((addr.value() + length + kPageMask) & ~kPageMask)};
  absl::MutexLock lock(&mutex_);
  // Only a hole in the middle of one VMA makes one more.
  if (vmas_.SplitsFor(range) == 2 && vmas_.Find(range.start) == vmas_.Find(range.end) &&
      vmas_.size() >= kMaxVmas) {
    return Errno::kNOMEM;
  }
  return UnmapLocked(range);
}

Result<void> MemoryManagerImpl::ProtectLeavesLocked(const Vma& vma, VirtRange range, Prot prot) {
  // Pages of a shared object were asked for with the old rights: ask again.
  if (vma.shared && prot.write && !vma.prot.write) return DropLeavesLocked(range);
  Prot leaf = prot;
  leaf.read = prot.any();
  return space_->Protect(range, leaf);
}

Result<void> MemoryManagerImpl::ProtectLocked(VirtRange range, Prot prot) {
  VirtAddr at = range.start;
  // As Linux: goes on up to the first hole or refusal, and what was changed stays changed.
  while (at < range.end) {
    const Vma* vma = vmas_.Find(at);
    if (vma == nullptr) return Errno::kNOMEM;
    const VirtRange part = vma->Clip({at, range.end});
    at = part.end;
    if (vma->prot == prot) continue;
    if ((prot.read && !vma->max_prot.read) || (prot.write && !vma->max_prot.write) ||
        (prot.exec && !vma->max_prot.exec)) {
      return Errno::kACCES;
    }
    VmaAttributes after = *vma;
    after.prot = prot;
    if (!IsData(*vma) && IsData(after) && data_bytes_ + part.size() > limits_.data) {
      return Errno::kNOMEM;
    }
    if (vmas_.size() + vmas_.SplitsFor(part) > kMaxVmas) return Errno::kNOMEM;
    TRY(ProtectLeavesLocked(*vma, part, prot));
    AccountRangeLocked(part, -1);
    vmas_.Update(part, [prot](Vma& v) { v.prot = prot; });
    AccountRangeLocked(part, 1);
  }
  return Ok();
}

Result<void> MemoryManagerImpl::Protect(VirtAddr addr, uint64_t length, Prot prot) {
  if (!IsPageAligned(addr.value())) return Errno::kINVAL;
  if (length == 0) return Ok();
  const uint64_t rounded = (length + kPageMask) & ~kPageMask;
  if (rounded == 0 || addr.value() + rounded < addr.value()) return Errno::kNOMEM;
  absl::MutexLock lock(&mutex_);
  return ProtectLocked({addr, VirtAddr(addr.value() + rounded)}, prot);
}

void MemoryManagerImpl::SetBrkStart(VirtAddr addr) {
  absl::MutexLock lock(&mutex_);
  brk_start_ = brk_ = addr;
}

VirtAddr MemoryManagerImpl::Brk(VirtAddr addr) {
  absl::MutexLock lock(&mutex_);
  if (addr < brk_start_ || addr > kUserEnd) return brk_;
  if (addr.value() - brk_start_.value() > limits_.data) return brk_;
  const VirtAddr old_end((brk_.value() + kPageMask) & ~kPageMask);
  const VirtAddr new_end((addr.value() + kPageMask) & ~kPageMask);
  if (new_end < old_end) {
    if (!UnmapLocked({new_end, old_end}).ok()) return brk_;
  } else if (new_end > old_end) {
    // One page of distance to what follows, and the guard gap of a stack.
    const VirtAddr wanted_end(new_end.value() + kPageSize);
    if (!vmas_.FindBottomUp(wanted_end.value() - old_end.value(), old_end, wanted_end)) return brk_;
    Vma heap;
    heap.prot = Prot::RW();
    heap.max_prot = {true, true, true};
    heap.kind = VmaKind::kHeap;
    heap.name = "[heap]";
    heap.range = {old_end, new_end};
    heap.locked = lock_future_;
    if (!CheckExpandLocked(heap, heap.range.size(), 0).ok() || vmas_.size() >= kMaxVmas)
      return brk_;
    if (heap.locked != Locked::kNo && locked_bytes_ + heap.range.size() > limits_.locked) {
      return brk_;
    }
    const bool populate = heap.locked == Locked::kYes;
    const VirtRange range = heap.range;
    (void)InsertLocked(std::move(heap));
    if (populate) {
      (void)PopulateLocked(range, std::nullopt);
    } else {
      FaultAheadLocked(range.start);
    }
  }
  brk_ = addr;
  return brk_;
}

}  // namespace ringfence::sentry
