// AddressSpace against a model: a plain map from page number to what is mapped there. Random calls
// with a fixed seed; RINGFENCE_SEED in the environment chooses another.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>

#include "platform/mem/address_space.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::platform {
namespace {

struct Page {
  uint64_t frame;
  Prot prot;
  bool cow, shared;
  friend bool operator==(const Page&, const Page&) = default;
};
using Model = std::map<uint64_t, Page>;

class NoSlots : public SlotSink {
 public:
  Result<void> AddSlot(uint64_t, uint64_t, std::byte*, bool) override { return Ok(); }
};

// As the page table stores it: no write or execute without read.
Prot Stored(Prot prot) { return {prot.any(), prot.write, prot.exec}; }

class Checker {
 public:
  explicit Checker(uint32_t seed) : random_(seed) {
    memory_ = GuestMemory::Create({.max_anonymous_bytes = uint64_t{1} << 30}, &sink_).value();
    space_ = AddressSpace::Create(memory_.get()).value();
  }

  void Step() {
    switch (Below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return Map();
      case 5:
      case 6:
      case 7:
        return Unmap();
      case 8:
      case 9:
      case 10:
      case 11:
        return Protect();
      case 12:
      case 13:
        return Replace();
      case 14:
      case 15:
        return ReplaceRun();
      case 16:
        return MakePrivate();
      case 17:
        return Clone();
      default:
        return Look();
    }
  }

  void Finish() {
    CompareAll(*space_, model_);
    UnmapRange(*space_, {VirtAddr(0), kUserEnd}, &model_);
    CHECK(space_->TableBytes() == kPageSize);
    space_.reset();
    CHECK(memory_->GetStats().anonymous_bytes == 0);
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }

  // Few places, close to table boundaries, so that calls meet.
  uint64_t RandomPage() {
    static constexpr uint64_t kPlaces[] = {0, 0x3fe00, 0x40000, 0x7fffe00, 0x7fffff800};
    const uint64_t offset = Below(4) == 0 ? 512 * Below(4) : Below(2048);
    return std::min(kPlaces[Below(5)] + offset, (kUserEnd.value() >> kPageShift) - 1);
  }
  uint64_t RandomCount() {
    switch (Below(4)) {
      case 0:
        return 1;
      case 1:
        return 1 + Below(40);
      case 2:
        return 512;
      default:
        return 1 + Below(1300);
    }
  }
  VirtRange RandomRange() {
    const uint64_t first = RandomPage();
    const uint64_t end = std::min(first + RandomCount(), kUserEnd.value() >> kPageShift);
    return {VirtAddr(first << kPageShift), VirtAddr(end << kPageShift)};
  }
  Prot RandomProt() { return {Below(4) != 0, Below(2) == 0, Below(3) == 0}; }
  AddressSpace::MapOptions RandomOptions() {
    AddressSpace::MapOptions options{.prot = RandomProt()};
    options.soft_cow = Below(3) == 0;
    options.soft_shared = !options.soft_cow && Below(2) == 0;
    if (options.soft_cow) options.prot.write = false;
    return options;
  }
  Page PageFor(uint64_t frame, const AddressSpace::MapOptions& options) {
    return {frame, Stored(options.prot), options.soft_cow, options.soft_shared};
  }
  static uint64_t First(VirtRange range) { return range.start.value() >> kPageShift; }
  static uint64_t End(VirtRange range) { return range.end.value() >> kPageShift; }

  void Map() {
    auto run = memory_->Allocate(std::min<uint64_t>(RandomCount(), 512));
    if (!run.ok()) return;
    uint64_t page = RandomPage();
    if (run->count == 512 && Below(4) != 0) page &= ~uint64_t{511};
    if ((page + run->count) << kPageShift > kUserEnd.value()) return memory_->Unref(*run);
    const auto options = RandomOptions();
    const auto next = model_.lower_bound(page);
    const bool taken = next != model_.end() && next->first < page + run->count;
    auto result = space_->Map(VirtAddr(page << kPageShift), *run, options);
    REQUIRE(result.ok() == !taken);
    if (taken) {
      CHECK(result.error() == Errno::kEXIST);
      return memory_->Unref(*run);
    }
    for (uint64_t i = 0; i < run->count; ++i) {
      model_[page + i] = PageFor(run->first.index + i, options);
    }
  }

  void UnmapRange(AddressSpace& space, VirtRange range, Model* model) {
    std::vector<uint64_t> expected, dropped;
    auto it = model->lower_bound(First(range));
    while (it != model->end() && it->first < End(range)) {
      expected.push_back(it->second.frame);
      it = model->erase(it);
    }
    REQUIRE(space
                .Unmap(range,
                       [&](FrameRun run) {
                         for (uint64_t i = 0; i < run.count; ++i) {
                           dropped.push_back(run.first.index + i);
                         }
                         memory_->Unref(run);
                       })
                .ok());
    REQUIRE(dropped == expected);
  }
  void Unmap() { UnmapRange(*space_, RandomRange(), &model_); }

