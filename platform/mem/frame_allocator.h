// FrameAllocator: which anonymous frames are in use. Pure bookkeeping, no memory access, so that
// it can be tested alone. Part of GuestMemory.
//
// Frames are numbered from 0 and come in blocks of 512 (2 MiB). A block is fresh (its memory is
// not committed: zero on first touch), partial, full, or cached (wholly free, memory kept for the
// next use). Small requests are served from the oldest partial block that fits, so that frames
// allocated one after the other lie together; then from the cache; then from a fresh block.
//
// Threads: the caller serialises.
#ifndef RINGFENCE_PLATFORM_MEM_FRAME_ALLOCATOR_H_
#define RINGFENCE_PLATFORM_MEM_FRAME_ALLOCATOR_H_

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <vector>

#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "platform/mem/lazy_array_unsafe.h"

namespace ringfence::platform {

class FrameAllocator {
 public:
  // Room for `blocks` blocks, none of which may be used before AddBlocks.
  static Result<FrameAllocator> Create(uint64_t blocks);

  // Lets `count` more blocks be used.
  void AddBlocks(uint64_t count) { usable_blocks_ += count; }
  uint64_t usable_blocks() const { return usable_blocks_; }

  struct Grant {
    uint64_t first;
    uint64_t count;
    // Bit i: frame first + i was used before and still holds old contents.
    std::bitset<kPagesPerHuge> dirty;
    // The block, which was empty, is from now on used in parts / as a whole, and was not before:
    // the caller divides or unites its memory.
    bool divide = false;
    bool unite = false;
  };
  // `count` (1 to 512) consecutive frames of one block; a whole block for 512. Nothing when no
  // usable block has such a run.
  std::optional<Grant> Take(uint64_t count);

  // Frees frames of one block. Returns the block's number when it is wholly free and not kept: the
  // caller gives its memory back to the host and then calls Drained; until then it is not used.
  std::optional<uint32_t> Release(uint64_t first, uint64_t count);
  // True: it was divided, and the caller unites it before it calls Drained.
  bool TakeDivided(uint32_t block);
  void Drained(uint32_t block);

  // Blocks that are divided at a time: each may cost two more mappings of the host's 65,530.
  static constexpr uint64_t kMaxDivided = 8192;

  // A mark that a block is claimed for a 2 MiB entry (GuestMemory::ClaimHuge): true when it was not
  // yet. It stays with the block when that is freed; whole blocks are taken from unclaimed ones
  // first.
  bool ClaimHuge(uint64_t block);
  void ReturnHuge(uint64_t block);

  uint64_t used_frames() const { return used_frames_; }
  // Blocks that are not fresh.
  uint64_t committed_blocks() const { return committed_blocks_; }

 private:
  enum class State : uint8_t { kFresh = 0, kPartial, kFull, kCached, kDraining };
  using Bits = std::array<uint64_t, kPagesPerHuge / 64>;
  struct Block {
    Bits used;
    Bits dirty;
    uint32_t next, previous;  // partial list: block number + 1, 0 = none
    uint16_t used_count;
    State state;
    bool claimed;
    bool divided;
  };

  explicit FrameAllocator(LazyArray<Block> blocks) : blocks_(std::move(blocks)) {}

  // A block with a free run of `count` frames, and where the run begins.
  struct Place {
    uint32_t block;
    uint64_t offset;
  };
  std::optional<Place> FindPartial(uint64_t count, uint64_t blocks_to_try) const;
  std::optional<uint32_t> TakeEmptyBlock(bool whole);
  std::optional<uint32_t> TakeFrom(std::vector<uint32_t>* blocks, bool unclaimed);
  Grant Mark(Place place, uint64_t count);
  void AppendPartial(uint32_t block);
  void RemovePartial(uint32_t block);
  static std::optional<uint64_t> FindRun(const Bits& used, uint64_t count);

  LazyArray<Block> blocks_;
  uint64_t usable_blocks_ = 0;
  uint64_t next_fresh_ = 0;            // blocks from here on were never used
  std::vector<uint32_t> fresh_again_;  // used before, given back to the host
  std::vector<uint32_t> cached_;
  uint32_t partial_head_ = 0, partial_tail_ = 0;  // block number + 1, 0 = empty list
  uint64_t used_frames_ = 0;
  uint64_t committed_blocks_ = 0;
  uint64_t divided_blocks_ = 0;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_FRAME_ALLOCATOR_H_
