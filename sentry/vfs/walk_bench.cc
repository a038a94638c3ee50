// What a walk along a path costs when every step is in the dentry cache, by number of steps.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "sentry/vfs/mount.h"
#include "sentry/vfs/testing.h"

namespace ringfence::sentry {
namespace {

void Walk(benchmark::State& state) {
  const auto top = std::make_shared<FakeFs>();
  FakeInode* at = top->top.get();
  std::string path;
  for (int64_t i = 0; i < state.range(0); i++) {
    at = at->Add("directory").get();
    path += "/directory";
  }
  const auto ns = MountNamespace::Create(top, "top");
  FsContext context(ns->root(), ns->root(), 022);
  PathBase base;
  base.fs = &context;
  CallContext ctx;
  ctx.creds = std::make_shared<Credentials>();
  for (auto _ : state) {
    const auto found = Vfs::Resolve(ctx, base, path);
    if (!found.ok()) std::abort();
  }
  state.SetLabel("steps of a path");
}
BENCHMARK(Walk)->Arg(1)->Arg(4)->Arg(16);

}  // namespace
}  // namespace ringfence::sentry

BENCHMARK_MAIN();
