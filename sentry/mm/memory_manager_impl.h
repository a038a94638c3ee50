// MemoryManagerImpl: the MemoryManager of memory_manager.h. One class, its methods by subject:
// map.cc (mmap, munmap, mprotect, brk), remap.cc, fault.cc, anonymous.cc, cow.cc, fork.cc,
// rewrite.cc, copy.cc, advise.cc, lock.cc, memory_manager.cc, query.cc (usage, mincore, msync,
// policies), usage.cc (smaps), futex_words.cc.
//
// Lock order: mutex_ before locks of objects (Mappable) and of the platform. FooLocked() needs
// mutex_ held. Copies hold it as readers: a frame with a leaf stays alive as long as they do.
#ifndef RINGFENCE_SENTRY_MM_MEMORY_MANAGER_IMPL_H_
#define RINGFENCE_SENTRY_MM_MEMORY_MANAGER_IMPL_H_

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/mm/arch/call_site_code.h"
#include "sentry/mm/call_sites.h"
#include "sentry/mm/hot_pages.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/mm/vma.h"

namespace ringfence::sentry {

class MemoryManagerImpl final : public MemoryManager {
 public:
  MemoryManagerImpl(platform::Platform* platform, std::unique_ptr<platform::AddressSpace> space,
                    const Options& options);
  ~MemoryManagerImpl() override;

  using MemoryManager::Fork;
  Result<std::shared_ptr<MemoryManager>> Fork(const ForkHints& hints) override;
  Result<VirtAddr> Map(const MapRequest& request) override;
  Result<void> Unmap(VirtAddr addr, uint64_t length) override;
  Result<void> Protect(VirtAddr addr, uint64_t length, Prot prot) override;
  Result<VirtAddr> Remap(VirtAddr old_addr, uint64_t old_size, uint64_t new_size, uint32_t flags,
                         VirtAddr new_addr) override;
  Result<void> Advise(VirtAddr addr, uint64_t length, int advice) override;
  Result<std::vector<uint8_t>> Mincore(VirtAddr addr, uint64_t length) override;
  Result<void> Sync(VirtAddr addr, uint64_t length, int flags) override;
  Result<void> Lock(VirtAddr addr, uint64_t length, LockMode mode) override;
  Result<void> Unlock(VirtAddr addr, uint64_t length) override;
  Result<void> LockAll(int flags) override;
  Result<void> UnlockAll() override;
  Result<void> SetPolicy(VirtRange range, const MemoryPolicy& policy) override;
  Result<MemoryPolicy> PolicyAt(VirtAddr addr) const override;
  VirtAddr Brk(VirtAddr addr) override;
  void SetBrkStart(VirtAddr addr) override;
  FaultResult HandleFault(VirtAddr addr, Access access) override;
  void DropFileLeaves() override;
  bool CountTrap(VirtAddr after) override;
  void RewriteCallSite(VirtAddr after) override;
  bool IsCallTail(VirtAddr addr) const override;
  Result<void> CopyIn(void* dst, VirtAddr src, size_t n) override;
  Result<void> CopyOut(VirtAddr dst, const void* src, size_t n) override;
  Result<size_t> CopyInSome(void* dst, VirtAddr src, size_t n) override;
  Result<size_t> CopyOutSome(VirtAddr dst, const void* src, size_t n) override;
  Result<void> ZeroOut(VirtAddr dst, size_t n) override;
  Result<std::string> CopyInString(VirtAddr src, size_t max) override;
  Result<std::unique_ptr<Pinned>> Pin(VirtAddr addr, size_t n, Access access) override;
  Result<uint32_t> AtomicLoad32(VirtAddr addr) override;
  Result<uint32_t> AtomicCompareExchange32(VirtAddr addr, uint32_t expected,
                                           uint32_t desired) override;
  Result<FutexKey> GetFutexKey(VirtAddr addr, bool is_private) override;
  void ZapMappable(Mappable* object, uint64_t first_page, uint64_t end_page,
                   bool even_cow) override;
  void VisitVmas(absl::FunctionRef<void(const VmaInfo&)> visit) const override;
  void VisitUsage(absl::FunctionRef<void(const VmaInfo&, const VmaUsage&)> visit) const override;
  Usage GetUsage() const override;
  void SetLimits(const Limits& limits) override;
  void SetImageInfo(ImageInfo info) override;
  ImageInfo GetImageInfo() const override;
  platform::AddressSpace& space() override { return *space_; }
  platform::Platform& platform() override { return *platform_; }
  uint64_t id() const override { return id_; }

