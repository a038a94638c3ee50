// mmap, munmap, mprotect, faults, copy-on-write and fork, brk, stacks, limits.
#include "sentry/mm/memory_manager.h"

#include <catch2/catch.hpp>
#include <iterator>
#include <map>
#include <random>
#include <utility>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

MemoryManagerRef NewMm(MemoryPlatform& platform, bool randomize = false) {
  auto mm = MemoryManager::Create(&platform, {.randomize = randomize});
  REQUIRE(mm.ok());
  return *mm;
}

MapRequest Anonymous(uint64_t length, Prot prot = Prot::RW()) {
  MapRequest request;
  request.length = length;
  request.prot = prot;
  return request;
}

MapRequest At(uint64_t addr, uint64_t length, Prot prot = Prot::RW()) {
  MapRequest request = Anonymous(length, prot);
  request.addr = VirtAddr(addr);
  request.fixed = true;
  return request;
}

uint64_t Map(MemoryManager& mm, const MapRequest& request) {
  auto addr = mm.Map(request);
  REQUIRE(addr.ok());
  return addr->value();
}

Errno MapError(MemoryManager& mm, const MapRequest& request) {
  auto addr = mm.Map(request);
  REQUIRE_FALSE(addr.ok());
  return addr.error();
}

size_t CountVmas(MemoryManager& mm) {
  size_t n = 0;
  mm.VisitVmas([&n](const VmaInfo&) { ++n; });
  return n;
}

uint64_t UsedMemory(MemoryPlatform& platform) {
  return platform.memory().GetStats().anonymous_bytes;
}

TEST_CASE("anonymous memory is zero, readable, writable, and freed") {
  MemoryPlatform platform;
  const uint64_t before = UsedMemory(platform);
  {
    auto mm = NewMm(platform);
    const uint64_t a = Map(*mm, Anonymous(64 * kPageSize));
    CHECK(GuestRead(*mm, a) == 0);
    CHECK(GuestWrite(*mm, a + 8, 42) == FaultResult::kHandled);
    CHECK(GuestRead(*mm, a + 8) == 42);
    CHECK(GuestRead(*mm, a + 63 * kPageSize) == 0);
    REQUIRE(mm->Unmap(VirtAddr(a), 64 * kPageSize).ok());
    CHECK(mm->HandleFault(VirtAddr(a), Access::kRead) == FaultResult::kMapError);
    CHECK(mm->GetUsage().resident_bytes == 0);
    CHECK(mm->GetUsage().virtual_bytes == 0);
    Map(*mm, Anonymous(8 * kMiB));
  }
  CHECK(UsedMemory(platform) == before);
}

TEST_CASE("a fault fills a 2 MiB block where the mapping has one, else 16 pages") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t big = Map(*mm, At(0x40000000, 4 * kMiB));
  CHECK(GuestWrite(*mm, big + 5000, 1) == FaultResult::kHandled);
  CHECK(mm->GetUsage().resident_bytes == 2 * kMiB);
  CHECK(mm->space().Lookup(VirtAddr(big))->huge);
  const uint64_t small = Map(*mm, At(0x50000000, kMiB));
  CHECK(GuestWrite(*mm, small + 20 * kPageSize, 1) == FaultResult::kHandled);
  CHECK(mm->GetUsage().resident_bytes == 2 * kMiB + 16 * kPageSize);
  REQUIRE(mm->Advise(VirtAddr(big + 2 * kMiB), 2 * kMiB, 15 /* MADV_NOHUGEPAGE */).ok());
  CHECK(GuestWrite(*mm, big + 2 * kMiB, 1) == FaultResult::kHandled);
  CHECK(mm->GetUsage().resident_bytes == 2 * kMiB + 32 * kPageSize);
}

