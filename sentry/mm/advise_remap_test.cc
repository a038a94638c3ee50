// madvise, mremap, mlock, mincore, msync: cases that the model test does not reach.
#include <sys/mman.h>

#include <catch2/catch.hpp>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kA = 0x10000000, kB = 0x20000000;

struct Fixture {
  MemoryPlatform platform;
  MemoryManagerRef mm = *MemoryManager::Create(&platform, {.randomize = false});

  void Map(uint64_t addr, uint64_t length, bool shared = false, Prot prot = Prot::RW()) {
    MapRequest request;
    request.addr = VirtAddr(addr);
    request.length = length;
    request.fixed = true;
    request.prot = prot;
    request.shared = shared;
    REQUIRE(mm->Map(request).ok());
  }
  Result<uint64_t> Remap(uint64_t addr, uint64_t old_size, uint64_t new_size, uint32_t flags,
                         uint64_t to = 0) {
    auto at = mm->Remap(VirtAddr(addr), old_size, new_size, flags, VirtAddr(to));
    return at.ok() ? Result<uint64_t>(at->value()) : at.error();
  }
  Errno Advise(uint64_t addr, uint64_t length, int advice) {
    return mm->Advise(VirtAddr(addr), length, advice).error();
  }
  bool Mapped(uint64_t addr) {
    return mm->HandleFault(VirtAddr(addr), Access::kRead) != FaultResult::kMapError;
  }
};

TEST_CASE("mremap: bad arguments") {
  Fixture f;
  f.Map(kA, 4 * kPageSize);
  CHECK(f.Remap(kA, kPageSize, kPageSize, 8).error() == Errno::kINVAL);
  CHECK(f.Remap(kA, kPageSize, kPageSize, MREMAP_FIXED, kB).error() == Errno::kINVAL);
  CHECK(f.Remap(kA + 1, kPageSize, kPageSize, 0).error() == Errno::kINVAL);
  CHECK(f.Remap(kA, kPageSize, 0, 0).error() == Errno::kINVAL);
  CHECK(f.Remap(kB, kPageSize, 2 * kPageSize, MREMAP_MAYMOVE).error() == Errno::kFAULT);
  CHECK(f.Remap(kA, 8 * kPageSize, 16 * kPageSize, MREMAP_MAYMOVE).error() == Errno::kFAULT);
  CHECK(f.Remap(kA, 0, kPageSize, MREMAP_MAYMOVE).error() == Errno::kINVAL);
  CHECK(f.Remap(kA, kPageSize, kPageSize, MREMAP_MAYMOVE | MREMAP_FIXED, kA).error() ==
        Errno::kINVAL);
  CHECK(f.Remap(kA, kPageSize, kPageSize, MREMAP_MAYMOVE | MREMAP_FIXED, 0x1000).error() ==
        Errno::kPERM);
  CHECK(f.Remap(kA, kPageSize, uint64_t{1} << 47, MREMAP_MAYMOVE).error() == Errno::kNOMEM);
  CHECK(f.Remap(kA, kPageSize, ~uint64_t{0}, MREMAP_MAYMOVE).error() == Errno::kINVAL);
}

TEST_CASE("mremap grows in place, or moves with its contents") {
  Fixture f;
  f.Map(kA, 4 * kPageSize);
  GuestWrite(*f.mm, kA + 3 * kPageSize, 5);
  CHECK(*f.Remap(kA, 4 * kPageSize, 8 * kPageSize, 0) == kA);
  CHECK(GuestWrite(*f.mm, kA + 7 * kPageSize, 6) == FaultResult::kHandled);
  f.Map(kA + 8 * kPageSize, kPageSize, false, Prot::R());
  CHECK(f.Remap(kA, 8 * kPageSize, 16 * kPageSize, 0).error() == Errno::kNOMEM);
  const uint64_t moved = *f.Remap(kA, 8 * kPageSize, 16 * kPageSize, MREMAP_MAYMOVE);
  CHECK(moved != kA);
  CHECK(GuestRead(*f.mm, moved + 3 * kPageSize) == 5);
  CHECK(GuestRead(*f.mm, moved + 7 * kPageSize) == 6);
  CHECK(GuestRead(*f.mm, moved + 15 * kPageSize) == 0);
  CHECK_FALSE(f.Mapped(kA));
  CHECK(*f.Remap(moved, 16 * kPageSize, 2 * kPageSize, 0) == moved);
  CHECK_FALSE(f.Mapped(moved + 2 * kPageSize));
}

