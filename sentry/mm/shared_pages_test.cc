#include "sentry/mm/shared_pages.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

struct Fixture {
  MemoryPlatform platform;
  std::shared_ptr<PageQuota> quota = std::make_shared<PageQuota>(1024);
  std::shared_ptr<AnonymousPages> pages = std::make_shared<AnonymousPages>(
      &platform.memory(), AnonymousPages::Options{.name = "/f", .quota = quota});

  Result<size_t> Write(uint64_t offset, std::string text) {
    UserIo io(absl::MakeSpan(reinterpret_cast<std::byte*>(text.data()), text.size()));
    return pages->Write(offset, io, text.size());
  }
  std::string Read(uint64_t offset, size_t n) {
    std::string text(n, '?');
    UserIo io(absl::MakeSpan(reinterpret_cast<std::byte*>(text.data()), n));
    text.resize(*pages->Read(offset, io, n));
    return text;
  }
  uint64_t Map(MemoryManager& mm, uint64_t length, bool shared, Prot prot = Prot::RW()) {
    MapRequest request;
    request.length = length;
    request.prot = prot;
    request.shared = shared;
    request.object = pages;
    request.kind = VmaKind::kFile;
    return mm.Map(request)->value();
  }
};

// Private memory at 0x10000000.
void MapFourPages(MemoryManager& mm) {
  MapRequest request;
  request.addr = VirtAddr(0x10000000);
  request.fixed = true;
  request.length = 4 * kPageSize;
  request.prot = Prot::RW();
  REQUIRE(mm.Map(request).ok());
}

TEST_CASE(
    "text that a dynamic linker puts in its place comes with the call, written pages by windows") {
  Fixture f;
  const auto mm = *MemoryManager::Create(&f.platform);
  REQUIRE(f.pages->Truncate(200 * kPageSize).ok());
  const uint64_t at = 0x40000000;
  const auto map = [&](uint64_t offset, Prot prot, bool fixed) {
    MapRequest request;
    request.addr = VirtAddr(at + offset);
    request.length = 192 * kPageSize;
    request.prot = prot;
    request.fixed = fixed;
    request.object = f.pages;
    REQUIRE(mm->Map(request).ok());
    return mm->GetUsage().resident_bytes / kPageSize;
  };
  CHECK(map(0, {.read = true}, false) == 0);
  CHECK(map(0, {.read = true}, true) == 16);  // FaultAround of such an object
  CHECK(map(0, Prot::RW(), true) == 0);
  CHECK(GuestWrite(*mm, at + 15 * kPageSize, 1) == FaultResult::kHandled);
  CHECK(mm->GetUsage().resident_bytes == 16 * kPageSize);  // what the object gives at once
  // Read before it is written: copied 64 pages at a time where they are there.
  for (uint64_t page = 64; page < 192; page += 16)
    CHECK(GuestRead(*mm, at + page * kPageSize) == 0);
  CHECK(GuestWrite(*mm, at + 100 * kPageSize, 1) == FaultResult::kHandled);
  CHECK(mm->space().Lookup(VirtAddr(at + 64 * kPageSize))->prot.write);
  CHECK(mm->space().Lookup(VirtAddr(at + 127 * kPageSize))->prot.write);
  CHECK_FALSE(mm->space().Lookup(VirtAddr(at + 128 * kPageSize))->prot.write);
}

TEST_CASE("bytes written are read back, holes are zero") {
  Fixture f;
  CHECK(*f.Write(5000, "hello") == 5);
  CHECK(f.pages->size() == 5005);
  CHECK(f.pages->allocated_pages() == 1);
  CHECK(f.Read(5000, 100) == "hello");
  CHECK(f.Read(0, 4) == std::string(4, '\0'));
  CHECK(f.Read(5005, 4).empty());
  CHECK(f.Read(~uint64_t{0} - 10, 4).empty());
  CHECK(f.pages->NextData(0).value() == 4096);
  CHECK(f.pages->NextHole(0).value() == 0);
  CHECK(f.pages->NextHole(4096).value() == 5005);
  CHECK(f.pages->NextData(5005).error() == Errno::kNXIO);
}

TEST_CASE("random reads, writes, holes and sizes behave like a string") {
  Fixture f;
  std::mt19937 random(7);
  std::string model;
  for (int step = 0; step < 2000; ++step) {
    const uint64_t offset = random() % 40000, n = 1 + random() % 9000;
    switch (random() % 5) {
      case 0:
      case 1: {
        const std::string text(n, static_cast<char>('a' + random() % 26));
        REQUIRE(*f.Write(offset, text) == n);
        if (model.size() < offset + n) model.resize(offset + n, '\0');
        model.replace(offset, n, text);
        break;
      }
      case 2:
        REQUIRE(f.pages->Truncate(offset).ok());
        model.resize(offset, '\0');
        break;
      case 3:
        REQUIRE(f.pages->PunchHole(offset, n).ok());
        for (uint64_t i = offset; i < std::min<uint64_t>(offset + n, model.size()); ++i)
          model[i] = 0;
        break;
      default:
        break;
    }
    REQUIRE(f.pages->size() == model.size());
    REQUIRE(f.Read(offset, n) == (offset < model.size() ? model.substr(offset, n) : std::string()));
  }
  REQUIRE(f.quota->used() == f.pages->allocated_pages());
  f.pages.reset();
  CHECK(f.quota->used() == 0);
}