 private:
  using MapOptions = platform::AddressSpace::MapOptions;

  // --- map.cc ---
  Result<VirtAddr> PickAddressLocked(const MapRequest& request, uint64_t length)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<VirtAddr> CheckFixedLocked(const MapRequest& request, uint64_t length) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<VirtAddr> FindFreeLocked(uint64_t length) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> CheckExpandLocked(const VmaAttributes& attributes, uint64_t more,
                                 uint64_t less) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  Result<void> UnmapLocked(VirtRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> ProtectLocked(VirtRange range, Prot prot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> ProtectLeavesLocked(const Vma& vma, VirtRange range, Prot prot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> InsertLocked(Vma vma) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adjusts the sums below for VMAs that come (sign 1) or go (-1).
  void AccountLocked(const VmaAttributes& attributes, uint64_t bytes, int sign)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AccountRangeLocked(VirtRange range, int sign) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- fork.cc ---
  Result<void> CopyFrom(MemoryManagerImpl& parent, const ForkHints& hints)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_, parent.mutex_);
  Result<void> CopyVmaFrom(MemoryManagerImpl& parent, const Vma& vma,
                           const std::vector<VirtAddr>& hot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_, parent.mutex_);
  bool IsCopiedAheadLocked(VirtAddr addr) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  // --- leaves ---
  // Removes leaves and drops their references. ENOMEM: nothing changed.
  Result<void> DropLeavesLocked(VirtRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Maps a run whose references are the leaves' from now on; drops them when it fails.
  Result<void> MapRunLocked(VirtAddr va, FrameRun run, const MapOptions& options)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AnyLeafLocked(VirtRange range) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // The largest range around the page of `addr`, inside `window`, that has no leaves.
  VirtRange HoleAroundLocked(VirtAddr addr, VirtRange window) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  // --- fault.cc ---
  FaultResult FaultLocked(VirtAddr addr, Access access) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  FaultResult MissingLocked(const Vma& vma, VirtAddr addr, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  FaultResult ObjectLocked(const Vma& vma, VirtAddr addr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  FaultResult CopyFromObjectLocked(const Vma& vma, VirtAddr addr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Maps object pages from `addr` on, up to `limit`; EFAULT and so on from the object.
  Result<VirtAddr> MapObjectRunLocked(const Vma& vma, VirtAddr addr, VirtAddr limit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> MapCopiesLocked(const Vma& vma, VirtRange range, uint64_t wanted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Extends the stack VMA above `addr` down to it.
  const Vma* GrowStackLocked(VirtAddr addr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The first pages of a mapping that was just made, as if the guest had touched them.
  void FaultAheadLocked(VirtAddr addr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FaultHeadersAheadLocked(VirtAddr text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsHotBssLocked(const MapRequest& request, const Vma& vma) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Faults a range in; errors of the first page that cannot be.
  Result<void> PopulateLocked(VirtRange range, std::optional<Access> access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static Errno ErrnoOf(FaultResult result);

  // --- anonymous.cc ---
  // What a fault in a block of 2 MiB brings: the block; more of it in pages; a few pages, to see
  // whether more are wanted; a page, since blocks are used sparsely here; the block, of which a few
  // pages are there already.
  enum class BlockUse { kWhole, kPages, kProbe, kSparse, kPromote };
  BlockUse BlockUseLocked(const Vma& vma, VirtAddr addr) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  uint64_t PagesInLocked(VirtRange range) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  FaultResult AnonymousLocked(const Vma& vma, VirtAddr addr, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MapZeroesLocked(const Vma& vma, VirtAddr addr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool OnlyZeroesLocked(VirtRange range) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  FaultResult WriteToZeroesLocked(const Vma& vma, VirtAddr addr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MapBlockLocked(const Vma& vma, VirtAddr block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MapHoleLocked(const Vma& vma, VirtRange hole) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool PromoteLocked(const Vma& vma, VirtAddr addr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FaultStrideAheadLocked(const Vma& vma, VirtAddr addr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- cow.cc ---
  FaultResult CopyOnWriteLocked(const Vma& vma, VirtAddr addr, const platform::Leaf& leaf)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool OwnedLocked(const platform::Leaf& leaf) const;
  VirtRange OwnedBlocksLocked(VirtAddr addr, VirtRange window) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  VirtRange AlikeAroundLocked(VirtAddr addr, VirtRange window, const platform::Leaf& leaf) const;
  Result<FrameRun> CopyRunLocked(FrameRun from);

  // --- rewrite.cc ---
  Result<void> RewriteLocked(VirtAddr call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> AddCallSiteLocked(const CallSite& site, VirtAddr va, TextPage* text)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void NoteTraps(const Vma& vma, VirtAddr call, const TextPage& page, unsigned traps);
  void NoteAllTrapsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> StoreTextLocked(const Vma& vma, const CallSite& site, VirtAddr va,
                               const platform::Leaf& leaf, const TextPage& page)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> RestoreCallSitesLocked(VirtRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetCallSitesLocked(VirtRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<FrameRun> CopyTextLocked(KnownCallSites& known, uint64_t page, Frame frame, VirtAddr va)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // As MapRunLocked, for a run of the VMA's object: pages of text with known call sites come as
  // copies in which these are rewritten.
  Result<void> MapTextRunLocked(const Vma& vma, VirtAddr va, FrameRun run,
                                const MapOptions& options) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- copy.cc ---
  enum class Direction { kIn, kOut, kZero };
  // One try under the reader lock: bytes moved before a missing leaf or right. `stuck`: a leaf was
  // there but its memory could not be read (file frame without backing).
  size_t MoveSome(Direction direction, VirtAddr addr, std::byte* buffer, size_t n, bool* stuck)
      ABSL_LOCKS_EXCLUDED(mutex_);
  Result<size_t> Move(Direction direction, VirtAddr addr, std::byte* buffer, size_t n);
  std::byte* FastAddress(VirtAddr addr, Access access) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  // --- usage.cc ---
  void AddLeavesLocked(const Vma& vma, FrameRun run, const platform::Leaf& leaf,
                       VmaUsage* usage) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  VmaUsage UsageOfLocked(const Vma& vma) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  // --- lock.cc, advise.cc, remap.cc ---
  Result<void> SetLockedLocked(VirtRange range, Locked locked)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> AdviseVmaLocked(const Vma& vma, VirtRange part, int advice)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> RemovePages(VirtRange range) ABSL_LOCKS_EXCLUDED(mutex_);
  Result<VirtAddr> RemapToLocked(VirtRange old_range, uint64_t new_size, uint32_t flags,
                                 VirtAddr new_addr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> CheckResizeLocked(const Vma& vma, VirtRange from, uint64_t new_size) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  Result<VirtAddr> MoveMappingLocked(const Vma& old, VirtRange from, uint64_t new_size,
                                     std::optional<VirtAddr> to, bool keep_old)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> MoveLeavesLocked(VirtRange from, VirtAddr to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  platform::Platform* const platform_;
  platform::GuestMemory* const memory_;
  const uint64_t id_;
  const std::unique_ptr<platform::AddressSpace> space_;

  TrapCounter traps_;

  mutable absl::Mutex mutex_;
  VmaMap vmas_ ABSL_GUARDED_BY(mutex_);
  VirtAddr mmap_base_ ABSL_GUARDED_BY(mutex_);
  VirtAddr brk_start_ ABSL_GUARDED_BY(mutex_), brk_ ABSL_GUARDED_BY(mutex_);
  Limits limits_ ABSL_GUARDED_BY(mutex_);
  ImageInfo image_ ABSL_GUARDED_BY(mutex_);
  Locked lock_future_ ABSL_GUARDED_BY(mutex_) = Locked::kNo;
  uint64_t virtual_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t data_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t stack_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t text_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t locked_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t peak_virtual_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t resident_pages_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t peak_resident_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t minor_faults_ ABSL_GUARDED_BY(mutex_) = 0;
  // Of this process, of its children and of theirs.
  std::shared_ptr<HotPages> hot_pages_ ABSL_GUARDED_BY(mutex_);
  struct Stride {
    uint64_t last = 0, delta = 0;  // of the latest fault in sparse memory, from the one before
    unsigned streak = 0;           // faults in a row at this distance
  } stride_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, CallSite> call_sites_ ABSL_GUARDED_BY(mutex_);  // by address
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_MEMORY_MANAGER_IMPL_H_