TEST_CASE("mremap DONTUNMAP leaves an empty mapping behind") {
  Fixture f;
  f.Map(kA, 4 * kPageSize);
  GuestWrite(*f.mm, kA, 5);
  CHECK(f.Remap(kA, 4 * kPageSize, 5 * kPageSize, MREMAP_MAYMOVE | 4).error() == Errno::kINVAL);
  const uint64_t moved = *f.Remap(kA, 4 * kPageSize, 4 * kPageSize, MREMAP_MAYMOVE | 4);
  CHECK(GuestRead(*f.mm, moved) == 5);
  CHECK(GuestRead(*f.mm, kA) == 0);
}

TEST_CASE("mremap with old size 0 shows a shared mapping twice") {
  Fixture f;
  f.Map(kA, 4 * kPageSize, true);
  const uint64_t twin = *f.Remap(kA, 0, 4 * kPageSize, MREMAP_MAYMOVE);
  GuestWrite(*f.mm, kA + 8, 77);
  CHECK(GuestRead(*f.mm, twin + 8) == 77);
}

TEST_CASE("mremap moves protected, shared-by-fork and 2 MiB pages") {
  Fixture f;
  f.Map(0x40000000, 2 * kMiB);
  GuestWrite(*f.mm, 0x40000000 + kMiB, 9);
  REQUIRE(f.mm->Protect(VirtAddr(0x40000000), 2 * kMiB, Prot::None()).ok());
  auto child = *f.mm->Fork();
  const uint64_t moved =
      *f.Remap(0x40000000, 2 * kMiB, 2 * kMiB, MREMAP_MAYMOVE | MREMAP_FIXED, 0x50001000);
  REQUIRE(f.mm->Protect(VirtAddr(moved), 2 * kMiB, Prot::RW()).ok());
  CHECK(GuestRead(*f.mm, moved + kMiB) == 9);
  GuestWrite(*f.mm, moved + kMiB, 10);
  REQUIRE(child->Protect(VirtAddr(0x40000000), 2 * kMiB, Prot::RW()).ok());
  CHECK(GuestRead(*child, 0x40000000 + kMiB) == 9);
}

TEST_CASE("madvise: known and unknown advice") {
  Fixture f;
  f.Map(kA, 4 * kPageSize);
  for (int advice : {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_MERGEABLE,
                     MADV_UNMERGEABLE, MADV_DONTDUMP, MADV_DODUMP, 20, 21, 25}) {
    CHECK(f.Advise(kA, 4 * kPageSize, advice) == Errno{});
  }
  CHECK(f.Advise(kA, kPageSize, 5) == Errno::kINVAL);
  CHECK(f.Advise(kA, kPageSize, 99) == Errno::kINVAL);
  CHECK(f.Advise(kA, kPageSize, -1) == Errno::kINVAL);
  CHECK(f.Advise(kA + 1, kPageSize, MADV_NORMAL) == Errno::kINVAL);
  CHECK(f.Advise(kA, ~uint64_t{0}, MADV_NORMAL) == Errno::kINVAL);
  CHECK(f.Advise(kA, 0, MADV_NORMAL) == Errno{});
  CHECK(f.Advise(kA, 8 * kPageSize, MADV_DONTNEED) == Errno::kNOMEM);
}

