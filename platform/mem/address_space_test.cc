#include "platform/mem/address_space.h"

#include <catch2/catch.hpp>
#include <vector>

#include "platform/mem/guest_memory.h"
#include "platform/mem/table_view_unsafe.h"

namespace ringfence::platform {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr AddressSpace::MapOptions kReadWrite{.prot = Prot::RW()};

class NoSlots : public SlotSink {
 public:
  Result<void> AddSlot(uint64_t, uint64_t, std::byte*, bool) override { return Ok(); }
};

class Fixture {
 public:
  explicit Fixture(GuestMemory::Options options = {.max_anonymous_bytes = 64 * kMiB})
      : memory(GuestMemory::Create(options, &sink).value()),
        space(AddressSpace::Create(memory.get()).value()) {}
  ~Fixture() {
    if (space == nullptr) return;
    UnmapAll(*space);
    space.reset();
    CHECK(memory->GetStats().anonymous_bytes == 0);
  }
  void UnmapAll(AddressSpace& which) {
    CHECK(which.Unmap({VirtAddr(0), kUserEnd}, [&](FrameRun run) { memory->Unref(run); }).ok());
  }
  FrameRun Frames(uint64_t count) { return memory->Allocate(count).value(); }
  uint64_t Invalidations() const { return memory->GetStats().invalidations; }

  NoSlots sink;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<AddressSpace> space;
};

VirtRange Pages(VirtAddr start, uint64_t count) {
  return VirtRange::Make(start, count * kPageSize).value();
}

TEST_CASE_METHOD(Fixture, "map, look up, unmap") {
  const FrameRun run = Frames(3);
  const VirtAddr va(0x400000);
  REQUIRE(space->Map(va, run, {.prot = Prot::RX(), .soft_cow = true}).ok());
  const Leaf leaf = space->Lookup(VirtAddr(0x401234)).value();
  CHECK(leaf.frame.index == run.first.index + 1);
  CHECK(leaf.prot == Prot::RX());
  CHECK(leaf.soft_cow);
  CHECK_FALSE(leaf.soft_shared);
  CHECK_FALSE(leaf.huge);
  CHECK_FALSE(space->Lookup(VirtAddr(0x403000)));
  CHECK_FALSE(space->Lookup(VirtAddr(~uint64_t{0})));
  CHECK(space->TableBytes() == 4 * kPageSize);

  std::vector<FrameRun> dropped;
  REQUIRE(space->Unmap({va, VirtAddr(0x500000)}, [&](FrameRun r) { dropped.push_back(r); }).ok());
  CHECK(dropped == std::vector<FrameRun>{run});
  CHECK_FALSE(space->Lookup(va));
  CHECK(space->TableBytes() == kPageSize);
  memory->Unref(run);
}

TEST_CASE_METHOD(Fixture, "what is mapped is in the way, and nothing changes") {
  const FrameRun a = Frames(1), b = Frames(8);
  REQUIRE(space->Map(VirtAddr(0x203000), a, kReadWrite).ok());
  const uint64_t tables = space->TableBytes();
  CHECK(space->Map(VirtAddr(0x1fc000), b, kReadWrite).error() == Errno::kEXIST);
  CHECK_FALSE(space->Lookup(VirtAddr(0x1fc000)));
  CHECK(space->TableBytes() == tables);
  memory->Unref(b);
}

TEST_CASE_METHOD(Fixture, "ranges outside user space are refused") {
  const FrameRun run = Frames(2);
  CHECK(space->Map(VirtAddr(0x1001), run, kReadWrite).error() == Errno::kINVAL);
  CHECK(space->Map(VirtAddr(kUserEnd.value() - kPageSize), run, kReadWrite).error() ==
        Errno::kINVAL);
  CHECK(space->Map(VirtAddr(~kPageMask), run, kReadWrite).error() == Errno::kINVAL);
  CHECK(space->Map(VirtAddr(0), {run.first, uint64_t{1} << 60}, kReadWrite).error() ==
        Errno::kINVAL);
  auto ignore = [](FrameRun) {};
  const VirtRange too_far{VirtAddr(0), VirtAddr(kUserEnd.value() + kPageSize)};
  CHECK(space->Unmap(too_far, ignore).error() == Errno::kINVAL);
  CHECK(space->Protect(too_far, Prot::R()).error() == Errno::kINVAL);
  CHECK(space->Replace(kUserEnd, run.first, kReadWrite).error() == Errno::kINVAL);
  CHECK(space->TableBytes() == kPageSize);
  memory->Unref(run);
}

TEST_CASE_METHOD(Fixture, "2 MiB entries where whole, split when a part changes") {
  const FrameRun block = Frames(512);
  const VirtAddr va(0x40000000);
  REQUIRE(space->Map(va, block, kReadWrite).ok());
  CHECK(space->Lookup(va)->huge);
  CHECK(space->TableBytes() == 3 * kPageSize);
  CHECK(space->Lookup(VirtAddr(0x40005000))->frame.index == block.first.index + 5);

  const uint64_t before = Invalidations();
  REQUIRE(space->Protect(Pages(VirtAddr(0x40005000), 1), Prot::R()).ok());
  CHECK(Invalidations() == before + 2);  // the split, then the page
  CHECK_FALSE(space->Lookup(va)->huge);
  CHECK(space->Lookup(VirtAddr(0x40005000))->prot == Prot::R());
  CHECK(space->Lookup(VirtAddr(0x40006000))->prot == Prot::RW());
  CHECK(space->Lookup(VirtAddr(0x40006000))->frame.index == block.first.index + 6);
  CHECK(space->TableBytes() == 4 * kPageSize);
}

class ShadowSink : public NoSlots {
 public:
  explicit ShadowSink(HostPaging paging) : paging_(paging) {}
  HostPaging Paging() const override { return paging_; }