TEST_CASE("quota and size limits") {
  Fixture f;
  CHECK(f.pages->Allocate(0, 5 * kMiB, AnonymousPages::KeepSize::kNo).error() == Errno::kNOSPC);
  CHECK(f.pages->allocated_pages() == 0);
  CHECK(f.pages->Allocate(0, 4 * kMiB, AnonymousPages::KeepSize::kYes).ok());
  CHECK(f.pages->size() == 0);
  CHECK(f.Write(4 * kMiB, "x").error() == Errno::kNOSPC);
  CHECK(*f.Write(4 * kMiB - 1, "xy") == 1);
  CHECK(f.Write(AnonymousPages::kMaxSize, "x").error() == Errno::kFBIG);
  CHECK(f.pages->Truncate(~uint64_t{0}).error() == Errno::kFBIG);
  CHECK(f.pages->Truncate(AnonymousPages::kMaxSize).ok());
  CHECK(f.pages->Truncate(0).ok());
  CHECK(f.quota->used() == 0);
  CHECK(f.pages->PunchHole(0, ~uint64_t{0}).ok());
}

TEST_CASE("shared mappings see writes and truncation, private ones copy") {
  Fixture f;
  auto mm = *MemoryManager::Create(&f.platform);
  REQUIRE(*f.Write(0, std::string(3 * kPageSize, 'a')) == 3 * kPageSize);
  const uint64_t shared = f.Map(*mm, 4 * kPageSize, true);
  const uint64_t copy = f.Map(*mm, 4 * kPageSize, false);
  CHECK(f.pages->HasMappings());
  CHECK(GuestRead(*mm, shared) == 0x6161616161616161);
  CHECK(GuestRead(*mm, copy) == 0x6161616161616161);
  CHECK(GuestWrite(*mm, shared, 1) == FaultResult::kHandled);
  CHECK(GuestRead(*mm, copy) == 1);
  CHECK(GuestWrite(*mm, copy, 2) == FaultResult::kHandled);
  CHECK(GuestRead(*mm, shared) == 1);
  CHECK(f.Read(0, 1) == "\1");
  // Past the end: SIGBUS.
  CHECK(mm->HandleFault(VirtAddr(shared + 3 * kPageSize), Access::kRead) == FaultResult::kBusError);
  uint64_t value;
  CHECK(mm->CopyIn(&value, VirtAddr(shared + 3 * kPageSize), 8).error() == Errno::kFAULT);
  // A hole keeps private copies, also after a fork; truncation takes them.
  auto child = *mm->Fork();
  REQUIRE(f.pages->PunchHole(0, kPageSize).ok());
  CHECK(GuestRead(*mm, shared) == 0);
  CHECK(GuestRead(*mm, copy) == 2);
  CHECK(GuestRead(*child, copy) == 2);
  CHECK(GuestRead(*child, shared) == 0);
  REQUIRE(f.pages->Truncate(0).ok());
  CHECK(mm->HandleFault(VirtAddr(copy), Access::kRead) == FaultResult::kBusError);
  CHECK(mm->HandleFault(VirtAddr(shared), Access::kRead) == FaultResult::kBusError);
  CHECK(child->HandleFault(VirtAddr(shared), Access::kRead) == FaultResult::kBusError);
  REQUIRE(f.pages->Truncate(kPageSize).ok());
  CHECK(GuestRead(*mm, copy) == 0);
  child.reset();
  mm.reset();
  CHECK_FALSE(f.pages->HasMappings());
}

TEST_CASE("a private read-only page is never written in place") {
  Fixture f;
  auto mm = *MemoryManager::Create(&f.platform);
  REQUIRE(*f.Write(0, std::string(kPageSize, 'a')) == kPageSize);
  const uint64_t copy = f.Map(*mm, kPageSize, false, Prot::R());
  CHECK(GuestRead(*mm, copy) == 0x6161616161616161);
  REQUIRE(mm->Protect(VirtAddr(copy), kPageSize, Prot::RW()).ok());
  CHECK(GuestWrite(*mm, copy, 2) == FaultResult::kHandled);
  CHECK(f.Read(0, 1) == "a");
  CHECK(f.pages->allocated_pages() == 1);
}

TEST_CASE("a mapping of a store with whole blocks gets 2 MiB pages") {
  MemoryPlatform platform;
  auto mm = *MemoryManager::Create(&platform);
  MapRequest request;
  request.addr = VirtAddr(0x40000000);
  request.fixed = true;
  request.length = 4 * kMiB;
  request.prot = Prot::RW();
  request.shared = true;
  REQUIRE(mm->Map(request).ok());
  CHECK(GuestWrite(*mm, 0x40000000 + kMiB, 1) == FaultResult::kHandled);
  CHECK(mm->space().Lookup(VirtAddr(0x40000000))->huge);
}

