// What guest page tables cost: map, protect and unmap of ranges, look-up of an address.
// The argument is pages of 4 KiB, or 512 of them in one entry of 2 MiB where it is a multiple.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "platform/mem/address_space.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::platform {
namespace {

constexpr VirtAddr kStart(uint64_t{1} << 32);
constexpr AddressSpace::MapOptions kReadWrite{.prot = Prot::RW()};

class NoSlots : public SlotSink {
 public:
  Result<void> AddSlot(uint64_t, uint64_t, std::byte*, bool) override { return Ok(); }
};

// A space with a run of frames that can be mapped at kStart.
class Table {
 public:
  explicit Table(uint64_t pages)
      : memory_(GuestMemory::Create({.max_anonymous_bytes = uint64_t{256} << 20}, &sink_).value()),
        space_(AddressSpace::Create(memory_.get()).value()),
        run_(memory_->Allocate(pages).value()),
        range_{kStart, VirtAddr(kStart.value() + pages * kPageSize)} {}
  ~Table() { memory_->Unref(run_); }

  AddressSpace& space() { return *space_; }
  VirtRange range() const { return range_; }
  void Map() {
    if (!space_->Map(kStart, run_, kReadWrite).ok()) std::abort();
  }
  void Unmap() {
    if (!space_->Unmap(range_, [](FrameRun) {}).ok()) std::abort();
  }

 private:
  NoSlots sink_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<AddressSpace> space_;
  FrameRun run_;
  VirtRange range_;
};

void MapUnmap(benchmark::State& state) {
  Table table(static_cast<uint64_t>(state.range(0)));
  for (auto _ : state) {
    table.Map();
    table.Unmap();
  }
  state.SetLabel("map and unmap, pages");
}
BENCHMARK(MapUnmap)->Arg(1)->Arg(16)->Arg(512);

void Protect(benchmark::State& state) {
  Table table(static_cast<uint64_t>(state.range(0)));
  table.Map();
  for (auto _ : state) {
    if (!table.space().Protect(table.range(), Prot::R()).ok()) std::abort();
    if (!table.space().Protect(table.range(), Prot::RW()).ok()) std::abort();
  }
  table.Unmap();
  state.SetLabel("to read-only and back, pages");
}
BENCHMARK(Protect)->Arg(1)->Arg(16)->Arg(512);

void Lookup(benchmark::State& state) {
  Table table(512);
  table.Map();
  uint64_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.space().Lookup(VirtAddr(kStart.value() + at)));
    at = (at + 37 * kPageSize) % (512 * kPageSize);
  }
  table.Unmap();
  state.SetLabel("look up an address");
}
BENCHMARK(Lookup);

}  // namespace
}  // namespace ringfence::platform

BENCHMARK_MAIN();
