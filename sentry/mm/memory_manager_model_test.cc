// Random map, unmap, protect, remap, discard, fork and writes against a model: one entry per page.
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kBase = 0x100000000, kPages = 2048;  // four 2 MiB blocks

struct Page {
  Prot prot;
  uint64_t value = 0;
};

class Model {
 public:
  explicit Model(MemoryManagerRef mm) : mm_(std::move(mm)) {}
  Model(MemoryManagerRef mm, std::map<uint64_t, Page> pages)
      : mm_(std::move(mm)), pages_(std::move(pages)) {}

  void Map(uint64_t first, uint64_t count, Prot prot) {
    MapRequest request;
    request.addr = At(first);
    request.length = count * kPageSize;
    request.fixed = true;
    request.prot = prot;
    REQUIRE(mm_->Map(request).ok());
    for (uint64_t p = first; p < first + count; ++p) pages_[p] = {prot, 0};
  }
  void Unmap(uint64_t first, uint64_t count) {
    REQUIRE(mm_->Unmap(At(first), count * kPageSize).ok());
    for (uint64_t p = first; p < first + count; ++p) pages_.erase(p);
  }
  void Protect(uint64_t first, uint64_t count, Prot prot) {
    const auto result = mm_->Protect(At(first), count * kPageSize, prot);
    for (uint64_t p = first; p < first + count; ++p) {
      auto it = pages_.find(p);
      if (it == pages_.end()) {
        REQUIRE(result.error() == Errno::kNOMEM);
        return;
      }
      it->second.prot = prot;
    }
    REQUIRE(result.ok());
  }
  void Discard(uint64_t first, uint64_t count) {
    const auto result = mm_->Advise(At(first), count * kPageSize, MADV_DONTNEED);
    bool hole = false;
    for (uint64_t p = first; p < first + count; ++p) {
      auto it = pages_.find(p);
      if (it == pages_.end()) {
        hole = true;
      } else {
        it->second.value = 0;
      }
    }
    REQUIRE(result.ok() == !hole);
  }
  void Move(uint64_t from, uint64_t count, uint64_t to, uint64_t new_count) {
    if (from < to + new_count && to < from + std::max(count, new_count)) return;
    // Only within one VMA; whether it is one is for the answer to say.
    const auto result = mm_->Remap(At(from), count * kPageSize, new_count * kPageSize,
                                   MREMAP_MAYMOVE | MREMAP_FIXED, At(to));
    // As Linux: the target is unmapped and a shrunk tail is gone even when the move then fails.
    if (pages_.count(from) == 0) {
      REQUIRE(result.error() == Errno::kFAULT);
      return;
    }
    for (uint64_t p = to; p < to + new_count; ++p) pages_.erase(p);
    for (uint64_t p = from + new_count; p < from + count; ++p) pages_.erase(p);
    count = std::min(count, new_count);
    if (!result.ok()) {
      REQUIRE(result.error() == Errno::kFAULT);
      return;
    }
    const Prot prot = pages_.at(from).prot;
    for (uint64_t i = 0; i < new_count; ++i) {
      uint64_t value = 0;
      if (i < count) {
        value = pages_.at(from + i).value;
        pages_.erase(from + i);
      }
      pages_[to + i] = {prot, value};
    }
  }
  void Write(uint64_t page, uint64_t value) {
    const FaultResult result = GuestWrite(*mm_, At(page).value() + 16, value);
    auto it = pages_.find(page);
    if (it == pages_.end()) {
      REQUIRE(result == FaultResult::kMapError);
    } else if (!it->second.prot.write) {
      REQUIRE(result == FaultResult::kAccessError);
    } else {
      REQUIRE(result == FaultResult::kHandled);
      it->second.value = value;
    }
  }
  void CopyOut(uint64_t page, uint64_t value) {
    const auto result = mm_->CopyOut(VirtAddr(At(page).value() + 16), &value, 8);
    auto it = pages_.find(page);
    const bool allowed = it != pages_.end() && it->second.prot.write;
    REQUIRE(result.ok() == allowed);
    if (allowed) it->second.value = value;
  }
  void Check(uint64_t page) const {
    uint64_t value = 0;
    const auto result = mm_->CopyIn(&value, VirtAddr(At(page).value() + 16), 8);
    auto it = pages_.find(page);
    const bool readable = it != pages_.end() && it->second.prot.any();
    REQUIRE(result.ok() == readable);
    if (readable) REQUIRE(value == it->second.value);
  }
  void CheckAll() const {
    for (uint64_t p = 0; p < kPages; ++p) Check(p);
    // The VMAs: in order, disjoint, merged, and what the model says.
    uint64_t covered = 0;
    VmaInfo last{};
    mm_->VisitVmas([&](const VmaInfo& vma) {
      REQUIRE(vma.range.start < vma.range.end);
      REQUIRE(vma.range.start >= last.range.end);
      REQUIRE((vma.range.start != last.range.end || vma.prot != last.prot));
      for (uint64_t a = vma.range.start.value(); a < vma.range.end.value(); a += kPageSize) {
        auto it = pages_.find((a - kBase) / kPageSize);
        REQUIRE(it != pages_.end());
        REQUIRE(it->second.prot == vma.prot);
        ++covered;
      }
      last = vma;
    });
    REQUIRE(covered == pages_.size());
    REQUIRE(mm_->GetUsage().virtual_bytes == covered * kPageSize);
  }
  std::unique_ptr<Model> Fork() const {
    auto child = mm_->Fork({.alone = true});
    REQUIRE(child.ok());
    return std::make_unique<Model>(*child, pages_);
  }
  uint64_t CountResident() const {
    uint64_t pages = 0;
    mm_->space().Visit({VirtAddr(0), platform::kUserEnd},
                       [&](VirtAddr, FrameRun run, const platform::Leaf&) {
                         if (!mm_->platform().memory().IsZeroFrame(run.first)) pages += run.count;
                       });
    REQUIRE(mm_->GetUsage().resident_bytes == pages * kPageSize);
    return pages;
  }