TEST_CASE("memory used from one end to the other comes 256 pages at a time, up to a 2 MiB block") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t at = Map(*mm, At(0x50020000, 4 * kMiB));
  const auto resident_after_write = [&](uint64_t page) {
    CHECK(GuestWrite(*mm, at + page * kPageSize, 1) == FaultResult::kHandled);
    return mm->GetUsage().resident_bytes / kPageSize;
  };
  CHECK(resident_after_write(0) == 16);
  CHECK(resident_after_write(16) == 272);
  CHECK(resident_after_write(272) == 480);  // the next block begins
  CHECK(resident_after_write(480) == 480 + 512);
  // A hole between: not one end to the other.
  const uint64_t other = Map(*mm, At(0x60000000, kMiB));
  CHECK(GuestWrite(*mm, other + 128 * kPageSize, 1) == FaultResult::kHandled);
  CHECK(mm->GetUsage().resident_bytes == (480 + 512 + 16) * kPageSize);
}

TEST_CASE("bug: a byte for each 2 MiB of 4 GiB took 4 GiB") {
  MemoryPlatform platform(128 * kMiB);
  auto mm = NewMm(platform);
  MapRequest request = Anonymous(4096 * kMiB);
  request.noreserve = true;
  const uint64_t a = Map(*mm, request);
  for (uint64_t at = a; at < a + 4096 * kMiB; at += 2 * kMiB) {
    REQUIRE(GuestWrite(*mm, at, at) == FaultResult::kHandled);
  }
  CHECK(UsedMemory(platform) < 40 * kMiB);
  CHECK(mm->GetUsage().minor_faults < 2048 / 8);
  for (uint64_t at = a; at < a + 4096 * kMiB; at += 2 * kMiB) REQUIRE(GuestRead(*mm, at) == at);
}

TEST_CASE("a large mapping that is used densely comes in 2 MiB blocks, with what was there") {
  MemoryPlatform platform(128 * kMiB);
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(64 * kMiB));
  for (uint64_t at = a; at < a + 64 * kMiB; at += kPageSize) {
    REQUIRE(GuestWrite(*mm, at, at) == FaultResult::kHandled);
  }
  for (uint64_t at = a; at < a + 64 * kMiB; at += 2 * kMiB) {
    CHECK(mm->space().Lookup(VirtAddr(at))->huge);
  }
  CHECK(mm->GetUsage().minor_faults <= 32 + 3);
  for (uint64_t at = a; at < a + 64 * kMiB; at += kPageSize) REQUIRE(GuestRead(*mm, at) == at);
}

TEST_CASE("large memory that is only read takes none") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(64 * kMiB));
  for (uint64_t at = a; at < a + 64 * kMiB; at += kPageSize) REQUIRE(GuestRead(*mm, at) == 0);
  CHECK(UsedMemory(platform) < kMiB);  // page tables
  CHECK(mm->GetUsage().resident_bytes == 0);
  CHECK(mm->GetUsage().minor_faults <= 2 * 32 + 2);
  auto child = mm->Fork().value();
  REQUIRE(GuestWrite(*mm, a + 3 * kMiB, 1) == FaultResult::kHandled);
  CHECK(mm->GetUsage().resident_bytes > 0);
  REQUIRE(GuestWrite(*child, a + 3 * kMiB, 2) == FaultResult::kHandled);
  CHECK(GuestRead(*mm, a + 3 * kMiB) == 1);
  for (uint64_t at = a; at < a + 64 * kMiB; at += kPageSize) {
    const uint64_t there = at == a + 3 * kMiB ? 1 : 0;
    REQUIRE(GuestRead(*mm, at) == there);
    REQUIRE(GuestRead(*child, at) == 2 * there);
  }
  // A call that reads, and one that writes.
  uint64_t word = 1;
  REQUIRE(mm->CopyIn(&word, VirtAddr(a + 9 * kMiB), sizeof(word)).ok());
  CHECK(word == 0);
  word = 5;
  REQUIRE(mm->CopyOut(VirtAddr(a + 9 * kMiB), &word, sizeof(word)).ok());
  CHECK(GuestRead(*mm, a + 9 * kMiB) == 5);
  CHECK(GuestRead(*child, a + 9 * kMiB) == 0);
  REQUIRE(mm->Unmap(VirtAddr(a), 64 * kMiB).ok());
  CHECK(mm->GetUsage().resident_bytes == 0);
}