 private:
  const HostPaging paging_;
};

class ShadowFixture {
 public:
  explicit ShadowFixture(HostPaging paging = HostPaging::kShadow)
      : sink(paging),
        memory(GuestMemory::Create({.max_anonymous_bytes = 512 * kMiB}, &sink).value()),
        space(AddressSpace::Create(memory.get()).value()) {}
  ~ShadowFixture() { Unmap(*space, {VirtAddr(0), kUserEnd}); }
  void Unmap(AddressSpace& which, VirtRange range) {
    CHECK(which.Unmap(range, [this](FrameRun run) { memory->Unref(run); }).ok());
  }
  bool MapsHuge(VirtAddr va, FrameRun block) {
    REQUIRE(space->Map(va, block, kReadWrite).ok());
    CHECK(space->Lookup(va)->frame == block.first);
    CHECK(space->Lookup(VirtAddr(va.value() + kHugePageSize - 1).page_down())->frame.index ==
          block.first.index + 511);
    return space->Lookup(va)->huge;
  }

  ShadowSink sink;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<AddressSpace> space;
};

// Maps some of everything and ends the space; returns the invalidations of that.
uint64_t EndSpace(GuestMemory& memory) {
  auto space = AddressSpace::Create(&memory).value();
  const FrameRun shared = memory.Allocate(3).value(), block = memory.Allocate(512).value();
  memory.Ref(shared);
  REQUIRE(space->Map(VirtAddr(0x10000), shared, kReadWrite).ok());
  REQUIRE(space->Map(VirtAddr(0x40000000), block, kReadWrite).ok());
  const uint64_t before = memory.GetStats().invalidations;
  uint64_t dropped = 0;
  space->Dissolve([&](FrameRun run) {
    dropped += run.count;
    memory.Unref(run);
  });
  CHECK(dropped == 515);
  CHECK_FALSE(space->Lookup(VirtAddr(0x10000)));
  CHECK(memory.RefCount(shared.first) == 1);
  CHECK(memory.RefCount(block.first) == 0);
  space.reset();
  memory.Unref(shared);
  return memory.GetStats().invalidations - before;
}

TEST_CASE_METHOD(ShadowFixture, "the end of a space invalidates nothing where tables are kept") {
  CHECK(EndSpace(*memory) == 0);
  CHECK(memory->GetStats().forgotten == 0);
}

TEST_CASE_METHOD(Fixture, "the end of a space invalidates what tables are used again at once") {
  CHECK(EndSpace(*memory) > 0);
}

TEST_CASE_METHOD(ShadowFixture, "rule 5: with shadow paging a block has one 2 MiB entry") {
  const FrameRun block = memory->Allocate(512).value();
  memory->Ref(block);
  const VirtAddr first(0x40000000), second(0x50000000);
  CHECK(MapsHuge(first, block));
  CHECK_FALSE(MapsHuge(second, block));
  Unmap(*space, Pages(second, 512));
  memory->Ref(block);
  Unmap(*space, Pages(first, 512));
  CHECK_FALSE(
      MapsHuge(first, block));  // not before the host has forgotten the entry that was there
}

// A quarter of the 256 blocks there are.
constexpr uint64_t kMostRetired = 64;

TEST_CASE_METHOD(ShadowFixture, "rule 5: blocks are used again once the host has forgotten them") {
  const VirtAddr va(0x40000000);
  for (uint64_t i = 0; i < 4 * kMostRetired; ++i) {
    // 256 blocks: a claimed one is passed over as long as there are others.
    CHECK(MapsHuge(va, memory->Allocate(512).value()));
    Unmap(*space, Pages(va, 512));
  }
  CHECK(memory->GetStats().forgotten == 4);
}

TEST_CASE("rule 5: a small memory forgets earlier") {
  ShadowSink sink(HostPaging::kShadow);
  auto memory = GuestMemory::Create({.max_anonymous_bytes = 16 * kMiB}, &sink).value();
  for (int i = 0; i < 4; ++i) {
    const FrameRun block = memory->Allocate(512).value();
    REQUIRE(memory->ClaimHuge(block.first));
    memory->Retire({}, {block.first});
    memory->Unref(block);
    CHECK(memory->GetStats().forgotten == static_cast<uint64_t>((i + 1) / 2));
  }
}

TEST_CASE_METHOD(ShadowFixture, "rule 5: a split counts as the end of a 2 MiB entry") {
  const VirtAddr va(0x40000000);
  for (uint64_t i = 0; i < kMostRetired; ++i) {
    CHECK(MapsHuge(va, memory->Allocate(512).value()));
    Unmap(*space, Pages(va, 1));
    CHECK_FALSE(space->Lookup(VirtAddr(va.value() + kPageSize))->huge);
    CHECK(memory->GetStats().forgotten == (i + 1 == kMostRetired));
    Unmap(*space, Pages(va, 512));
  }
}

TEST_CASE_METHOD(ShadowFixture,
                 "rule 5: a clone has small entries where its parent has a large one") {
  const VirtAddr va(0x40000000);
  const FrameRun block = memory->Allocate(512).value();
  CHECK(MapsHuge(va, block));
  auto child = AddressSpace::Create(memory.get()).value();
  REQUIRE(space->CloneInto(*child, Pages(va, 512), true).ok());
  CHECK(space->Lookup(va)->huge);
  const uint64_t tables = child->TableBytes();
  CHECK(child->Lookup(va)->prot.read);
  REQUIRE(child->Protect(Pages(va, 512), Prot::R()).ok());
  CHECK(child->TableBytes() == tables + kPageSize);
  for (uint64_t i = 0; i < 512; ++i) {
    const auto leaf = child->Lookup(VirtAddr(va.value() + i * kPageSize));
    REQUIRE(leaf);
    CHECK((!leaf->huge && leaf->soft_cow && !leaf->prot.write));
    CHECK(leaf->frame.index == block.first.index + i);
  }
  CHECK(memory->RefCount(block.first) == 2);
  Unmap(*child, Pages(va, 512));
}

TEST_CASE_METHOD(ShadowFixture, "rule 5: a clone that nobody looked at is no 2 MiB entry") {
  const VirtAddr va(0x40000000);
  const FrameRun block = memory->Allocate(512).value();
  CHECK(MapsHuge(va, block));
  auto child = AddressSpace::Create(memory.get()).value();
  REQUIRE(space->CloneInto(*child, Pages(va, 512), true).ok());
  auto grandchild = AddressSpace::Create(memory.get()).value();
  REQUIRE(child->CloneInto(*grandchild, Pages(va, 512), true).ok());
  CHECK(memory->RefCount(block.first) == 3);
  // In the middle, by an end of a range, and as a whole.
  REQUIRE(child->MakePrivate(Pages(VirtAddr(va.value() + kPageSize), 1), Prot::RW()).ok());
  CHECK_FALSE(child->Lookup(va)->huge);
  CHECK_FALSE(child->Lookup(va)->prot.write);
  CHECK(child->Lookup(VirtAddr(va.value() + kPageSize))->prot.write);
  Unmap(*child, Pages(va, 512));
  Unmap(*grandchild, Pages(va, 1));
  CHECK(memory->RefCount(block.first) == 1);
  Unmap(*grandchild, Pages(va, 512));
  // The parent's entry is still the one that there may be.
  CHECK_FALSE(memory->ClaimHuge(block.first));
  CHECK(memory->OneReference(block));
  Unmap(*space, Pages(va, 512));
}

TEST_CASE_METHOD(ShadowFixture, "a page table becomes a 2 MiB entry with other frames") {
  const VirtAddr va(0x40000000);
  const FrameRun block = memory->Allocate(512).value();
  std::vector<FrameRun> dropped;
  const auto collect = [&](FrameRun run) { dropped.push_back(run); };
  CHECK_FALSE(space->Collapse(va, block, {.prot = Prot::RW()}, collect));
  const FrameRun few = memory->Allocate(16).value();
  REQUIRE(space->Map(VirtAddr(va.value() + 32 * kPageSize), few, {.prot = Prot::RW()}).ok());
  const uint64_t tables = space->TableBytes();
  REQUIRE(space->Collapse(va, block, {.prot = Prot::RW()}, collect));
  CHECK(space->TableBytes() == tables - kPageSize);
  CHECK(dropped == std::vector<FrameRun>{few});
  memory->Unref(few);
  CHECK(space->Lookup(va)->huge);
  CHECK_FALSE(space->Collapse(va, block, {.prot = Prot::RW()}, collect));
  Unmap(*space, Pages(va, 512));
  // Claimed and not forgotten yet.
  const FrameRun more = memory->Allocate(16).value();
  REQUIRE(space->Map(va, more, {.prot = Prot::RW()}).ok());
  const FrameRun again{block.first, 512};
  CHECK_FALSE(space->Collapse(va, again, {.prot = Prot::RW()}, collect));
  CHECK(space->Lookup(va)->frame == more.first);
  Unmap(*space, Pages(va, 512));
}

TEST_CASE("rule 5: kernels that lose splits get 4 KiB entries only") {
  ShadowFixture f(HostPaging::kShadowWithoutHuge);
  CHECK_FALSE(f.MapsHuge(VirtAddr(0x40000000), f.memory->Allocate(512).value()));
}

TEST_CASE_METHOD(Fixture, "unmapping the middle of a 2 MiB entry, both edges in it") {
  const FrameRun block = Frames(512);
  const VirtAddr va(0x40000000);
  REQUIRE(space->Map(va, block, kReadWrite).ok());
  std::vector<FrameRun> dropped;
  REQUIRE(space
              ->Unmap(Pages(VirtAddr(0x40001000), 10),
                      [&](FrameRun r) {
                        dropped.push_back(r);
                        memory->Unref(r);
                      })
              .ok());
  CHECK(dropped == std::vector<FrameRun>{{Frame{block.first.index + 1}, 10}});
  CHECK(space->Lookup(va));
  CHECK_FALSE(space->Lookup(VirtAddr(0x40001000)));
  CHECK(space->Lookup(VirtAddr(0x4000b000))->frame.index == block.first.index + 11);
}

TEST_CASE_METHOD(Fixture, "protection none keeps the frame") {
  const FrameRun run = Frames(1);
  REQUIRE(space->Map(VirtAddr(0x1000), run, kReadWrite).ok());
  REQUIRE(space->Protect(Pages(VirtAddr(0x1000), 1), Prot::None()).ok());
  CHECK(space->Lookup(VirtAddr(0x1000))->prot == Prot::None());
  CHECK(space->Lookup(VirtAddr(0x1000))->frame == run.first);
  const uint64_t before = Invalidations();
  REQUIRE(space->Protect(Pages(VirtAddr(0x1000), 1), {.read = false, .write = true}).ok());
  CHECK(Invalidations() == before);
  CHECK(space->Lookup(VirtAddr(0x1000))->prot == Prot::RW());
}

TEST_CASE_METHOD(Fixture, "only downgrades are invalidated, once for neighbours") {
  const FrameRun run = Frames(64);
  const VirtRange range = Pages(VirtAddr(0x7000000), 64);
  REQUIRE(space->Map(range.start, run, {.prot = Prot::R()}).ok());
  const uint64_t before = Invalidations();
  REQUIRE(space->Protect(range, Prot::RW()).ok());
  REQUIRE(space->Protect(range, {true, true, true}).ok());
  CHECK(Invalidations() == before);
  REQUIRE(space->Protect(range, Prot::RW()).ok());
  CHECK(Invalidations() == before + 1);
  REQUIRE(space->Protect(range, Prot::R()).ok());
  CHECK(Invalidations() == before + 2);
}

TEST_CASE_METHOD(Fixture, "soft_cow pages never become writable by Protect") {
  const VirtRange range = Pages(VirtAddr(0x1000), 1);
  REQUIRE(space->Map(range.start, Frames(1), {.prot = Prot::R(), .soft_cow = true}).ok());
  REQUIRE(space->Protect(range, Prot::RW()).ok());
  CHECK(space->Lookup(range.start)->prot == Prot::R());
  REQUIRE(space->MakePrivate(range, Prot::RW()).ok());
  CHECK(space->Lookup(range.start)->prot == Prot::RW());
  CHECK_FALSE(space->Lookup(range.start)->soft_cow);
}

TEST_CASE_METHOD(Fixture,
                 "Replace returns the old frame; the same frame with more rights is free") {
  const FrameRun a = Frames(1), b = Frames(1);
  const VirtAddr va(0x1000);
  CHECK_FALSE(space->Replace(va, a.first, {.prot = Prot::R()}).value());
  uint64_t before = Invalidations();
  CHECK(space->Replace(va, a.first, kReadWrite).value() == a.first);
  CHECK(Invalidations() == before);
  CHECK(space->Replace(va, b.first, kReadWrite).value() == a.first);
  CHECK(Invalidations() == before + 1);
  memory->Unref(a);
}

TEST_CASE_METHOD(Fixture, "ReplaceRun needs a leaf everywhere") {
  const FrameRun old = Frames(4), copy = Frames(4);
  const VirtAddr va(0x1000);
  REQUIRE(space->Map(va, {old.first, 3}, {.prot = Prot::R(), .soft_cow = true}).ok());
  auto unref = [&](FrameRun run) { memory->Unref(run); };
  CHECK(space->ReplaceRun(va, copy, kReadWrite, unref).error() == Errno::kNOENT);
  CHECK(space->Lookup(va)->frame == old.first);
  const uint64_t before = Invalidations();
  REQUIRE(space->ReplaceRun(va, {copy.first, 3}, kReadWrite, unref).ok());
  CHECK(Invalidations() == before + 1);
  CHECK(space->Lookup(VirtAddr(0x3000))->frame.index == copy.first.index + 2);
  CHECK(space->Lookup(VirtAddr(0x3000))->prot == Prot::RW());
  unref({Frame{old.first.index + 3}, 1});
  unref({Frame{copy.first.index + 3}, 1});
}

TEST_CASE_METHOD(Fixture, "ReplaceRun over 2 MiB entries") {
  const VirtAddr va(0x40000000);
  REQUIRE(space->Map(va, Frames(512), {.prot = Prot::R()}).ok());
  auto unref = [&](FrameRun run) { memory->Unref(run); };
  REQUIRE(space->ReplaceRun(va, Frames(512), kReadWrite, unref).ok());
  CHECK(space->Lookup(va)->huge);
  memory->Unref(Frames(1));
  const FrameRun odd = Frames(500);
  REQUIRE(space->ReplaceRun(VirtAddr(va.value() + 5 * kPageSize), odd, kReadWrite, unref).ok());
  CHECK_FALSE(space->Lookup(va)->huge);
  CHECK(space->Lookup(VirtAddr(va.value() + 6 * kPageSize))->frame.index == odd.first.index + 1);
}

TEST_CASE_METHOD(Fixture, "Visit joins what is equal and consecutive") {
  const FrameRun run = Frames(8);
  REQUIRE(space->Map(VirtAddr(0x1000), {run.first, 4}, kReadWrite).ok());
  REQUIRE(space->Map(VirtAddr(0x5000), {Frame{run.first.index + 4}, 4}, {.prot = Prot::R()}).ok());
  std::vector<std::pair<uint64_t, FrameRun>> seen;
  space->Visit({VirtAddr(0x2000), VirtAddr(0x6000)}, [&](VirtAddr va, FrameRun r, const Leaf& l) {
    CHECK(l.frame == r.first);
    seen.push_back({va.value(), r});
  });
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].first == 0x2000);
  CHECK(seen[0].second == FrameRun{Frame{run.first.index + 1}, 3});
  CHECK(seen[1].first == 0x5000);
  CHECK(seen[1].second == FrameRun{Frame{run.first.index + 4}, 1});
}

