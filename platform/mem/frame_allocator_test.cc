#include "platform/mem/frame_allocator.h"

#include <catch2/catch.hpp>
#include <random>
#include <set>

namespace ringfence::platform {
namespace {

FrameAllocator WithBlocks(uint64_t blocks) {
  FrameAllocator allocator = FrameAllocator::Create(blocks).value();
  allocator.AddBlocks(blocks);
  return allocator;
}

void Free(FrameAllocator& allocator, uint64_t first, uint64_t count) {
  if (auto drained = allocator.Release(first, count)) allocator.Drained(*drained);
}

TEST_CASE("small requests lie together") {
  FrameAllocator allocator = WithBlocks(4);
  uint64_t expected = 0;
  for (uint64_t count : {1, 16, 3, 16, 1, 8}) {
    auto grant = allocator.Take(count);
    REQUIRE(grant);
    CHECK(grant->first == expected);
    CHECK(grant->dirty.none());
    expected += count;
  }
  CHECK(allocator.used_frames() == expected);
  CHECK(allocator.committed_blocks() == 1);
}

TEST_CASE("blocks that may not be used yet are not") {
  FrameAllocator allocator = FrameAllocator::Create(4).value();
  CHECK_FALSE(allocator.Take(1));
  allocator.AddBlocks(1);
  CHECK(allocator.Take(512)->first == 0);
  CHECK_FALSE(allocator.Take(1));
  allocator.AddBlocks(1);
  CHECK(allocator.Take(1)->first == 512);
}

TEST_CASE("an empty block is divided for parts and united for the whole, once each") {
  FrameAllocator allocator = WithBlocks(2);
  auto grant = allocator.Take(3);
  CHECK(grant->divide);
  CHECK_FALSE(allocator.Take(1)->divide);
  Free(allocator, 0, 4);  // kept for the next use
  grant = allocator.Take(2);
  CHECK(grant->first == 0);
  CHECK_FALSE(grant->divide);
  Free(allocator, 0, 2);
  grant = allocator.Take(512);
  CHECK(grant->first == 0);
  CHECK(grant->unite);
  CHECK_FALSE(grant->divide);
  Free(allocator, 0, 512);
  CHECK_FALSE(allocator.Take(512)->unite);
  grant = allocator.Take(1);
  CHECK(grant->first == 512);
  CHECK(grant->divide);
  CHECK(allocator.TakeDivided(1));
  CHECK_FALSE(allocator.TakeDivided(1));
}

TEST_CASE("not more blocks are divided than the host has mappings for") {
  constexpr uint64_t kBlocks = FrameAllocator::kMaxDivided + 10;
  FrameAllocator allocator = WithBlocks(kBlocks);
  uint64_t divided = 0;
  for (uint64_t i = 0; i < kBlocks; ++i) divided += allocator.Take(511)->divide;
  CHECK(divided == FrameAllocator::kMaxDivided);
}

TEST_CASE("whole blocks are aligned and skip partial ones") {
  FrameAllocator allocator = WithBlocks(3);
  CHECK(allocator.Take(1)->first == 0);
  CHECK(allocator.Take(512)->first == 512);
  CHECK(allocator.Take(511)->first == 1);
  CHECK(allocator.Take(512)->first == 1024);
  CHECK_FALSE(allocator.Take(1));
}

TEST_CASE("a frame that was used is dirty until its block was drained") {
  FrameAllocator allocator = WithBlocks(1);
  auto grant = allocator.Take(4);
  Free(allocator, 1, 2);
  grant = allocator.Take(3);  // a run of two is too short
  CHECK(grant->first == 4);
  grant = allocator.Take(2);
  CHECK(grant->first == 1);
  CHECK(grant->dirty.to_ullong() == 3);
}

TEST_CASE("freed blocks are cached up to a limit and then handed back") {
  FrameAllocator allocator = WithBlocks(20);
  for (int i = 0; i < 20; ++i) REQUIRE(allocator.Take(512));
  int drained = 0;
  for (uint64_t block = 0; block < 20; ++block) {
    if (auto number = allocator.Release(block * 512, 512)) {
      CHECK(*number == block);
      allocator.Drained(*number);
      ++drained;
    }
  }
  CHECK(drained == 12);
  CHECK(allocator.used_frames() == 0);
  CHECK(allocator.committed_blocks() == 8);
  int dirty = 0;
  for (int i = 0; i < 20; ++i) {
    auto grant = allocator.Take(512);
    REQUIRE(grant);
    if (grant->dirty.all()) ++dirty;
    CHECK((grant->dirty.all() || grant->dirty.none()));
  }
  CHECK(dirty == 8);
}

TEST_CASE("random use never hands out a frame twice and loses none") {
  FrameAllocator allocator = WithBlocks(24);
  std::mt19937 random(7);
  std::set<uint64_t> used, touched;
  std::vector<std::pair<uint64_t, uint64_t>> runs;
  for (int step = 0; step < 20000; ++step) {
    const bool take = runs.empty() || random() % 100 < (step / 2000 % 2 == 0 ? 60 : 40);
    if (take) {
      const uint64_t count = random() % 10 == 0 ? 512 : 1 + random() % 40;
      auto grant = allocator.Take(count);
      if (!grant) continue;
      bool fresh = true;
      REQUIRE(grant->first / 512 == (grant->first + count - 1) / 512);
      for (uint64_t i = 0; i < count; ++i) fresh &= used.insert(grant->first + i).second;
      REQUIRE(fresh);
      runs.push_back({grant->first, count});
    } else {
      const size_t pick = random() % runs.size();
      auto [first, count] = runs[pick];
      runs[pick] = runs.back();
      runs.pop_back();
      Free(allocator, first, count);
      for (uint64_t i = 0; i < count; ++i) used.erase(first + i);
    }
    REQUIRE(allocator.used_frames() == used.size());
  }
  for (auto [first, count] : runs) Free(allocator, first, count);
  uint64_t whole = 0;
  while (allocator.Take(512)) ++whole;
  CHECK(whole == 24);
}

}  // namespace
}  // namespace ringfence::platform