TEST_CASE("what somebody has pinned is not moved to a 2 MiB block") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(64 * kMiB));
  const uint64_t first = (a + 32 * kMiB - 1) / (32 * kMiB) * (32 * kMiB);
  REQUIRE(GuestWrite(*mm, first, 1) == FaultResult::kHandled);
  const auto frame = mm->space().Lookup(VirtAddr(first))->frame;
  auto pinned = mm->Pin(VirtAddr(first), kPageSize, Access::kWrite);
  REQUIRE(pinned.ok());
  REQUIRE(GuestWrite(*mm, first + 16 * kPageSize, 2) == FaultResult::kHandled);
  CHECK(mm->space().Lookup(VirtAddr(first))->frame == frame);
  pinned->reset();
  REQUIRE(GuestWrite(*mm, first + 500 * kPageSize, 3) == FaultResult::kHandled);
  CHECK(GuestRead(*mm, first) == 1);
}

TEST_CASE("a heap that grows has its first pages") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  mm->SetBrkStart(VirtAddr(0x600000));
  CHECK(mm->Brk(VirtAddr(0x640000)) == VirtAddr(0x640000));
  CHECK(mm->GetUsage().resident_bytes == 16 * kPageSize);
  CHECK(mm->GetUsage().minor_faults == 1);
}

TEST_CASE("errors of mmap") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  CHECK(MapError(*mm, Anonymous(0)) == Errno::kINVAL);
  CHECK(MapError(*mm, Anonymous(~uint64_t{0})) == Errno::kNOMEM);
  CHECK(MapError(*mm, Anonymous(uint64_t{1} << 47)) == Errno::kNOMEM);
  CHECK(MapError(*mm, At(0x10001, kPageSize)) == Errno::kINVAL);
  CHECK(MapError(*mm, At(0x1000, kPageSize)) == Errno::kPERM);
  CHECK(MapError(*mm, At(0, kPageSize)) == Errno::kPERM);
  CHECK(MapError(*mm, At(0x7ffffffff000, kPageSize)) == Errno::kNOMEM);
  CHECK(MapError(*mm, At(0xffffffffff600000, kPageSize)) == Errno::kNOMEM);
  auto offset = Anonymous(kPageSize);
  offset.offset = 0x123;
  CHECK(MapError(*mm, offset) == Errno::kINVAL);
  offset.offset = ~uint64_t{0xfff};
  offset.length = 2 * kPageSize;
  CHECK(MapError(*mm, offset) == Errno::kOVERFLOW);
  const uint64_t a = Map(*mm, At(0x10000000, 2 * kPageSize));
  auto noreplace = At(a + kPageSize, kPageSize);
  noreplace.fixed = false;
  noreplace.fixed_noreplace = true;
  CHECK(MapError(*mm, noreplace) == Errno::kEXIST);
}

TEST_CASE("errors of munmap and mprotect") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, At(0x10000000, 4 * kPageSize));
  CHECK(mm->Unmap(VirtAddr(a + 1), kPageSize).error() == Errno::kINVAL);
  CHECK(mm->Unmap(VirtAddr(a), 0).error() == Errno::kINVAL);
  CHECK(mm->Unmap(VirtAddr(a), ~uint64_t{0}).error() == Errno::kINVAL);
  CHECK(mm->Unmap(VirtAddr(0x20000000), kPageSize).ok());
  CHECK(mm->Protect(VirtAddr(a + 1), kPageSize, Prot::R()).error() == Errno::kINVAL);
  CHECK(mm->Protect(VirtAddr(a), 0, Prot::R()).ok());
  CHECK(mm->Protect(VirtAddr(a), 8 * kPageSize, Prot::R()).error() == Errno::kNOMEM);
  // What came before the hole is changed all the same.
  CHECK(mm->HandleFault(VirtAddr(a), Access::kWrite) == FaultResult::kAccessError);
}

TEST_CASE("a hint is taken where it is free, and rounded up to mmap_min_addr") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  auto request = Anonymous(kPageSize);
  request.addr = VirtAddr(0x12345678);
  CHECK(Map(*mm, request) == 0x12345000);
  CHECK(Map(*mm, request) != 0x12345000);
  request.addr = VirtAddr(0x1000);
  CHECK(Map(*mm, request) == 0x10000);
  request.addr = VirtAddr(0xfffffffffffff000);
  CHECK(Map(*mm, request) < 0x7ffffffff000);
}

