#include "platform/mem/frame_allocator.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "platform/base/check.h"

namespace ringfence::platform {
namespace {

constexpr uint64_t kBlockFrames = kPagesPerHuge;
// Blocks kept for reuse: giving 2 MiB back and faulting it in again costs about 150 us.
constexpr size_t kMaxCached = 8;
// How far a search for a run of several frames goes before it takes an empty block instead.
constexpr uint64_t kBlocksToTry = 16;

// First index >= from whose bit equals `value`; kBlockFrames when there is none.
template <typename Bits>
uint64_t NextBit(const Bits& bits, uint64_t from, bool value) {
  for (uint64_t word = from / 64, shift = from % 64; word < bits.size(); ++word, shift = 0) {
    const uint64_t rest = (value ? bits[word] : ~bits[word]) >> shift;
    if (rest != 0) return word * 64 + shift + std::countr_zero(rest);
  }
  return kBlockFrames;
}

template <typename Bits, typename Fn>
void ForEachWord(Bits& bits, uint64_t first, uint64_t count, Fn fn) {
  for (uint64_t i = first; i < first + count;) {
    const uint64_t in_word = std::min<uint64_t>(64 - i % 64, first + count - i);
    const uint64_t ones = in_word == 64 ? ~uint64_t{0} : (uint64_t{1} << in_word) - 1;
    fn(bits[i / 64], ones << (i % 64), i);
    i += in_word;
  }
}

}  // namespace

Result<FrameAllocator> FrameAllocator::Create(uint64_t blocks) {
  return FrameAllocator(TRY(LazyArray<Block>::Create(blocks)));
}

std::optional<uint64_t> FrameAllocator::FindRun(const Bits& used, uint64_t count) {
  for (uint64_t start = NextBit(used, 0, false); start + count <= kBlockFrames;) {
    const uint64_t end = NextBit(used, start, true);
    if (end - start >= count) return start;
    start = NextBit(used, end, false);
  }
  return std::nullopt;
}

std::optional<FrameAllocator::Place> FrameAllocator::FindPartial(uint64_t count,
                                                                 uint64_t blocks_to_try) const {
  uint32_t link = partial_head_;
  for (uint64_t tried = 0; link != 0 && tried < blocks_to_try; ++tried) {
    const Block& block = blocks_[link - 1];
    if (kBlockFrames - block.used_count >= count) {
      if (auto offset = FindRun(block.used, count)) return Place{link - 1, *offset};
    }
    link = block.next;
  }
  return std::nullopt;
}

// The block freed last, whose memory may still be in the CPU's caches. An unclaimed one is looked
// for among those freed first, as far as the search goes: they had the longest time to be returned.
std::optional<uint32_t> FrameAllocator::TakeFrom(std::vector<uint32_t>* blocks, bool unclaimed) {
  if (blocks->empty()) return std::nullopt;
  auto it = std::prev(blocks->end());
  if (unclaimed) {
    const auto limit = blocks->begin() + std::min<ptrdiff_t>(blocks->size(), kBlocksToTry);
    it = std::find_if(blocks->begin(), limit, [this](uint32_t b) { return !blocks_[b].claimed; });
    if (it == limit) return std::nullopt;
  }
  const uint32_t block = *it;
  blocks->erase(it);
  return block;
}

std::optional<uint32_t> FrameAllocator::TakeEmptyBlock(bool whole) {
  if (auto block = TakeFrom(&cached_, whole)) return block;
  std::optional<uint32_t> block = TakeFrom(&fresh_again_, whole);
  if (!block && next_fresh_ < usable_blocks_) block = static_cast<uint32_t>(next_fresh_++);
  if (!block && whole) return TakeEmptyBlock(false);
  if (block) ++committed_blocks_;
  return block;
}

bool FrameAllocator::ClaimHuge(uint64_t block) {
  return !std::exchange(blocks_[block].claimed, true);
}

void FrameAllocator::ReturnHuge(uint64_t block) { blocks_[block].claimed = false; }

std::optional<FrameAllocator::Grant> FrameAllocator::Take(uint64_t count) {
  Check(count >= 1 && count <= kBlockFrames, "frames are allocated 1 to 512 at a time");
  if (count < kBlockFrames) {
    if (auto place = FindPartial(count, kBlocksToTry)) return Mark(*place, count);
  }
  if (auto block = TakeEmptyBlock(count == kBlockFrames)) {
    AppendPartial(*block);
    Grant grant = Mark({*block, 0}, count);
    const bool was_divided = blocks_[*block].divided;
    grant.divide = count < kBlockFrames && !was_divided && divided_blocks_ < kMaxDivided;
    grant.unite = count == kBlockFrames && TakeDivided(*block);
    if (grant.divide) {
      blocks_[*block].divided = true;
      ++divided_blocks_;
    }
    return grant;
  }
  if (auto place = FindPartial(count, ~uint64_t{0})) return Mark(*place, count);
  return std::nullopt;
}

FrameAllocator::Grant FrameAllocator::Mark(Place place, uint64_t count) {
  Block& block = blocks_[place.block];
  Grant grant{place.block * kBlockFrames + place.offset, count, {}};
  ForEachWord(block.used, place.offset, count,
              [&](uint64_t& word, uint64_t mask, uint64_t) { word |= mask; });
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t frame = place.offset + i;
    grant.dirty[i] = (block.dirty[frame / 64] >> (frame % 64)) & 1;
  }
  block.used_count += count;
  used_frames_ += count;
  if (block.used_count == kBlockFrames) {
    RemovePartial(place.block);
    block.state = State::kFull;
  }
  return grant;
}

