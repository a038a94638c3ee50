// Copy-on-write. A leaf of private memory may be written in place when its frame is anonymous and
// this leaf is its only user; otherwise its contents move to a frame of our own.
#include <algorithm>
#include <cstring>

#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

using platform::Leaf;

// Neighbours that a copy takes along, and that are given back their write right for nothing.
constexpr uint64_t kCopyWindow = 16 * kPageSize;
// The same for pages of a file: a data segment is written all over, and 64 copies cost a third of
// an exit.
constexpr uint64_t kFileCopyWindow = 64 * kPageSize;
constexpr uint64_t kReuseWindow = kHugePageSize;
constexpr uint64_t kReuseBlocks = 32 * kHugePageSize;

}  // namespace

bool MemoryManagerImpl::OwnedLocked(const Leaf& leaf) const {
  return !leaf.soft_shared && memory_->RefCount(leaf.frame) == 1;
}

// The stretch around `addr`, inside `window`, whose pages can be treated as `leaf` is: given back
// together, or copied as one run of frames.
VirtRange MemoryManagerImpl::AlikeAroundLocked(VirtAddr addr, VirtRange window,
                                               const Leaf& leaf) const {
  const bool owned = OwnedLocked(leaf);
  const auto alike = [&](VirtAddr va) {
    const auto other = space_->Lookup(va);
    if (!other || !other->soft_cow || OwnedLocked(*other) != owned) return false;
    const int64_t distance = static_cast<int64_t>(va.value() - addr.value()) >> kPageShift;
    return owned || other->frame.index == leaf.frame.index + static_cast<uint64_t>(distance);
  };
  VirtRange same{addr, VirtAddr(addr.value() + kPageSize)};
  while (same.start > window.start && alike(VirtAddr(same.start.value() - kPageSize))) {
    same.start = VirtAddr(same.start.value() - kPageSize);
  }
  while (same.end < window.end && alike(same.end))
    same.end = VirtAddr(same.end.value() + kPageSize);
  return same;
}

// A new run with the contents of `from`. EFAULT when a file frame has lost its backing.
Result<FrameRun> MemoryManagerImpl::CopyRunLocked(FrameRun from) {
  const FrameRun copy = TRY(memory_->Allocate(from.count));
  const size_t bytes = from.count * kPageSize;
  const size_t done =
      platform::SafeCopy(memory_->HostAddress(copy.first), memory_->HostAddress(from.first), bytes);
  if (done == bytes) return copy;
  memory_->Unref(copy);
  return Errno::kFAULT;
}

// 2 MiB leaves around that of `addr` that are ours alone again, within `window`; empty when that
// one is not.
VirtRange MemoryManagerImpl::OwnedBlocksLocked(VirtAddr addr, VirtRange window) const {
  const auto ours = [&](VirtAddr block) {
    const VirtRange range{block, VirtAddr(block.value() + kHugePageSize)};
    if (!window.contains(range)) return false;
    const auto leaf = space_->Lookup(block);
    return leaf && leaf->huge && leaf->soft_cow && !leaf->soft_shared &&
           memory_->OneReference({leaf->frame, kPagesPerHuge});
  };
  VirtRange same{addr.huge_down(), addr.huge_down()};
  while (ours(same.end)) same.end = VirtAddr(same.end.value() + kHugePageSize);
  if (same.empty()) return same;
  while (ours(VirtAddr(same.start.value() - kHugePageSize))) {
    same.start = VirtAddr(same.start.value() - kHugePageSize);
  }
  return same;
}

FaultResult MemoryManagerImpl::CopyOnWriteLocked(const Vma& vma, VirtAddr addr, const Leaf& leaf) {
  if (memory_->IsZeroFrame(leaf.frame)) return WriteToZeroesLocked(vma, addr);
  const bool owned = OwnedLocked(leaf);
  if (!leaf.soft_shared && hot_pages_ != nullptr) hot_pages_->Note(addr);
  const uint64_t size = owned ? kReuseWindow : leaf.soft_shared ? kFileCopyWindow : kCopyWindow;
  if (owned && leaf.huge) {
    const uint64_t from = addr.value() & ~(kReuseBlocks - 1);
    const VirtRange blocks =
        OwnedBlocksLocked(addr, vma.Clip({VirtAddr(from), VirtAddr(from + kReuseBlocks)}));
    if (!blocks.empty() && space_->MakePrivate(blocks, vma.LeafProt()).ok()) {
      return FaultResult::kHandled;
    }
  }
  const VirtAddr low(addr.value() & ~(size - 1));
  VirtRange same = AlikeAroundLocked(addr, vma.Clip({low, VirtAddr(low.value() + size)}), leaf);

  if (owned) {
    if (space_->MakePrivate(same, vma.LeafProt()).ok()) return FaultResult::kHandled;
    const VirtRange page{addr, VirtAddr(addr.value() + kPageSize)};
    return space_->MakePrivate(page, vma.LeafProt()).ok() ? FaultResult::kHandled
                                                          : FaultResult::kOutOfMemory;
  }
  const auto first = space_->Lookup(same.start);
  FrameRun from{first->frame, same.pages()};
  auto copy = CopyRunLocked(from);
  if (!copy.ok() && from.count > 1) {
    same = {addr, VirtAddr(addr.value() + kPageSize)};
    from = {leaf.frame, 1};
    copy = CopyRunLocked(from);
  }
  if (!copy.ok()) {
    return copy.error() == Errno::kNOMEM ? FaultResult::kOutOfMemory : FaultResult::kBusError;
  }
  auto replaced = space_->ReplaceRun(same.start, *copy, {.prot = vma.LeafProt()},
                                     [this](FrameRun run) { memory_->Unref(run); });
  if (replaced.ok()) return FaultResult::kHandled;
  memory_->Unref(*copy);
  return FaultResult::kOutOfMemory;
}

}  // namespace ringfence::sentry