TEST_CASE("addresses go down from the mmap base and are random if wanted") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(kPageSize));
  const uint64_t b = Map(*mm, Anonymous(kPageSize));
  CHECK(b == a - kPageSize);
  CHECK(a < 0x7ffffffff000 - 128 * kMiB);
  auto r1 = NewMm(platform, true), r2 = NewMm(platform, true);
  CHECK(Map(*r1, Anonymous(kPageSize)) != Map(*r2, Anonymous(kPageSize)));
}

TEST_CASE("an address is the highest that is free, however the holes came about") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  std::minstd_rand random(7);
  std::map<uint64_t, uint64_t> used;  // start, end
  const uint64_t top = Map(*mm, Anonymous(kPageSize)) + kPageSize;
  used[top - kPageSize] = top;
  const auto expected = [&](uint64_t length) {
    uint64_t end = top;
    for (auto it = used.rbegin(); it != used.rend(); ++it) {
      if (end - it->second >= length) return end - length;
      end = it->first;
    }
    return end - length;
  };
  for (int i = 0; i < 3000; ++i) {
    if (used.size() < 40 || random() % 2 == 0) {
      const uint64_t length = (1 + random() % (random() % 4 == 0 ? 300 : 4)) * kPageSize;
      // Alike neighbours would become one, which is not what this is about.
      const Prot prot = random() % 2 == 0 ? Prot::RW() : Prot::R();
      const uint64_t at = Map(*mm, Anonymous(length, prot));
      REQUIRE(at == expected(length));
      used[at] = at + length;
    } else {
      auto it = used.begin();
      std::advance(it, random() % used.size());
      REQUIRE(mm->Unmap(VirtAddr(it->first), it->second - it->first).ok());
      used.erase(it);
    }
  }
}

TEST_CASE("neighbours that are alike become one mapping") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = 0x10000000;
  Map(*mm, At(a, kPageSize));
  Map(*mm, At(a + 2 * kPageSize, kPageSize));
  CHECK(CountVmas(*mm) == 2);
  Map(*mm, At(a + kPageSize, kPageSize));
  CHECK(CountVmas(*mm) == 1);
  REQUIRE(mm->Protect(VirtAddr(a + kPageSize), kPageSize, Prot::R()).ok());
  CHECK(CountVmas(*mm) == 3);
  REQUIRE(mm->Protect(VirtAddr(a + kPageSize), kPageSize, Prot::RW()).ok());
  CHECK(CountVmas(*mm) == 1);
  REQUIRE(mm->Unmap(VirtAddr(a + kPageSize), kPageSize).ok());
  CHECK(CountVmas(*mm) == 2);
}

TEST_CASE("protection is enforced and contents survive PROT_NONE") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(4 * kPageSize));
  REQUIRE(GuestWrite(*mm, a, 7) == FaultResult::kHandled);
  REQUIRE(mm->Protect(VirtAddr(a), kPageSize, Prot::None()).ok());
  CHECK(mm->HandleFault(VirtAddr(a), Access::kRead) == FaultResult::kAccessError);
  uint64_t value = 0;
  CHECK(mm->CopyIn(&value, VirtAddr(a), 8).error() == Errno::kFAULT);
  REQUIRE(mm->Protect(VirtAddr(a), kPageSize, Prot::R()).ok());
  CHECK(GuestRead(*mm, a) == 7);
  CHECK(mm->HandleFault(VirtAddr(a), Access::kWrite) == FaultResult::kAccessError);
  CHECK(mm->HandleFault(VirtAddr(a), Access::kExec) == FaultResult::kAccessError);
  CHECK(mm->CopyOut(VirtAddr(a), &value, 8).error() == Errno::kFAULT);
  REQUIRE(mm->Protect(VirtAddr(a), kPageSize, Prot::RW()).ok());
  CHECK(GuestWrite(*mm, a, 8) == FaultResult::kHandled);
  auto sealed = Anonymous(kPageSize, Prot::R());
  sealed.max_prot = Prot::R();
  const uint64_t s = Map(*mm, sealed);
  CHECK(mm->Protect(VirtAddr(s), kPageSize, Prot::RW()).error() == Errno::kACCES);
}