  template <typename Fn>
  void ForPages(VirtRange range, Fn fn) {
    for (auto it = model_.lower_bound(First(range)); it != model_.end() && it->first < End(range);
         ++it) {
      fn(it->second);
    }
  }

  void Protect() {
    const VirtRange range = RandomRange();
    const Prot prot = RandomProt();
    REQUIRE(space_->Protect(range, prot).ok());
    ForPages(range, [&](Page& page) {
      page.prot = Stored(prot);
      if (page.cow) page.prot.write = false;
    });
  }

  void MakePrivate() {
    const VirtRange range = RandomRange();
    REQUIRE(space_->MakePrivate(range, {true, true, true}).ok());
    ForPages(range, [&](Page& page) {
      page.prot = {true, true, true};
      page.cow = false;
    });
  }

  void Replace() {
    const uint64_t page = RandomPage();
    const FrameRun run = memory_->Allocate(1).value();
    const auto options = RandomOptions();
    auto old = space_->Replace(VirtAddr(page << kPageShift), run.first, options).value();
    const auto it = model_.find(page);
    REQUIRE(old.has_value() == (it != model_.end()));
    if (old) {
      CHECK(old->index == it->second.frame);
      memory_->Unref({*old, 1});
    }
    model_[page] = PageFor(run.first.index, options);
  }

  void ReplaceRun() {
    const uint64_t page = RandomPage();
    auto run = memory_->Allocate(std::min<uint64_t>(RandomCount(), 512));
    if (!run.ok()) return;
    if ((page + run->count) << kPageShift > kUserEnd.value()) return memory_->Unref(*run);
    uint64_t present = 0;
    std::vector<uint64_t> expected, dropped;
    for (uint64_t i = 0; i < run->count; ++i) {
      const auto it = model_.find(page + i);
      if (it == model_.end()) continue;
      ++present;
      expected.push_back(it->second.frame);
    }
    const auto options = RandomOptions();
    auto result = space_->ReplaceRun(VirtAddr(page << kPageShift), *run, options, [&](FrameRun r) {
      for (uint64_t i = 0; i < r.count; ++i) dropped.push_back(r.first.index + i);
      memory_->Unref(r);
    });
    REQUIRE(result.ok() == (present == run->count));
    if (!result.ok()) return memory_->Unref(*run);
    REQUIRE(dropped == expected);
    for (uint64_t i = 0; i < run->count; ++i) {
      model_[page + i] = PageFor(run->first.index + i, options);
    }
  }

  void Clone() {
    auto child = AddressSpace::Create(memory_.get()).value();
    const VirtRange range = Below(2) == 0 ? VirtRange{VirtAddr(0), kUserEnd} : RandomRange();
    const bool cow = Below(2) == 0;
    REQUIRE(space_->CloneInto(*child, range, cow).ok());
    Model copy;
    for (auto it = model_.lower_bound(First(range)); it != model_.end() && it->first < End(range);
         ++it) {
      if (cow) {
        it->second.prot.write = false;
        it->second.cow = true;
      }
      copy[it->first] = it->second;
      REQUIRE(memory_->RefCount(Frame{it->second.frame}) == 2);
    }
    CompareAll(*child, copy);
    UnmapRange(*child, {VirtAddr(0), kUserEnd}, &copy);
  }

  void Look() {
    const uint64_t page = RandomPage();
    const auto leaf = space_->Lookup(VirtAddr((page << kPageShift) + 123));
    const auto it = model_.find(page);
    REQUIRE(leaf.has_value() == (it != model_.end()));
    if (!leaf) return;
    CHECK(Page{leaf->frame.index, leaf->prot, leaf->soft_cow, leaf->soft_shared} == it->second);
  }

  void CompareAll(const AddressSpace& space, const Model& model) {
    Model seen;
    uint64_t last_end = 0;
    space.Visit({VirtAddr(0), kUserEnd}, [&](VirtAddr va, FrameRun run, const Leaf& leaf) {
      const uint64_t first = va.value() >> kPageShift;
      REQUIRE(first >= last_end);
      last_end = first + run.count;
      for (uint64_t i = 0; i < run.count; ++i) {
        seen[first + i] = {run.first.index + i, leaf.prot, leaf.soft_cow, leaf.soft_shared};
      }
    });
    REQUIRE(seen == model);
  }

  std::mt19937 random_;
  NoSlots sink_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<AddressSpace> space_;
  Model model_;
};

TEST_CASE("random edits agree with the model") {
  const char* seed = std::getenv("RINGFENCE_SEED");
  for (uint32_t round = 0; round < 8; ++round) {
    const uint32_t value = (seed != nullptr ? std::atoi(seed) : 1) + round;
    INFO("seed " << value);
    Checker checker(value);
    for (int step = 0; step < 1500; ++step) checker.Step();
    checker.Finish();
  }
}

}  // namespace
}  // namespace ringfence::platform
