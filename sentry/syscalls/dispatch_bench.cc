// What dispatch and a handler cost, as the task's own thread and as a service thread serves them.
#include <benchmark/benchmark.h>
#include <sys/syscall.h>

#include <cstdlib>

#include "sentry/kernel/testing_guest.h"
#include "sentry/syscalls/dispatcher.h"

namespace ringfence::sentry {
namespace {

// Runs `loop` as a system call of a process, with a dispatcher.
void AsTask(const std::function<void(Task&, TableDispatcher&)>& loop) {
  TestKernel kernel;
  kernel.Run([&](Guest& guest) {
    guest.Call([&](Task& task) -> int64_t {
      TableDispatcher dispatcher{{}};
      loop(task, dispatcher);
      return 0;
    });
  });
}

void Dispatch(benchmark::State& state) {
  AsTask([&](Task& task, TableDispatcher& dispatcher) {
    for (auto _ : state) benchmark::DoNotOptimize(dispatcher.Dispatch(task, {SYS_getppid, {}}));
  });
  state.SetLabel("getppid by the task's thread");
}
BENCHMARK(Dispatch);

void ServeNonBlocking(benchmark::State& state) {
  AsTask([&](Task& task, TableDispatcher& dispatcher) {
    for (auto _ : state) {
      int64_t result = 0;
      if (!dispatcher.ServeNonBlocking(task, {SYS_getppid, {}}, &result)) std::abort();
    }
  });
  state.SetLabel("getppid by a service thread");
}
BENCHMARK(ServeNonBlocking);

void Unknown(benchmark::State& state) {
  AsTask([&](Task& task, TableDispatcher& dispatcher) {
    for (auto _ : state) benchmark::DoNotOptimize(dispatcher.Dispatch(task, {9999, {}}));
  });
  state.SetLabel("a number that no call has");
}
BENCHMARK(Unknown);

}  // namespace
}  // namespace ringfence::sentry

BENCHMARK_MAIN();