TEST_CASE("fork copies on write, both ways, also pages that were read-only") {
  MemoryPlatform platform;
  const uint64_t before = UsedMemory(platform);
  {
    auto mm = NewMm(platform);
    const uint64_t a = Map(*mm, At(0x10000000, 32 * kPageSize));
    for (uint64_t i = 0; i < 32; ++i) GuestWrite(*mm, a + i * kPageSize, i + 1);
    REQUIRE(mm->Protect(VirtAddr(a), kPageSize, Prot::R()).ok());
    auto forked = mm->Fork();
    REQUIRE(forked.ok());
    auto child = *forked;
    CHECK(child->GetUsage().resident_bytes == 32 * kPageSize);
    for (auto* m : {mm.get(), child.get()}) {
      REQUIRE(m->Protect(VirtAddr(a), kPageSize, Prot::RW()).ok());
    }
    CHECK(GuestWrite(*child, a, 100) == FaultResult::kHandled);
    CHECK(GuestRead(*mm, a) == 1);
    CHECK(GuestWrite(*mm, a + 5 * kPageSize, 200) == FaultResult::kHandled);
    CHECK(GuestRead(*child, a + 5 * kPageSize) == 6);
    for (uint64_t i = 6; i < 32; ++i) CHECK(GuestRead(*child, a + i * kPageSize) == i + 1);
    // The last user writes in place.
    child.reset();
    *forked = nullptr;
    const Frame frame = mm->space().Lookup(VirtAddr(a + 31 * kPageSize))->frame;
    CHECK(GuestWrite(*mm, a + 31 * kPageSize, 9) == FaultResult::kHandled);
    CHECK(mm->space().Lookup(VirtAddr(a + 31 * kPageSize))->frame == frame);
  }
  CHECK(UsedMemory(platform) == before);
}

TEST_CASE("fork of 2 MiB blocks") {
  MemoryPlatform platform;
  const uint64_t before = UsedMemory(platform);
  {
    auto mm = NewMm(platform);
    const uint64_t a = Map(*mm, At(0x40000000, 2 * kMiB));
    GuestWrite(*mm, a + kMiB, 1);
    auto child = *mm->Fork();
    CHECK(GuestRead(*child, a + kMiB) == 1);
    CHECK(child->space().Lookup(VirtAddr(a))->huge);
    GuestWrite(*child, a + kMiB, 2);
    CHECK(GuestRead(*mm, a + kMiB) == 1);
    CHECK(GuestRead(*child, a + kMiB) == 2);
    GuestWrite(*mm, a, 3);
    CHECK(GuestRead(*child, a) == 0);
    child.reset();
    GuestWrite(*mm, a + 8, 4);
    CHECK(GuestRead(*mm, a) == 3);
  }
  CHECK(UsedMemory(platform) == before);
}

// Faults of the child, and of the parent after it, that write to these pages after a fork.
std::pair<uint64_t, uint64_t> FaultsAfterFork(MemoryManager& mm, uint64_t a, int pages,
                                              bool alone) {
  auto child = mm.Fork({.alone = alone}).value();
  const uint64_t before = mm.GetUsage().minor_faults;
  for (int i = 0; i < pages; ++i) {
    REQUIRE(GuestRead(*child, a + i * kPageSize) == 5);
    REQUIRE(GuestWrite(*child, a + i * kPageSize, 6) == FaultResult::kHandled);
    REQUIRE(GuestRead(mm, a + i * kPageSize) == 5);
  }
  for (int i = 0; i < pages; ++i) {
    REQUIRE(GuestWrite(mm, a + i * kPageSize, 7) == FaultResult::kHandled);
    REQUIRE(GuestRead(*child, a + i * kPageSize) == 6);
    REQUIRE(GuestWrite(mm, a + i * kPageSize, 5) == FaultResult::kHandled);
  }
  return {child->GetUsage().minor_faults, mm.GetUsage().minor_faults - before};
}