TEST_CASE("MADV_DONTNEED and MADV_FREE give memory back") {
  Fixture f;
  f.Map(0x40000000, 4 * kMiB);
  for (uint64_t a = 0; a < 4 * kMiB; a += kPageSize) GuestWrite(*f.mm, 0x40000000 + a, 1);
  const uint64_t used = f.platform.memory().GetStats().anonymous_bytes;
  CHECK(f.Advise(0x40000000, 2 * kMiB, MADV_DONTNEED) == Errno{});
  CHECK(f.platform.memory().GetStats().anonymous_bytes == used - 2 * kMiB);
  CHECK(f.Advise(0x40200000 + kPageSize, kMiB, MADV_FREE) == Errno{});
  CHECK(GuestRead(*f.mm, 0x40000000) == 0);
  CHECK(GuestRead(*f.mm, 0x40200000) == 1);
  f.Map(kA, kPageSize, true);
  CHECK(f.Advise(kA, kPageSize, MADV_FREE) == Errno::kINVAL);
}

TEST_CASE("DONTFORK and WIPEONFORK") {
  Fixture f;
  f.Map(kA, 4 * kPageSize);
  GuestWrite(*f.mm, kA, 1);
  GuestWrite(*f.mm, kA + kPageSize, 2);
  CHECK(f.Advise(kA, kPageSize, MADV_DONTFORK) == Errno{});
  CHECK(f.Advise(kA + kPageSize, kPageSize, MADV_WIPEONFORK) == Errno{});
  auto child = *f.mm->Fork();
  CHECK(child->HandleFault(VirtAddr(kA), Access::kRead) == FaultResult::kMapError);
  CHECK(GuestRead(*child, kA + kPageSize) == 0);
  CHECK(GuestRead(*f.mm, kA + kPageSize) == 2);
  f.Map(kB, kPageSize, true);
  CHECK(f.Advise(kB, kPageSize, MADV_WIPEONFORK) == Errno::kINVAL);
}

TEST_CASE("populate and MADV_REMOVE") {
  Fixture f;
  f.Map(kA, 16 * kPageSize, true);
  CHECK(f.Advise(kA, 16 * kPageSize, 23) == Errno{});
  CHECK(*f.mm->Mincore(VirtAddr(kA), 16 * kPageSize) == std::vector<uint8_t>(16, 1));
  GuestWrite(*f.mm, kA + 3 * kPageSize, 3);
  CHECK(f.Advise(kA + 2 * kPageSize, 4 * kPageSize, MADV_REMOVE) == Errno{});
  CHECK(GuestRead(*f.mm, kA + 3 * kPageSize) == 0);
  f.Map(kB, kPageSize, false, Prot::R());
  CHECK(f.Advise(kB, kPageSize, 23) == Errno::kINVAL);
  CHECK(f.Advise(kB, kPageSize, 22) == Errno{});
  CHECK(f.Advise(kB, 2 * kPageSize, 22) == Errno::kNOMEM);
  CHECK(f.Advise(kB, kPageSize, MADV_REMOVE) == Errno::kINVAL);
}