 private:
  static VirtAddr At(uint64_t page) { return VirtAddr(kBase + page * kPageSize); }
  MemoryManagerRef mm_;
  std::map<uint64_t, Page> pages_;
};

void RunModel(uint32_t seed, int steps) {
  MemoryPlatform platform;
  const uint64_t before = platform.memory().GetStats().anonymous_bytes;
  {
    std::mt19937 random(seed);
    const auto below = [&random](uint64_t n) { return random() % n; };
    std::vector<std::unique_ptr<Model>> processes;
    processes.push_back(
        std::make_unique<Model>(*MemoryManager::Create(&platform, {.randomize = false})));
    const Prot prots[] = {Prot::None(), Prot::R(), Prot::RW(), Prot::RW(), Prot::RW()};
    for (int step = 0; step < steps; ++step) {
      Model& process = *processes[below(processes.size())];
      // Small and large ranges; large ones are aligned often enough to make 2 MiB leaves.
      uint64_t count = below(3) == 0 ? 512 * (1 + below(2)) : 1 + below(40);
      uint64_t first = below(kPages - count + 1);
      if (count >= 512 && below(2) == 0) first &= ~uint64_t{511};
      switch (below(12)) {
        case 0:
        case 1:
          process.Map(first, count, prots[below(5)]);
          break;
        case 2:
          process.Unmap(first, count);
          break;
        case 3:
          process.Protect(first, count, prots[below(5)]);
          break;
        case 4:
          process.Discard(first, count);
          break;
        case 5: {
          const uint64_t n = 1 + below(40);
          process.Move(first, std::min<uint64_t>(count, 600), below(kPages - n), n);
          break;
        }
        case 6:
          if (processes.size() < 4) {
            processes.push_back(process.Fork());
          } else {
            processes.erase(processes.begin() + below(processes.size()));
          }
          break;
        default:
          for (int i = 0; i < 8; ++i) {
            const uint64_t page = below(kPages);
            if (below(2) == 0) {
              process.Write(page, random());
            } else {
              process.CopyOut(page, random());
            }
            process.Check(below(kPages));
          }
      }
      if (step % 50 == 49) {
        for (auto& p : processes) p->CheckAll();
      }
    }
    for (auto& p : processes) {
      p->CheckAll();
      p->CountResident();
    }
  }
  REQUIRE(platform.memory().GetStats().anonymous_bytes == before);
}

TEST_CASE("an address space does what a table of pages does") {
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    INFO("seed " << seed);
    RunModel(seed, 400);
  }
}

}  // namespace
}  // namespace ringfence::sentry