TEST_CASE("pages that are written after each fork are copied by it") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(128 * kPageSize));
  for (int i = 0; i < 128; ++i)
    REQUIRE(GuestWrite(*mm, a + i * kPageSize, 5) == FaultResult::kHandled);
  CHECK(FaultsAfterFork(*mm, a, 32, true).first > 0);
  for (int i = 0; i < 8; ++i) FaultsAfterFork(*mm, a, 32, true);
  CHECK(FaultsAfterFork(*mm, a, 32, true) == std::pair<uint64_t, uint64_t>(0, 0));
  // Of what the child alone writes the parent's page stays shared, and is copied each time.
  for (int i = 0; i < 3; ++i) {
    auto child = mm->Fork({.alone = true}).value();
    REQUIRE(GuestWrite(*child, a + 100 * kPageSize, 8) == FaultResult::kHandled);
    CHECK(child->GetUsage().minor_faults == (i == 0 ? 1u : 0u));
    CHECK(GuestRead(*mm, a + 100 * kPageSize) == 5);
  }
  // With threads that go on writing every page is shared first.
  CHECK(FaultsAfterFork(*mm, a, 32, false).first > 0);
  // What the child is known to write is copied the first time.
  auto other = NewMm(platform);
  const uint64_t b = Map(*other, Anonymous(4 * kPageSize));
  REQUIRE(GuestWrite(*other, b, 1) == FaultResult::kHandled);
  auto child = other->Fork({.alone = true, .written = {VirtAddr(b + 8)}}).value();
  REQUIRE(GuestWrite(*child, b, 2) == FaultResult::kHandled);
  CHECK(child->GetUsage().minor_faults == 0);
  CHECK(GuestRead(*other, b) == 1);
}

TEST_CASE("a pinned page is not copied by a fork but on write") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(4 * kPageSize));
  REQUIRE(GuestWrite(*mm, a, 1) == FaultResult::kHandled);
  auto pinned = mm->Pin(VirtAddr(a), kPageSize, Access::kWrite);
  REQUIRE(pinned.ok());
  auto child = mm->Fork({.alone = true, .written = {VirtAddr(a)}}).value();
  CHECK(child->space().Lookup(VirtAddr(a))->soft_cow);
}

TEST_CASE("a child of 2 MiB blocks reads and writes them, and gives them back") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(8 * kMiB));
  for (uint64_t at = a; at < a + 8 * kMiB; at += kPageSize) {
    REQUIRE(GuestWrite(*mm, at, at) == FaultResult::kHandled);
  }
  const uint64_t used = UsedMemory(platform);
  {
    auto child = mm->Fork({.alone = true}).value();
    for (uint64_t at = a; at < a + 4 * kMiB; at += 5 * kPageSize)
      REQUIRE(GuestRead(*child, at) == at);
    REQUIRE(GuestWrite(*child, a + 5 * kMiB, 1) == FaultResult::kHandled);
    CHECK(GuestRead(*mm, a + 5 * kMiB) == a + 5 * kMiB);
    REQUIRE(GuestWrite(*mm, a + 7 * kMiB, 2) == FaultResult::kHandled);
    CHECK(GuestRead(*child, a + 7 * kMiB) == a + 7 * kMiB);
  }
  CHECK(UsedMemory(platform) <= used + 2 * kPageSize);
  // Ours again, all with one fault.
  const uint64_t faults = mm->GetUsage().minor_faults;
  REQUIRE(GuestWrite(*mm, a + 2 * kMiB, 3) == FaultResult::kHandled);
  REQUIRE(GuestWrite(*mm, a + 4 * kMiB, 3) == FaultResult::kHandled);
  CHECK(mm->GetUsage().minor_faults == faults + 1);
}