TEST_CASE_METHOD(Fixture, "Visit inside a 2 MiB entry") {
  const FrameRun block = Frames(512);
  REQUIRE(space->Map(VirtAddr(0x40000000), block, kReadWrite).ok());
  int runs = 0;
  space->Visit(Pages(VirtAddr(0x40003000), 7), [&](VirtAddr va, FrameRun r, const Leaf&) {
    ++runs;
    CHECK(va == VirtAddr(0x40003000));
    CHECK(r == FrameRun{Frame{block.first.index + 3}, 7});
  });
  CHECK(runs == 1);
}

TEST_CASE_METHOD(Fixture, "fork: both sides read-only and soft_cow, one reference each") {
  auto child = AddressSpace::Create(memory.get()).value();
  const FrameRun block = Frames(512), small = Frames(2);
  REQUIRE(space->Map(VirtAddr(0x40000000), block, kReadWrite).ok());
  REQUIRE(space->Map(VirtAddr(0x1000), small, {.prot = Prot::RX()}).ok());
  REQUIRE(space->CloneInto(*child, {VirtAddr(0), kUserEnd}, true).ok());
  for (AddressSpace* each : {space.get(), child.get()}) {
    CHECK(each->Lookup(VirtAddr(0x40000000))->huge);
    CHECK(each->Lookup(VirtAddr(0x40000000))->prot == Prot::R());
    CHECK(each->Lookup(VirtAddr(0x40000000))->soft_cow);
    CHECK(each->Lookup(VirtAddr(0x1000))->prot == Prot::RX());
    CHECK(each->Lookup(VirtAddr(0x1000))->soft_cow);
  }
  CHECK(memory->RefCount(small.first) == 2);
  CHECK(memory->RefCount(block.first) == 2);
  CHECK(space->CloneInto(*child, {VirtAddr(0), kUserEnd}, true).error() == Errno::kEXIST);
  UnmapAll(*child);
  child.reset();
  CHECK(memory->RefCount(small.first) == 1);
}

