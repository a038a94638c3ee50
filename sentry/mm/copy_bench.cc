// What copies between the sentry and guest memory cost, by bytes, and a fault the sentry serves.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <vector>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kLength = uint64_t{1} << 20;

// A process with 1 MiB that can be written to.
struct Process {
  explicit Process(bool populate) {
    auto made = MemoryManager::Create(&platform, {.randomize = false});
    if (!made.ok()) std::abort();
    mm = *made;
    MapRequest request;
    request.length = kLength;
    request.prot = Prot::RW();
    const auto mapped = mm->Map(request);
    if (!mapped.ok()) std::abort();
    start = *mapped;
    for (uint64_t at = 0; populate && at < kLength; at += kPageSize) {
      GuestWrite(*mm, start.value() + at, 1);
    }
  }
  MemoryPlatform platform;
  MemoryManagerRef mm;
  VirtAddr start{0};
};

void CopyOut(benchmark::State& state) {
  Process process(true);
  std::vector<std::byte> buffer(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    if (!process.mm->CopyOut(process.start, buffer.data(), buffer.size()).ok()) std::abort();
  }
  state.SetLabel("bytes to the guest");
}
BENCHMARK(CopyOut)->Arg(8)->Arg(144)->Arg(4096)->Arg(65536);

void CopyIn(benchmark::State& state) {
  Process process(true);
  std::vector<std::byte> buffer(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    if (!process.mm->CopyIn(buffer.data(), process.start, buffer.size()).ok()) std::abort();
  }
  state.SetLabel("bytes from the guest");
}
BENCHMARK(CopyIn)->Arg(8)->Arg(144)->Arg(4096)->Arg(65536);

void FirstTouch(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    Process process(false);
    state.ResumeTiming();
    GuestWrite(*process.mm, process.start.value(), 1);
  }
  state.SetLabel("first write to a mapping of 1 MiB");
}
BENCHMARK(FirstTouch);

}  // namespace
}  // namespace ringfence::sentry

BENCHMARK_MAIN();