TEST_CASE("shared anonymous memory is shared with the child") {
  MemoryPlatform platform;
  const uint64_t before = UsedMemory(platform);
  {
    auto mm = NewMm(platform);
    auto request = Anonymous(8 * kPageSize);
    request.shared = true;
    const uint64_t a = Map(*mm, request);
    GuestWrite(*mm, a, 1);
    auto child = *mm->Fork();
    GuestWrite(*child, a, 2);
    GuestWrite(*child, a + 7 * kPageSize, 3);
    CHECK(GuestRead(*mm, a) == 2);
    CHECK(GuestRead(*mm, a + 7 * kPageSize) == 3);
    auto key1 = mm->GetFutexKey(VirtAddr(a + 4), false);
    auto key2 = child->GetFutexKey(VirtAddr(a + 4), false);
    CHECK(*key1 == *key2);
    CHECK_FALSE(*mm->GetFutexKey(VirtAddr(a), true) == *child->GetFutexKey(VirtAddr(a), true));
  }
  CHECK(UsedMemory(platform) == before);
}

TEST_CASE("brk grows, shrinks and stops at what is in the way") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  mm->SetBrkStart(VirtAddr(0x600800));
  CHECK(mm->Brk(VirtAddr(0)) == VirtAddr(0x600800));
  CHECK(mm->Brk(VirtAddr(0x603000)) == VirtAddr(0x603000));
  CHECK(GuestWrite(*mm, 0x602000, 1) == FaultResult::kHandled);
  CHECK(mm->HandleFault(VirtAddr(0x600000), Access::kRead) == FaultResult::kMapError);
  CHECK(mm->Brk(VirtAddr(0x601800)) == VirtAddr(0x601800));
  CHECK(mm->HandleFault(VirtAddr(0x602000), Access::kRead) == FaultResult::kMapError);
  CHECK(mm->Brk(VirtAddr(0x603000)) == VirtAddr(0x603000));
  CHECK(GuestRead(*mm, 0x602000) == 0);
  Map(*mm, At(0x700000, kPageSize));
  CHECK(mm->Brk(VirtAddr(0x6ff000)) == VirtAddr(0x6ff000));
  CHECK(mm->Brk(VirtAddr(0x700000)) == VirtAddr(0x6ff000));
  CHECK(mm->Brk(VirtAddr(~uint64_t{0})) == VirtAddr(0x6ff000));
  MemoryManager::Limits limits;
  limits.data = 0x10000;
  mm->SetLimits(limits);
  CHECK(mm->Brk(VirtAddr(0x680000)) == VirtAddr(0x6ff000));
}

TEST_CASE("a stack grows to its limit and keeps its distance") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t top = 0x7fff00000000;
  auto request = At(top - 4 * kPageSize, 4 * kPageSize);
  request.grows_down = true;
  request.kind = VmaKind::kStack;
  Map(*mm, request);
  CHECK(GuestWrite(*mm, top - 64 * kPageSize, 1) == FaultResult::kHandled);
  CHECK(mm->GetUsage().stack_bytes == 64 * kPageSize);
  CHECK(mm->HandleFault(VirtAddr(top - 9 * kMiB), Access::kWrite) == FaultResult::kMapError);
  CHECK(GuestWrite(*mm, top - 8 * kMiB, 1) == FaultResult::kHandled);
  // Something below within the guard gap stops the growth of a second stack.
  const uint64_t top2 = 0x7ffe00000000;
  Map(*mm, At(top2 - 400 * kPageSize, kPageSize));
  request.addr = VirtAddr(top2 - 4 * kPageSize);
  Map(*mm, request);
  CHECK(GuestWrite(*mm, top2 - 100 * kPageSize, 1) == FaultResult::kHandled);
  CHECK(mm->HandleFault(VirtAddr(top2 - 200 * kPageSize), Access::kWrite) ==
        FaultResult::kMapError);
}