TEST_CASE_METHOD(Fixture, "sharing keeps rights") {
  auto child = AddressSpace::Create(memory.get()).value();
  const AddressSpace::MapOptions shared{.prot = Prot::RW(), .soft_shared = true};
  REQUIRE(space->Map(VirtAddr(0x1000), Frames(1), shared).ok());
  const uint64_t before = Invalidations();
  REQUIRE(space->CloneInto(*child, {VirtAddr(0), kUserEnd}, false).ok());
  CHECK(Invalidations() == before);
  CHECK(child->Lookup(VirtAddr(0x1000))->prot == Prot::RW());
  CHECK(child->Lookup(VirtAddr(0x1000))->soft_shared);
  UnmapAll(*child);
}

TEST_CASE_METHOD(Fixture, "tables do not pile up under a guest that maps sparsely") {
  const FrameRun run = Frames(1);
  for (uint64_t i = 1; i < 20000; ++i) {
    const VirtAddr va(i * (uint64_t{1} << 32) + (i % 512) * kPageSize);
    REQUIRE(space->Map(va, run, kReadWrite).ok());
    REQUIRE(space->Unmap(Pages(va, 1), [](FrameRun) {}).ok());
  }
  CHECK(space->TableBytes() == kPageSize);
  memory->Unref(run);
}

