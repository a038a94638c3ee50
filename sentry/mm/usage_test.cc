// VisitUsage: what /proc/PID/smaps says is what the page tables hold. Policies of ranges.
#include <sys/mman.h>

#include <catch2/catch.hpp>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

MemoryManagerRef NewMm(MemoryPlatform& platform) {
  auto mm = MemoryManager::Create(&platform, {.randomize = false});
  REQUIRE(mm.ok());
  return *mm;
}

VirtAddr Map(MemoryManager& mm, uint64_t pages, bool shared = false) {
  MapRequest request;
  request.length = pages * kPageSize;
  request.prot = Prot::RW();
  request.shared = shared;
  auto addr = mm.Map(request);
  REQUIRE(addr.ok());
  return *addr;
}

VmaUsage UsageAt(const MemoryManager& mm, VirtAddr addr) {
  VmaUsage found;
  mm.VisitUsage([&](const VmaInfo& vma, const VmaUsage& usage) {
    if (vma.range.contains(addr)) found = usage;
  });
  return found;
}

TEST_CASE("private memory that a child shares, then copies") {
  MemoryPlatform platform;
  const MemoryManagerRef mm = NewMm(platform);
  const VirtAddr at = Map(*mm, 16);
  CHECK(UsageAt(*mm, at).resident == 0);
  REQUIRE(mm->ZeroOut(at, 16 * kPageSize).ok());
  CHECK(UsageAt(*mm, at).private_dirty == 16 * kPageSize);
  CHECK(UsageAt(*mm, at).anonymous == 16 * kPageSize);
  CHECK(UsageAt(*mm, at).share_anonymous == 16 * kPageSize * 4096);
  {
    auto child = mm->Fork();
    REQUIRE(child.ok());
    CHECK(UsageAt(**child, at).shared_dirty == 16 * kPageSize);
    CHECK(UsageAt(*mm, at).shared_dirty == 16 * kPageSize);
    CHECK(UsageAt(*mm, at).share_anonymous == 8 * kPageSize * 4096);
    CHECK(UsageAt(*mm, at).most_mappings == 2);
    REQUIRE((*child)->ZeroOut(at, 16 * kPageSize).ok());
    CHECK(UsageAt(**child, at).private_dirty == 16 * kPageSize);
    CHECK(UsageAt(*mm, at).private_dirty == 16 * kPageSize);
  }
  CHECK(UsageAt(*mm, at).share() == 16 * kPageSize * 4096);
}

TEST_CASE("shared memory is not anonymous, and the object's own reference is no mapping") {
  MemoryPlatform platform;
  const MemoryManagerRef mm = NewMm(platform);
  const VirtAddr at = Map(*mm, 4, true);
  REQUIRE(mm->ZeroOut(at, 4 * kPageSize).ok());
  const VmaUsage alone = UsageAt(*mm, at);
  CHECK(alone.private_dirty == 4 * kPageSize);
  CHECK(alone.anonymous == 0);
  CHECK(alone.share_of_sandbox == 4 * kPageSize * 4096);
  auto child = mm->Fork();
  REQUIRE(child.ok());
  CHECK(UsageAt(*mm, at).shared_dirty == 4 * kPageSize);
  CHECK(UsageAt(*mm, at).share_of_sandbox == 2 * kPageSize * 4096);
}

TEST_CASE("a whole block counts as a huge page until it is cut") {
  MemoryPlatform platform;
  const MemoryManagerRef mm = NewMm(platform);
  const VirtAddr at = Map(*mm, kPagesPerHuge);
  REQUIRE(mm->ZeroOut(at, 1).ok());
  CHECK(UsageAt(*mm, at).huge_eligible);
  CHECK(UsageAt(*mm, at).huge_anonymous == kHugePageSize);
  REQUIRE(mm->Advise(at, kPageSize, MADV_DONTNEED).ok());
  CHECK(UsageAt(*mm, at).huge_anonymous == 0);
  CHECK(UsageAt(*mm, at).resident == kHugePageSize - kPageSize);
}

TEST_CASE("locked memory says so") {
  MemoryPlatform platform;
  const MemoryManagerRef mm = NewMm(platform);
  const VirtAddr at = Map(*mm, 2);
  REQUIRE(mm->Lock(at, 2 * kPageSize, MemoryManager::LockMode::kNow).ok());
  CHECK(UsageAt(*mm, at).locked);
  CHECK(UsageAt(*mm, at).flags == "rd wr mr mw me lo ac ");
  REQUIRE(mm->Lock(at, kPageSize, MemoryManager::LockMode::kOnFault).ok());
  CHECK(UsageAt(*mm, at).flags == "rd wr mr mw me lo lf ac ");
}

TEST_CASE("a policy is of a range, and moves with it") {
  MemoryPlatform platform;
  const MemoryManagerRef mm = NewMm(platform);
  const VirtAddr at = Map(*mm, 6);
  const auto bind = MemoryPolicy::Make(MemoryPolicy::kBind, {.first_word = 1});
  REQUIRE(bind.ok());
  const VirtRange middle{VirtAddr(at.value() + 2 * kPageSize),
                         VirtAddr(at.value() + 4 * kPageSize)};
  REQUIRE(mm->SetPolicy(middle, *bind).ok());
  CHECK(*mm->PolicyAt(at) == MemoryPolicy());
  CHECK(*mm->PolicyAt(middle.start) == *bind);
  CHECK(*mm->PolicyAt(middle.end) == MemoryPolicy());
  auto child = mm->Fork();
  REQUIRE(child.ok());
  CHECK(*(*child)->PolicyAt(middle.start) == *bind);
  auto moved = mm->Remap(middle.start, 2 * kPageSize, 8 * kPageSize, MREMAP_MAYMOVE, VirtAddr());
  REQUIRE(moved.ok());
  CHECK(*mm->PolicyAt(*moved) == *bind);
  CHECK(mm->PolicyAt(VirtAddr(kPageSize)).error() == Errno::kFAULT);
  CHECK(mm->SetPolicy({at, VirtAddr(at.value() + 6 * kPageSize)}, *bind).error() == Errno::kFAULT);
}

TEST_CASE("policies as numa_maps shows them") {
  const NodeMask both{.first_word = 3, .others = false};
  CHECK(MemoryPolicy().ToString() == "default");
  CHECK(MemoryPolicy::Make(MemoryPolicy::kLocal, {})->ToString() == "local");
  CHECK(MemoryPolicy::Make(MemoryPolicy::kInterleave, both)->ToString() == "interleave:0");
  const int32_t flags = MemoryPolicy::kBind | MemoryPolicy::kStatic | MemoryPolicy::kBalancing;
  CHECK(MemoryPolicy::Make(flags, both)->ToString() == "bind=static|balancing:0");
}

}  // namespace
}  // namespace ringfence::sentry