TEST_CASE("guest memory as source and target, in pieces and with faults") {
  Fixture f;
  auto mm = *MemoryManager::Create(&f.platform);
  MapFourPages(*mm);
  REQUIRE(mm->CopyOut(VirtAddr(0x10000ffe), "abcdef", 6).ok());
  UserIo out(mm.get(), {{VirtAddr(0x10000ffe), 3}, {VirtAddr(0), 0}, {VirtAddr(0x10001001), 3}});
  CHECK(out.remaining() == 6);
  CHECK(*f.pages->Write(0, out, 6) == 6);
  CHECK(f.Read(0, 10) == "abcdef");
  // The second piece is not mapped.
  UserIo in(mm.get(), {{VirtAddr(0x10003ffd), 3}, {VirtAddr(0x20000000), 3}});
  CHECK(*f.pages->Read(0, in, 6) == 3);
  CHECK(in.done() == 3);
  CHECK(f.pages->Read(0, in, 3).error() == Errno::kFAULT);
  UserIo bad(mm.get(), VirtAddr(0x20000000), 10);
  CHECK(f.pages->Write(0, bad, 10).error() == Errno::kFAULT);
  UserIo wraps(mm.get(), VirtAddr(~uint64_t{0} - 1), 10);
  CHECK(f.pages->Write(0, wraps, 10).error() == Errno::kFAULT);
}

TEST_CASE("pinned pages stay while the mapping goes") {
  Fixture f;
  auto mm = *MemoryManager::Create(&f.platform);
  MapFourPages(*mm);
  auto pinned = mm->Pin(VirtAddr(0x10000100), 3 * kPageSize, Access::kWrite);
  REQUIRE(pinned.ok());
  CHECK((*pinned)->bytes() == 3 * kPageSize);
  size_t sum = 0;
  for (const auto& v : (*pinned)->iovecs()) {
    memset(v.iov_base, 'z', v.iov_len);
    sum += v.iov_len;
  }
  CHECK(sum == 3 * kPageSize);
  CHECK(GuestRead(*mm, 0x10000100) == 0x7a7a7a7a7a7a7a7a);
  REQUIRE(mm->Unmap(VirtAddr(0x10000000), 4 * kPageSize).ok());
  memset((*pinned)->iovecs()[0].iov_base, 'y', 1);
  CHECK(mm->Pin(VirtAddr(0x10000000), 10, Access::kRead).error() == Errno::kFAULT);
  UserIo io(mm.get(), VirtAddr(0x10000000), 10);
  CHECK(io.Direct(10, Access::kRead, [](absl::Span<const struct iovec>) {
            return Result<size_t>(size_t{1});
          }).error() == Errno::kFAULT);
}

TEST_CASE("Direct hands out the pages of all segments") {
  Fixture f;
  auto mm = *MemoryManager::Create(&f.platform);
  MapFourPages(*mm);
  UserIo io(mm.get(), {{VirtAddr(0x10000000), 10}, {VirtAddr(0x10001ff0), 0x20}});
  auto moved = io.Direct(100, Access::kWrite, [](absl::Span<const struct iovec> v) {
    size_t n = 0;
    for (const auto& part : v) {
      memset(part.iov_base, 'q', part.iov_len);
      n += part.iov_len;
    }
    return Result<size_t>(n);
  });
  CHECK(*moved == 42);
  CHECK(io.remaining() == 0);
  CHECK(GuestRead(*mm, 0x10002008) == 0x7171717171717171);
}

// munmap(2) of one page each took time in proportion to all mappings of the object.
TEST_CASE("bug: an object with many mappings loses each as fast as one with few") {
  Fixture f;
  const auto nanos_to_unmap = [&f](uint64_t count) {
    auto mm = *MemoryManager::Create(&f.platform);
    MapRequest request;
    request.length = kPageSize;
    request.fixed = request.shared = true;
    request.prot = Prot::RW();
    request.object = f.pages;
    request.kind = VmaKind::kFile;
    // The same page each time: neighbours do not join.
    for (uint64_t i = 0; i < count; ++i) {
      request.addr = VirtAddr(0x10000000 + i * kPageSize);
      REQUIRE(mm->Map(request).ok());
    }
    const auto begin = std::chrono::steady_clock::now();
    for (uint64_t i = count; i > 0; --i) {
      REQUIRE(mm->Unmap(VirtAddr(0x10000000 + (i - 1) * kPageSize), kPageSize).ok());
    }
    CHECK_FALSE(f.pages->HasMappings());
    return (std::chrono::steady_clock::now() - begin).count() / count;
  };
  REQUIRE(f.Write(0, "x").ok());
  uint64_t few = ~uint64_t{0}, many = ~uint64_t{0};
  for (int i = 0; i < 3; ++i) {
    few = std::min<uint64_t>(few, nanos_to_unmap(1000));
    many = std::min<uint64_t>(many, nanos_to_unmap(32000));
  }
  CHECK(many < 8 * few);
}

}  // namespace
}  // namespace ringfence::sentry