TEST_CASE("mlock counts, populates and protects from MADV_DONTNEED") {
  Fixture f;
  f.Map(kA, 16 * kPageSize);
  REQUIRE(f.mm->Lock(VirtAddr(kA + 5), 4 * kPageSize, MemoryManager::LockMode::kNow).ok());
  CHECK(f.mm->GetUsage().locked_bytes == 5 * kPageSize);
  CHECK(f.mm->Mincore(VirtAddr(kA), 4 * kPageSize)->at(3) == 1);
  CHECK(f.Advise(kA, kPageSize, MADV_DONTNEED) == Errno::kINVAL);
  CHECK(f.mm->Sync(VirtAddr(kA), kPageSize, MS_INVALIDATE).error() == Errno::kBUSY);
  REQUIRE(f.mm->Unlock(VirtAddr(kA), 16 * kPageSize).ok());
  CHECK(f.mm->GetUsage().locked_bytes == 0);
  MemoryManager::Limits limits;
  limits.locked = 4 * kPageSize;
  f.mm->SetLimits(limits);
  CHECK(f.mm->Lock(VirtAddr(kA), 5 * kPageSize, MemoryManager::LockMode::kNow).error() ==
        Errno::kNOMEM);
  CHECK(f.mm->Lock(VirtAddr(kA), 4 * kPageSize, MemoryManager::LockMode::kOnFault).ok());
  CHECK(f.mm->Lock(VirtAddr(kA), 4 * kPageSize, MemoryManager::LockMode::kNow).ok());
  CHECK(f.mm->Lock(VirtAddr(kB), kPageSize, MemoryManager::LockMode::kNow).error() ==
        Errno::kNOMEM);
  CHECK(f.mm->LockAll(0).error() == Errno::kINVAL);
  CHECK(f.mm->LockAll(MCL_CURRENT).error() == Errno::kNOMEM);
  REQUIRE(f.mm->UnlockAll().ok());
  f.mm->SetLimits({});
  REQUIRE(f.mm->LockAll(MCL_CURRENT | MCL_FUTURE).ok());
  f.Map(kB, kPageSize);
  CHECK(f.mm->GetUsage().locked_bytes == 17 * kPageSize);
}

TEST_CASE("mincore and msync") {
  Fixture f;
  f.Map(kA, kMiB);
  GuestWrite(*f.mm, kA + 16 * kPageSize, 1);
  const auto resident = *f.mm->Mincore(VirtAddr(kA), 48 * kPageSize);
  CHECK(resident[15] == 0);
  CHECK(resident[16] == 1);
  CHECK(resident[32] == 0);
  CHECK(f.mm->Mincore(VirtAddr(kA + 1), kPageSize).error() == Errno::kINVAL);
  CHECK(f.mm->Mincore(VirtAddr(kA), 2 * kMiB).error() == Errno::kNOMEM);
  CHECK(f.mm->Mincore(VirtAddr(kA), ~uint64_t{0}).error() == Errno::kNOMEM);
  CHECK(f.mm->Sync(VirtAddr(kA), kMiB, MS_SYNC).ok());
  CHECK(f.mm->Sync(VirtAddr(kA), kMiB, MS_SYNC | MS_ASYNC).error() == Errno::kINVAL);
  CHECK(f.mm->Sync(VirtAddr(kA), kMiB, 64).error() == Errno::kINVAL);
  CHECK(f.mm->Sync(VirtAddr(kA), 2 * kMiB, MS_SYNC).error() == Errno::kNOMEM);
}

TEST_CASE("futex words") {
  Fixture f;
  f.Map(kA, kPageSize);
  CHECK(*f.mm->AtomicLoad32(VirtAddr(kA + 4)) == 0);
  CHECK(*f.mm->AtomicCompareExchange32(VirtAddr(kA + 4), 0, 9) == 0);
  CHECK(*f.mm->AtomicCompareExchange32(VirtAddr(kA + 4), 0, 10) == 9);
  CHECK(*f.mm->AtomicLoad32(VirtAddr(kA + 4)) == 9);
  CHECK(f.mm->AtomicLoad32(VirtAddr(kA + 2)).error() == Errno::kINVAL);
  CHECK(f.mm->AtomicLoad32(VirtAddr(kB)).error() == Errno::kFAULT);
  CHECK(f.mm->GetFutexKey(VirtAddr(kA + 1), true).error() == Errno::kINVAL);
  CHECK(f.mm->GetFutexKey(VirtAddr(kB), false).error() == Errno::kFAULT);
  CHECK_FALSE(*f.mm->GetFutexKey(VirtAddr(kA), false) == *f.mm->GetFutexKey(VirtAddr(kA), true));
}

}  // namespace
}  // namespace ringfence::sentry
