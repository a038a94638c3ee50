// Rules 1 to 5 of host-facts against the KVM of this machine: what a vCPU really uses after each
// edit of a page table, not what the tables say.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "platform/mem/host_paging.h"
#include "platform/mem/kvm_test_guest_unsafe.h"
#include "platform/mem/safe_copy.h"

namespace ringfence::platform {
namespace {

using Outcome = TestGuest::Outcome;
using Routine = TestGuest::Routine;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr VirtAddr kPlace{0x40000000};  // 1 GiB aligned

// Bits of a page-fault error code.
constexpr uint64_t kPresent = 1, kWrite = 2, kUser = 4, kFetch = 16;

VirtAddr Plus(VirtAddr va, uint64_t pages) { return VirtAddr(va.value() + pages * kPageSize); }
VirtRange Pages(VirtAddr start, uint64_t count) { return {start, Plus(start, count)}; }

class Fixture {
 public:
  Fixture() : guest({.max_anonymous_bytes = 256 * kMiB}), space(guest.NewSpace()) {
    InstallSafeCopyHandler();
  }
  ~Fixture() { guest.Destroy(std::move(space)); }

  // Frames whose first words are their own numbers.
  FrameRun Stamped(uint64_t count) {
    const FrameRun run = guest.memory().Allocate(count).value();
    for (uint64_t i = 0; i < count; ++i) Word(Frame{run.first.index + i}) = run.first.index + i;
    return run;
  }
  volatile uint64_t& Word(Frame frame) {
    return *reinterpret_cast<volatile uint64_t*>(guest.memory().HostAddress(frame));
  }
  FrameRun MapStamped(VirtAddr va, uint64_t count, Prot prot = Prot::RW()) {
    const FrameRun run = Stamped(count);
    REQUIRE(space->Map(va, run, {.prot = prot}).ok());
    return run;
  }
  void Unmap(VirtRange range) {
    REQUIRE(space->Unmap(range, [&](FrameRun run) { guest.memory().Unref(run); }).ok());
  }

  // The word the guest reads at `va`; 0 when it faults.
  uint64_t Read(VirtAddr va) {
    const Outcome outcome = guest.Run(*space, Routine::kRead, va);
    return outcome.kind == Outcome::kDone ? outcome.rax : 0;
  }
  bool Faults(Routine routine, VirtAddr va, uint64_t error_code) {
    const Outcome outcome = guest.Run(*space, routine, va, 0x5555);
    return outcome.kind == Outcome::kFault && outcome.cr2 == va.value() &&
           outcome.error_code == error_code;
  }
  bool Writes(VirtAddr va, uint64_t value) {
    return guest.Run(*space, Routine::kWrite, va, value).kind == Outcome::kDone;
  }

