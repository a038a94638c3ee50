// fork(2) of memory. See README.md, "Fork".
#include <algorithm>

#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {

using platform::Leaf;

Result<std::shared_ptr<MemoryManager>> MemoryManagerImpl::Fork(const ForkHints& hints) {
  auto child = std::make_shared<MemoryManagerImpl>(platform_, TRY(platform_->NewAddressSpace()),
                                                   Options{.randomize = false});
  absl::MutexLock lock(&mutex_);
  // Nobody else knows the child: its lock is for the analysis (and for ZapMappable, which finds
  // it as soon as its first VMA is announced).
  absl::MutexLock child_lock(&child->mutex_);
  TRY(child->CopyFrom(*this, hints));
  return std::shared_ptr<MemoryManager>(std::move(child));
}

Result<void> MemoryManagerImpl::CopyFrom(MemoryManagerImpl& parent, const ForkHints& hints) {
  mmap_base_ = parent.mmap_base_;
  brk_start_ = parent.brk_start_;
  brk_ = parent.brk_;
  limits_ = parent.limits_;
  image_ = parent.image_;
  if (parent.hot_pages_ == nullptr) parent.hot_pages_ = std::make_shared<HotPages>();
  hot_pages_ = parent.hot_pages_;
  std::vector<VirtAddr> hot;
  // A thread that writes meanwhile would see its writes arrive in the copy in another order.
  if (hints.alone && !memory_->Scarce()) {
    hot = hot_pages_->Get();
    for (const VirtAddr addr : hints.written) hot.push_back(addr.page_down());
    std::sort(hot.begin(), hot.end());
    hot.erase(std::unique(hot.begin(), hot.end()), hot.end());
  }
  for (const auto& [start, vma] : parent.vmas_) {
    if (vma.dont_fork) continue;
    Vma copy = vma;
    copy.locked = Locked::kNo;
    TRY(InsertLocked(std::move(copy)));
    if (!vma.wipe_on_fork) TRY(CopyVmaFrom(parent, vma, hot));
  }
  TRY(parent.space_->CopyCallSitesTo(*space_));
  call_sites_ = parent.call_sites_;
  space_->Visit({VirtAddr(0), platform::kUserEnd},
                [&](VirtAddr, FrameRun run, const Leaf&) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                  if (!memory_->IsZeroFrame(run.first)) resident_pages_ += run.count;
                });
  peak_resident_ = resident_pages_;
  return Ok();
}

// Only what nobody else has a hand on who writes: a page that is shared since a fork before is
// read-only for all.
bool MemoryManagerImpl::IsCopiedAheadLocked(VirtAddr addr) const {
  const std::optional<Leaf> leaf = space_->Lookup(addr);
  if (!leaf || leaf->huge || leaf->soft_shared || memory_->IsZeroFrame(leaf->frame)) return false;
  return leaf->soft_cow || (leaf->prot.write && memory_->RefCount(leaf->frame) == 1);
}

// Pages of `hot` are copied at once, and the parent keeps its right to write to them; the rest is
// shared until somebody writes.
Result<void> MemoryManagerImpl::CopyVmaFrom(MemoryManagerImpl& parent, const Vma& vma,
                                            const std::vector<VirtAddr>& hot) {
  VirtAddr at = vma.range.start;
  if (!vma.shared && vma.prot.write) {
    for (auto it = std::lower_bound(hot.begin(), hot.end(), at); it != hot.end(); ++it) {
      if (*it >= vma.range.end) break;
      if (!parent.IsCopiedAheadLocked(*it)) continue;
      const auto copy = parent.CopyRunLocked({parent.space_->Lookup(*it)->frame, 1});
      if (!copy.ok()) break;
      if (at < *it) {
        const Result<void> before = parent.space_->CloneInto(*space_, {at, *it}, true);
        if (!before.ok()) memory_->Unref(*copy);
        TRY(before);
      }
      const Result<void> mapped = space_->Map(*it, *copy, {.prot = vma.LeafProt()});
      if (!mapped.ok()) memory_->Unref(*copy);
      TRY(mapped);
      at = VirtAddr(it->value() + kPageSize);
    }
  }
  if (at == vma.range.end) return Ok();
  return parent.space_->CloneInto(*space_, {at, vma.range.end}, !vma.shared);
}

}  // namespace ringfence::sentry