std::optional<uint32_t> FrameAllocator::Release(uint64_t first, uint64_t count) {
  const auto number = static_cast<uint32_t>(first / kBlockFrames);
  const uint64_t offset = first % kBlockFrames;
  Check(offset + count <= kBlockFrames, "a release stays within one block");
  Block& block = blocks_[number];
  if (block.state == State::kFull) AppendPartial(number);
  ForEachWord(block.used, offset, count, [&](uint64_t& word, uint64_t mask, uint64_t at) {
    Check((word & mask) == mask, "a frame is freed once");
    word &= ~mask;
    block.dirty[at / 64] |= mask;
  });
  block.used_count -= count;
  used_frames_ -= count;
  if (block.used_count != 0) return std::nullopt;
  RemovePartial(number);
  if (cached_.size() < kMaxCached) {
    block.state = State::kCached;
    cached_.push_back(number);
    return std::nullopt;
  }
  block.state = State::kDraining;
  return number;
}

bool FrameAllocator::TakeDivided(uint32_t number) {
  if (!std::exchange(blocks_[number].divided, false)) return false;
  --divided_blocks_;
  return true;
}

void FrameAllocator::Drained(uint32_t number) {
  Block& block = blocks_[number];
  Check(block.state == State::kDraining, "a block is drained once");
  block.dirty = {};
  block.state = State::kFresh;
  fresh_again_.push_back(number);
  --committed_blocks_;
}

void FrameAllocator::AppendPartial(uint32_t number) {
  Block& block = blocks_[number];
  block.state = State::kPartial;
  block.next = 0;
  block.previous = partial_tail_;
  (partial_tail_ != 0 ? blocks_[partial_tail_ - 1].next : partial_head_) = number + 1;
  partial_tail_ = number + 1;
}

void FrameAllocator::RemovePartial(uint32_t number) {
  Block& block = blocks_[number];
  (block.previous != 0 ? blocks_[block.previous - 1].next : partial_head_) = block.next;
  (block.next != 0 ? blocks_[block.next - 1].previous : partial_tail_) = block.previous;
  block.next = block.previous = 0;
}

}  // namespace ringfence::platform