  TestGuest guest;
  std::unique_ptr<AddressSpace> space;
};

TEST_CASE_METHOD(Fixture, "rule 1: a new leaf needs no invalidation") {
  CHECK(Faults(Routine::kRead, kPlace, kUser));
  const FrameRun run = MapStamped(kPlace, 1);
  CHECK(Read(kPlace) == run.first.index);
  CHECK(guest.memory().GetStats().invalidations == 0);
}

TEST_CASE_METHOD(Fixture, "rule 2: an unmapped page faults") {
  const FrameRun run = MapStamped(kPlace, 4);
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(Read(Plus(kPlace, i)) == run.first.index + i);
  Unmap(Pages(Plus(kPlace, 1), 2));
  CHECK(Read(kPlace) == run.first.index);
  CHECK(Faults(Routine::kRead, Plus(kPlace, 1), kUser));
  CHECK(Faults(Routine::kWrite, Plus(kPlace, 2), kUser | kWrite));
  CHECK(Read(Plus(kPlace, 3)) == run.first.index + 3);
}

TEST_CASE_METHOD(Fixture, "rule 2: lost rights fault, contents stay") {
  const FrameRun run = MapStamped(kPlace, 1);
  REQUIRE(Writes(kPlace, 77));
  REQUIRE(space->Protect(Pages(kPlace, 1), Prot::R()).ok());
  CHECK(Faults(Routine::kWrite, kPlace, kUser | kWrite | kPresent));
  CHECK(Read(kPlace) == 77);
  REQUIRE(space->Protect(Pages(kPlace, 1), Prot::None()).ok());
  CHECK(Faults(Routine::kRead, kPlace, kUser));
  REQUIRE(space->Protect(Pages(kPlace, 1), Prot::RW()).ok());
  CHECK(Read(kPlace) == 77);
  CHECK(Writes(kPlace, 78));
  CHECK(Word(run.first) == 78);
}

TEST_CASE_METHOD(Fixture, "rule 2: a page that stops being executable") {
  const FrameRun run = MapStamped(kPlace, 1, Prot::RX());
  Word(run.first) = 0xcc;  // int3
  REQUIRE(guest.Run(*space, Routine::kJump, kPlace).kind == Outcome::kDone);
  REQUIRE(space->Protect(Pages(kPlace, 1), Prot::R()).ok());
  CHECK(Faults(Routine::kJump, kPlace, kUser | kPresent | kFetch));
  CHECK(Read(kPlace) == 0xcc);
}

TEST_CASE_METHOD(Fixture, "rule 2: a page that is pointed elsewhere") {
  MapStamped(kPlace, 1);
  REQUIRE(Read(kPlace) != 0);
  const FrameRun other = Stamped(1);
  const Frame old = space->Replace(kPlace, other.first, {.prot = Prot::RW()}).value().value();
  CHECK(Read(kPlace) == other.first.index);
  REQUIRE(Writes(kPlace, 5));
  CHECK(Word(old) == old.index);
  guest.memory().Unref({old, 1});
}

TEST_CASE_METHOD(Fixture, "fork: the parent's writes fault, a copy takes them") {
  const FrameRun run = MapStamped(kPlace, 40);
  REQUIRE(Writes(Plus(kPlace, 7), 1));
  auto child = guest.NewSpace();
  REQUIRE(space->CloneInto(*child, Pages(kPlace, 40), true).ok());
  CHECK(Faults(Routine::kWrite, Plus(kPlace, 7), kUser | kWrite | kPresent));
  const FrameRun copy = Stamped(1);
  const Frame old =
      space->Replace(Plus(kPlace, 7), copy.first, {.prot = Prot::RW()}).value().value();
  guest.memory().Unref({old, 1});
  CHECK(Writes(Plus(kPlace, 7), 2));
  CHECK(guest.Run(*child, Routine::kRead, Plus(kPlace, 7)).rax == 1);
  CHECK(guest.Run(*child, Routine::kRead, Plus(kPlace, 8)).rax == run.first.index + 8);
  guest.Destroy(std::move(child));
}

// A table that was freed and made a table of another space: KVM's shadow of a third space may still
// lead there, and the third would read what is the other's.
TEST_CASE_METHOD(Fixture, "rule 4: tables used again do not join address spaces") {
  std::mt19937 random(7);
  const auto below = [&random](uint64_t n) { return random() % n; };
  struct Space {
    std::unique_ptr<AddressSpace> tables;
    std::map<uint64_t, uint64_t> stamps;  // page number -> what is there
  };
  std::vector<Space> spaces(5);
  std::vector<FrameRun> held;  // so that tables get other frames than before
  for (int round = 0; round < 400; ++round) {
    Space& s = spaces[below(spaces.size())];
    if (s.tables != nullptr) guest.Destroy(std::move(s.tables));
    s.stamps.clear();
    if (held.size() > 20) {
      guest.memory().Unref(held.front());
      held.erase(held.begin());
    }
    held.push_back(guest.memory().Allocate(1 + below(3)).value());
    s.tables = guest.NewSpace();
    for (int i = 0; i < 6; ++i) {
      // Same indices at all levels, in different combinations.
      const VirtAddr va{below(3) << 39 | below(3) << 30 | below(3) << 21 | below(4) << 12 |
                        uint64_t{1} << 33};
      if (s.stamps.contains(va.value())) continue;
      const FrameRun run = Stamped(1);
      REQUIRE(s.tables->Map(va, run, {.prot = Prot::RW()}).ok());
      s.stamps[va.value()] = run.first.index;
    }
    for (Space& other : spaces) {
      for (const auto& [va, stamp] : other.stamps) {
        REQUIRE(guest.Run(*other.tables, Routine::kRead, VirtAddr(va)).rax == stamp);
      }
    }
  }
  for (Space& s : spaces) {
    if (s.tables != nullptr) guest.Destroy(std::move(s.tables));
  }
  for (const FrameRun& run : held) guest.memory().Unref(run);
  // Nested paging remembers no tables: they are used again at once.
  CHECK((guest.memory().GetStats().forgotten > 0) == (GetHostPaging() != HostPaging::kNested));
}

TEST_CASE_METHOD(Fixture, "rule 2 while another thread runs the guest: no write after return") {
  const uint64_t neighbours = GENERATE(1, 33);
  int late_writes = 0;
  double total_us = 0;
  constexpr int kRounds = 150;
  for (int round = 0; round < kRounds; ++round) {
    const FrameRun run = guest.memory().Allocate(neighbours).value();
    guest.memory().Ref(run);  // outlives the mapping
    REQUIRE(space->Map(kPlace, run, {.prot = Prot::RW()}).ok());
    const Frame watched{run.first.index + neighbours / 2};
    Outcome outcome;
    std::thread vcpu(
        [&] { outcome = guest.Run(*space, Routine::kCount, Plus(kPlace, neighbours / 2)); });
    while (Word(watched) == 0) {
    }
    const auto begin = std::chrono::steady_clock::now();
    Unmap(Pages(kPlace, neighbours));
    const uint64_t at_return = Word(watched);
    total_us +=
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
    vcpu.join();
    if (Word(watched) != at_return) ++late_writes;
    REQUIRE(outcome.kind == Outcome::kFault);
    guest.memory().Unref(run);
  }
  CHECK(late_writes == 0);
  WARN("Unmap of " << neighbours << " pages in use by a running vCPU: " << total_us / kRounds
                   << " us");
}

TEST_CASE_METHOD(Fixture, "rules 3 and 4: roots and tables used again do not show the past") {
  for (int round = 0; round < 60; ++round) {
    // Alternate between shapes so that a table frame changes its level from round to round.
    const uint64_t high = 0x7f0000001000 - (static_cast<uint64_t>(round) << 36);
    const VirtAddr at(round % 2 == 0 ? kPlace.value() : high);
    auto other = guest.NewSpace();
    const FrameRun run = Stamped(3);
    REQUIRE(other->Map(at, run, {.prot = Prot::RW()}).ok());
    for (uint64_t i = 0; i < 3; ++i) {
      REQUIRE(guest.Run(*other, Routine::kRead, Plus(at, i)).rax == run.first.index + i);
    }
    REQUIRE(guest.Run(*other, Routine::kRead, Plus(at, 3)).kind == Outcome::kFault);
    guest.Destroy(std::move(other));
  }
}

// KVM's shadow paging write-protects frames it knows as page tables, and emulates or unshadows when
// one is written to.
TEST_CASE_METHOD(Fixture, "rule 4: a table frame that becomes data can be written in every way") {
  constexpr Routine kStores[] = {Routine::kWrite,     Routine::kFill,     Routine::kStoreSse,
                                 Routine::kStoreWide, Routine::kStoreX87, Routine::kPush};
  for (Routine store : kStores) {
    INFO("routine " << static_cast<uint64_t>(store));
    auto other = guest.NewSpace();
    const FrameRun page = Stamped(1);
    REQUIRE(other->Map(VirtAddr(0x7f0000001000), page, {.prot = Prot::RW()}).ok());
    REQUIRE(guest.Run(*other, Routine::kRead, VirtAddr(0x7f0000001000)).kind == Outcome::kDone);
    const Frame root{other->RootPhys() >> kPageShift};
    guest.Destroy(std::move(other));
    const uint64_t forgotten = guest.memory().GetStats().forgotten;
    while (GetHostPaging() != HostPaging::kNested &&
           guest.memory().GetStats().forgotten == forgotten) {
      guest.Destroy(guest.NewSpace());
    }
    // Free frames until the root is among them, the other tables before it.
    constexpr uint64_t kMost = 2 * GuestMemory::kMaxRetiredTables, kUsed = 100;
    uint64_t pages = 0;
    while (pages < kMost && MapStamped(Plus(kPlace, pages++), 1).first != root) {
    }
    CHECK(pages < kMost);
    for (uint64_t i = 0; i < 2 * kUsed; ++i) {
      const VirtAddr va = Plus(kPlace, pages - 1 - i % std::min(kUsed, pages));
      REQUIRE(guest.Run(*space, store, va, 77 + i).kind == Outcome::kDone);
      if (store == Routine::kWrite || store == Routine::kFill) REQUIRE(Read(va) == 77 + i);
    }
    Unmap(Pages(kPlace, pages));
  }
}

TEST_CASE_METHOD(Fixture, "rule 5: a 2 MiB page of which one small page changes") {
  const FrameRun block = MapStamped(kPlace, 512);
  CHECK(space->Lookup(kPlace)->huge == (GetHostPaging() != HostPaging::kShadowWithoutHuge));
  REQUIRE(guest.Run(*space, Routine::kTouchAll, kPlace, 9, 512).kind == Outcome::kDone);
  REQUIRE(space->Protect(Pages(Plus(kPlace, 100), 1), Prot::R()).ok());
  CHECK(Faults(Routine::kWrite, Plus(kPlace, 100), kUser | kWrite | kPresent));
  CHECK(Writes(Plus(kPlace, 99), 10));
  CHECK(Writes(Plus(kPlace, 101), 11));
  Unmap(Pages(Plus(kPlace, 200), 100));
  CHECK(Faults(Routine::kRead, Plus(kPlace, 200), kUser));
  CHECK(Faults(Routine::kRead, Plus(kPlace, 299), kUser));
  CHECK(Read(Plus(kPlace, 199)) == 9);
  CHECK(Read(Plus(kPlace, 300)) == 9);
  CHECK(Word(Frame{block.first.index + 101}) == 11);
  Unmap(Pages(kPlace, 512));
  CHECK(Faults(Routine::kRead, Plus(kPlace, 300), kUser));
  // The same place with a whole page again.
  const FrameRun next = MapStamped(kPlace, 512);
  CHECK(Read(Plus(kPlace, 300)) == next.first.index + 300);
}

// Shadow paging answers a 2 MiB entry over 4 KiB pages of the host (any protection change splits
// the host's large page) by a table of its own that follows the frames. It finds that table again
// for every 2 MiB entry of the same frames, and leaves it linked where the first one was: the first
// place then shows what the second one touches, in whatever space that is.
class BlockFixture : public Fixture {
 public:
  FrameRun MapSplitBlock() {
    const FrameRun block = MapStamped(kPlace, 512);
    for (uint64_t i = 0; i < 512; i += 8) {
      guest.memory().Invalidate({Frame{block.first.index + i}, 1});
    }
    Touch(*space, kPlace);
    return block;
  }
  void Touch(AddressSpace& which, VirtAddr va) {
    REQUIRE(guest.Run(which, Routine::kTouchAll, va, 7, 512).kind == Outcome::kDone);
  }
  // Pages of which the guest does not read its own stamp.
  uint64_t WrongPages(FrameRun block) {
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < block.count; ++i) {
      wrong += Read(Plus(kPlace, i)) != block.first.index + i;
    }
    return wrong;
  }
};

TEST_CASE_METHOD(BlockFixture, "bug: a 2 MiB block used again shows at its former place") {
  const FrameRun block = MapSplitBlock();
  guest.memory().Ref(block);
  Unmap(Pages(kPlace, 512));
  auto other = guest.NewSpace();
  REQUIRE(other->Map(Plus(kPlace, 1024), block, {.prot = Prot::RW()}).ok());
  Touch(*other, Plus(kPlace, 1024));
  CHECK(WrongPages(MapStamped(kPlace, 512)) == 0);
  guest.Destroy(std::move(other));
}

TEST_CASE_METHOD(BlockFixture, "blocks of a space that ended are somebody else's") {
  for (int round = 0; round < 20; ++round) {
    auto other = guest.NewSpace();
    const FrameRun block = Stamped(512);
    REQUIRE(other->Map(kPlace, block, {.prot = Prot::RW()}).ok());
    for (uint64_t i = 0; i < 512; i += 64) {
      guest.memory().Invalidate({Frame{block.first.index + i}, 1});
    }
    Touch(*other, kPlace);
    guest.memory().Ref(block);  // it goes on in another space, as memory of a parent does
    guest.Destroy(std::move(other));
    REQUIRE(space->Map(kPlace, block, {.prot = Prot::RW()}).ok());
    for (uint64_t i = 0; i < 512; ++i) REQUIRE(Read(Plus(kPlace, i)) == 7);
    Unmap(Pages(kPlace, 512));
    CHECK(WrongPages(MapStamped(kPlace, 512)) == 0);
    Unmap(Pages(kPlace, 512));
    CHECK(Faults(Routine::kRead, Plus(kPlace, 300), kUser));
  }
}

TEST_CASE_METHOD(BlockFixture, "bug: a 2 MiB block of a child shows at its parent's former place") {
  const FrameRun block = MapSplitBlock();
  auto child = guest.NewSpace();
  REQUIRE(space->CloneInto(*child, Pages(kPlace, 512), true).ok());
  CHECK(Read(kPlace) == 7);
  Unmap(Pages(kPlace, 512));
  REQUIRE(child->Protect(Pages(kPlace, 512), Prot::R()).ok());
  for (uint64_t i = 0; i < 512; ++i) {
    REQUIRE(guest.Run(*child, Routine::kRead, Plus(kPlace, i)).rax == 7);
  }
  const FrameRun small = MapStamped(kPlace, 100);
  CHECK(small.first != block.first);
  CHECK(WrongPages(small) == 0);
  guest.Destroy(std::move(child));
}

TEST_CASE_METHOD(BlockFixture, "bug: a split 2 MiB block that is mapped whole elsewhere") {
  const FrameRun block = MapSplitBlock();
  const FrameRun other = Stamped(1);
  const Frame old =
      space->Replace(Plus(kPlace, 5), other.first, {.prot = Prot::RW()}).value().value();
  guest.memory().Ref(block);
  REQUIRE(space->Map(Plus(kPlace, 1024), block, {.prot = Prot::RW()}).ok());
  Touch(*space, Plus(kPlace, 1024));
  CHECK(Read(Plus(kPlace, 5)) == other.first.index);
  guest.memory().Unref({old, 1});
}

TEST_CASE_METHOD(Fixture, "file pages: unmapped, and gone with the end of the file") {
  const int fd = memfd_create("file", MFD_CLOEXEC);
  REQUIRE(ftruncate(fd, 4 * kPageSize) == 0);
  const uint64_t value = 0x1122334455667788;
  for (int page = 0; page < 4; ++page) {
    REQUIRE(pwrite(fd, &value, sizeof value, page * kPageSize) == sizeof value);
  }
  const FrameRun chunk = guest.memory().MapFileChunk(fd, 0, false).value();
  guest.memory().Ref({chunk.first, 8});
  REQUIRE(space->Map(kPlace, {chunk.first, 8}, {.prot = Prot::R()}).ok());
  CHECK(Read(kPlace) == value);
  CHECK(Read(Plus(kPlace, 3)) == value);
  CHECK(guest.Run(*space, Routine::kRead, Plus(kPlace, 4)).kind == Outcome::kNoMemory);
  REQUIRE(ftruncate(fd, kPageSize) == 0);
  CHECK(guest.Run(*space, Routine::kRead, Plus(kPlace, 3)).kind == Outcome::kNoMemory);
  CHECK(Read(kPlace) == value);
  Unmap(Pages(kPlace, 1));
  CHECK(Faults(Routine::kRead, kPlace, kUser));
  Unmap(Pages(kPlace, 8));
  guest.memory().Unref(chunk);
  close(fd);
}

TEST_CASE_METHOD(Fixture, "a guest that reads while its pages are invalidated sees no fault") {
  const FrameRun run = MapStamped(kPlace, 64, Prot::R());
  std::atomic<bool> stop{false};
  std::thread other([&] {
    uint64_t n = 0;
    while (!stop) guest.memory().Invalidate({Frame{run.first.index + n++ % 48}, 16});
  });
  int wrong = 0, excused = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    const Outcome outcome = guest.Run(*space, Routine::kReadLoop, Plus(kPlace, i % 64), 0, 100000);
    if (outcome.kind != Outcome::kDone || outcome.rax != run.first.index + i % 64) ++wrong;
    excused += outcome.efaults_excused;
  }
  stop = true;
  other.join();
  CHECK(wrong == 0);
  WARN("EFAULT from KVM_RUN during an invalidation: " << excused << " in 300 runs, "
                                                      << guest.memory().GetStats().invalidations
                                                      << " invalidations");
}