TEST_CASE("copies cross pages, fault pages in and stop at holes") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, At(0x10000000, 4 * kPageSize));
  std::vector<uint8_t> out(3 * kPageSize), in(3 * kPageSize);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(i * 7);
  REQUIRE(mm->CopyOut(VirtAddr(a + 100), out.data(), out.size()).ok());
  REQUIRE(mm->CopyIn(in.data(), VirtAddr(a + 100), in.size()).ok());
  CHECK(in == out);
  CHECK(*mm->CopyInSome(in.data(), VirtAddr(a + 2 * kPageSize), in.size()) == 2 * kPageSize);
  CHECK(mm->CopyIn(in.data(), VirtAddr(a + 2 * kPageSize), in.size()).error() == Errno::kFAULT);
  CHECK(mm->CopyIn(in.data(), VirtAddr(~uint64_t{0} - 3), 8).error() == Errno::kFAULT);
  CHECK(mm->CopyIn(in.data(), VirtAddr(0xffffffffff600000), 8).error() == Errno::kFAULT);
  CHECK(mm->CopyIn(in.data(), VirtAddr(0x800000000000), 8).error() == Errno::kFAULT);
  CHECK(mm->CopyIn(in.data(), VirtAddr(0), 0).ok());
  REQUIRE(mm->ZeroOut(VirtAddr(a), 2 * kPageSize).ok());
  CHECK(GuestRead(*mm, a + 2 * kPageSize - 8) == 0);
  const char text[] = "hello";
  REQUIRE(mm->CopyOut(VirtAddr(a + 4 * kPageSize - 6), text, 6).ok());
  CHECK(*mm->CopyInString(VirtAddr(a + 4 * kPageSize - 6), 4096) == "hello");
  CHECK(mm->CopyInString(VirtAddr(a + 4 * kPageSize - 6), 5).error() == Errno::kNAMETOOLONG);
  REQUIRE(mm->CopyOut(VirtAddr(a + 4 * kPageSize - 5), "world", 5).ok());
  CHECK(mm->CopyInString(VirtAddr(a + 4 * kPageSize - 5), 4096).error() == Errno::kFAULT);
}

TEST_CASE("memory runs out for the guest, not for the sentry") {
  MemoryPlatform platform(8 * kMiB);
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, Anonymous(64 * kMiB));
  FaultResult result = FaultResult::kHandled;
  uint64_t touched = 0;
  for (; touched < 64 * kMiB && result == FaultResult::kHandled; touched += kPageSize) {
    result = GuestWrite(*mm, a + touched, touched);
  }
  CHECK(result == FaultResult::kOutOfMemory);
  CHECK(touched > 4 * kMiB);
  uint64_t value = 0;
  CHECK_FALSE(mm->CopyOut(VirtAddr(a + 63 * kMiB), &value, 8).ok());
  CHECK(mm->Unmap(VirtAddr(a), 32 * kMiB).ok());
  CHECK(GuestWrite(*mm, a + 63 * kMiB, 1) == FaultResult::kHandled);
}

TEST_CASE("limits on address space and data") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  MemoryManager::Limits limits;
  limits.address_space = 10 * kMiB;
  limits.data = 4 * kMiB;
  mm->SetLimits(limits);
  CHECK(MapError(*mm, Anonymous(11 * kMiB, Prot::R())) == Errno::kNOMEM);
  CHECK(MapError(*mm, Anonymous(5 * kMiB)) == Errno::kNOMEM);
  const uint64_t a = Map(*mm, Anonymous(5 * kMiB, Prot::R()));
  CHECK(mm->Protect(VirtAddr(a), 5 * kMiB, Prot::RW()).error() == Errno::kNOMEM);
  Map(*mm, Anonymous(4 * kMiB));
  CHECK(MapError(*mm, Anonymous(2 * kMiB, Prot::R())) == Errno::kNOMEM);
}

TEST_CASE("at most 65530 mappings") {
  MemoryPlatform platform;
  auto mm = NewMm(platform);
  const uint64_t a = Map(*mm, At(0x100000000, 70000 * 2 * kPageSize));
  uint64_t i = 0;
  Result<void> result;
  for (; i < 70000 && result.ok(); ++i) {
    result = mm->Protect(VirtAddr(a + i * 2 * kPageSize), kPageSize, Prot::R());
  }
  CHECK(result.error() == Errno::kNOMEM);
  CHECK(CountVmas(*mm) <= 65530);
  CHECK(CountVmas(*mm) > 65500);
  CHECK(MapError(*mm, Anonymous(kPageSize, Prot::RX())) == Errno::kNOMEM);
  CHECK(mm->Unmap(VirtAddr(a), 60000 * kPageSize).ok());
}

}  // namespace
}  // namespace ringfence::sentry