TEST_CASE("out of memory changes nothing") {
  Fixture f({.max_anonymous_bytes = 2 * kMiB});
  const FrameRun page = f.Frames(1);
  REQUIRE(f.space->Map(VirtAddr(0x1000), page, kReadWrite).ok());
  std::vector<FrameRun> hog;
  while (true) {
    auto run = f.memory->Allocate(1);
    if (!run.ok()) break;
    hog.push_back(*run);
  }
  // Spare tables run out after a few maps far apart.
  Errno error{};
  uint64_t mapped = 0;
  for (uint64_t i = 1; i < 10; ++i) {
    auto result = f.space->Map(VirtAddr(i << 40), page, kReadWrite);
    if (!result.ok()) {
      error = result.error();
      CHECK_FALSE(f.space->Lookup(VirtAddr(i << 40)));
      break;
    }
    f.memory->Ref(page);
    ++mapped;
  }
  CHECK(error == Errno::kNOMEM);
  CHECK(mapped < 9);
  CHECK(AddressSpace::Create(f.memory.get()).error() == Errno::kNOMEM);
  for (const FrameRun& run : hog) f.memory->Unref(run);
}

TEST_CASE_METHOD(Fixture, "roots show the same space, each with a part of its own") {
  const auto top = [this](unsigned root, VirtAddr va) {
    const TableView view(*memory, Frame{space->RootPhys(root) >> kPageShift});
    return view.Load(va.value() >> 39 & 511);
  };
  const VirtAddr before(0x400000), after(uint64_t{1} << 40), platform_page(0xffffffff80000000);
  REQUIRE(space->Map(before, Frames(1), kReadWrite).ok());
  const unsigned root = space->AddRoot().value();
  REQUIRE(root == 1);
  REQUIRE(space->RootPhys(1) != space->RootPhys(0));
  REQUIRE(space->Map(after, Frames(1), kReadWrite).ok());
  const FrameRun shared = Frames(1), first = Frames(1), second = Frames(1), kernel = Frames(1);
  REQUIRE(space->MapPlatformPage(platform_page, shared.first, Prot::RX(), true).ok());
  REQUIRE(space->MapPlatformPage(kOwnRootBase, first.first, Prot::RW(), true, 0).ok());
  REQUIRE(space->MapPlatformPage(kOwnRootBase, second.first, Prot::RW(), true, 1).ok());
  CHECK(space->MapPlatformPage(kOwnRootBase, second.first, Prot::RW(), true, 1).error() ==
        Errno::kEXIST);
  space->SetKernelTable(kernel.first);
  for (const VirtAddr va : {before, after, platform_page, kKernelTableBase}) {
    CHECK(top(0, va) != 0);
    CHECK(top(0, va) == top(1, va));
  }
  CHECK(top(0, kOwnRootBase) != top(1, kOwnRootBase));
  UnmapAll(*space);
  CHECK(top(0, before) == 0);
  CHECK(top(1, before) == 0);
  CHECK(top(1, after) == 0);
  space.reset();
  memory->Unref(kernel);
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

TEST_CASE_METHOD(Fixture, "platform pages live outside the user range and go with the space") {
  const FrameRun code = Frames(1), data = Frames(1);
  memory->Ref(code);
  CHECK(space->MapPlatformPage(VirtAddr(0x1000), code.first, Prot::RX(), true).error() ==
        Errno::kINVAL);
  CHECK(
      space->MapPlatformPage(VirtAddr(0x0008000000000000), code.first, Prot::RX(), true).error() ==
      Errno::kINVAL);
  REQUIRE(space->MapPlatformPage(kUserEnd, code.first, Prot::RX(), true).ok());
  REQUIRE(space->MapPlatformPage(VirtAddr(0xffffc90000000000), data.first, Prot::RW(), false).ok());
  CHECK(space->MapPlatformPage(kUserEnd, data.first, Prot::RX(), true).error() == Errno::kEXIST);
  CHECK_FALSE(space->Lookup(kUserEnd));
  UnmapAll(*space);
  CHECK(space->TableBytes() > kPageSize);

  const FrameRun kernel = Frames(1);
  space->SetKernelTable(kernel.first);
  CHECK(space->MapPlatformPage(kKernelTableBase, data.first, Prot::RW(), false).error() ==
        Errno::kINVAL);
  space.reset();
  CHECK(memory->RefCount(code.first) == 1);
  CHECK(memory->RefCount(kernel.first) == 1);
  memory->Unref(code);
  memory->Unref(kernel);
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

}  // namespace
}  // namespace ringfence::platform