// What the guest must see follows from Lookup; each frame holds its own number.
TEST_CASE_METHOD(Fixture, "random edits: the guest sees what the tables say") {
  std::mt19937 random(20);
  auto below = [&](uint64_t n) { return random() % n; };
  auto page = [&] { return below(3) == 0 ? below(1100) : 480 + below(80); };
  auto unref = [&](FrameRun run) { guest.memory().Unref(run); };
  int wrong = 0;
  for (int step = 0; step < 4000; ++step) {
    const uint64_t at = page();
    const uint64_t count = below(8) == 0 ? 512 : 1 + below(20);
    const Prot prot{below(5) != 0, false, below(2) == 0};
    const VirtAddr va = Plus(kPlace, below(8) == 0 ? at & ~uint64_t{511} : at);
    switch (below(9)) {
      case 0:
      case 1: {
        const FrameRun run = Stamped(count);
        if (!space->Map(va, run, {.prot = prot}).ok()) unref(run);
        break;
      }
      case 2:
        Unmap(Pages(va, count));
        break;
      case 3:
        REQUIRE(space->Protect(Pages(va, count), prot).ok());
        break;
      case 4: {
        const auto old = space->Replace(va, Stamped(1).first, {.prot = prot}).value();
        if (old) unref({*old, 1});
        break;
      }
      case 5: {
        const FrameRun run = Stamped(count);
        if (!space->ReplaceRun(va, run, {.prot = prot}, unref).ok()) unref(run);
        break;
      }
      default:
        break;
    }
    const VirtAddr probe = Plus(kPlace, page());
    const auto leaf = space->Lookup(probe);
    const bool readable = leaf && leaf->prot.read;
    if (Read(probe) != (readable ? leaf->frame.index : 0)) ++wrong;
  }
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace ringfence::platform
