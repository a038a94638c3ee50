#include "sentry/boot/process_source.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>

#include "sentry/fs/testing/fixture.h"
#include "sentry/kernel/testing_guest.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMemory = uint64_t{256} << 20;
constexpr uint32_t kCpus = 3;

ProcessSource SourceOf(TestKernel& test) { return ProcessSource(&test.kernel(), kMemory, kCpus); }

TEST_CASE("processes and threads of a running kernel") {
  TestKernel test;
  const ProcessSource source = SourceOf(test);
  test.Run([&](Guest& g) {
    const int64_t child = g.Fork([](Guest& c) { c.Sleep(10'000'000'000); });
    const int64_t thread = g.Thread([](Guest& c) { c.Sleep(10'000'000'000); });
    CHECK(source.Processes() == std::vector<int32_t>{1, static_cast<int32_t>(child)});
    CHECK(source.Threads(1) == std::vector<int32_t>{1, static_cast<int32_t>(thread)});
    CHECK(source.Threads(static_cast<int32_t>(child)).size() == 1);
    CHECK(source.Threads(static_cast<int32_t>(thread)).empty());
    CHECK(source.Threads(999).empty());

    const auto snapshot = source.Find(static_cast<int32_t>(thread));
    REQUIRE(snapshot.has_value());
    CHECK(snapshot->tid == thread);
    CHECK(snapshot->tgid == 1);
    CHECK(snapshot->threads == 2);
    CHECK(source.Find(static_cast<int32_t>(child))->ppid == 1);
    CHECK_FALSE(source.Find(999).has_value());
    CHECK(source.System().tasks == 3);
    CHECK(source.System().last_pid == child);
    g.ExitGroup(0);
  });
}

TEST_CASE("what a task is doing and what it has open") {
  TestKernel test;
  const ProcessSource source = SourceOf(test);
  test.Run([&](Guest& g) {
    const int64_t child = g.Fork([](Guest& c) { c.Sleep(10'000'000'000); });
    const auto state = [&] { return source.Find(static_cast<int32_t>(child))->state; };
    while (state() != 'S') g.Sleep(1'000'000);
    const auto snapshot = source.Find(static_cast<int32_t>(child));
    REQUIRE(snapshot.has_value());
    CHECK(snapshot->comm == "test");
    CHECK(snapshot->mm != nullptr);
    CHECK(snapshot->creds != nullptr);
    CHECK(snapshot->start_ns >= 0);
    CHECK(snapshot->start_ns <= source.System().uptime_ns);
    g.Kill(static_cast<int32_t>(child), SigNo::kStop);
    while (state() != 'T') g.Sleep(1'000'000);
    g.Kill(static_cast<int32_t>(child), SigNo::kKill);
    // A zombie until somebody waits: a name and numbers, nothing it had open.
    while (state() != 'Z') g.Sleep(1'000'000);
    const auto zombie = source.Find(static_cast<int32_t>(child));
    CHECK(zombie->comm == "test");
    CHECK(zombie->mm == nullptr);
    CHECK(zombie->fds == nullptr);
    CHECK(source.Processes().size() == 2);
    g.Wait(static_cast<int32_t>(child), nullptr);
    CHECK_FALSE(source.Find(static_cast<int32_t>(child)).has_value());
  });
}

TEST_CASE("a leader that has ended still stands for its threads") {
  TestKernel test;
  const ProcessSource source = SourceOf(test);
  test.Run([&](Guest& g) {
    const int64_t child = g.Fork([](Guest& c) {
      c.Thread([](Guest& second) { second.Sleep(10'000'000'000); });
      c.Exit(0);
    });
    const int32_t tgid = static_cast<int32_t>(child);
    while (source.Find(tgid)->state != 'Z') g.Sleep(1'000'000);
    const std::vector<int32_t> threads = source.Threads(tgid);
    REQUIRE(threads.size() == 2);
    CHECK(threads[0] == tgid);
    CHECK(source.Find(threads[1])->state != 'Z');
    g.Kill(tgid, SigNo::kKill);
    g.Wait(tgid, nullptr);
  });
}

TEST_CASE("signals that are blocked, pending and caught") {
  TestKernel test;
  const ProcessSource source = SourceOf(test);
  test.Run([&](Guest& g) {
    const auto bit = [](SigNo sig) { return uint64_t{1} << (static_cast<int>(sig) - 1); };
    g.Handle(SigNo::kUsr1, [](int) {});
    SigAction ignore;
    ignore.handler = 1;  // SIG_IGN
    g.SetAction(SigNo::kUsr2, ignore);
    const auto snapshot = source.Find(1);
    CHECK(snapshot->caught == bit(SigNo::kUsr1));
    CHECK(snapshot->ignored == bit(SigNo::kUsr2));
    CHECK(snapshot->pending == 0);
    CHECK(snapshot->blocked == 0);
    g.Call([&](Task& task) -> int64_t {
      SigSet set{bit(SigNo::kTerm)};
      task.SetSignalMask(set);
      return 0;
    });
    g.Kill(1, SigNo::kTerm);
    CHECK(source.Find(1)->blocked == bit(SigNo::kTerm));
    CHECK(source.Find(1)->group_pending == bit(SigNo::kTerm));
  });
}

TEST_CASE("what the system reports") {
  Kernel::Options options;
  options.hostname = "box";
  TestKernel test(options);
  const ProcessSource source = SourceOf(test);
  test.Run([&](Guest& g) {
    const uint64_t before = source.System().forks;
    g.Fork([](Guest& c) { c.ExitGroup(0); });
    g.Wait(-1, nullptr);
    const SystemSnapshot system = source.System();
    CHECK(system.hostname == "box");
    CHECK(system.memory_bytes == kMemory);
    CHECK(system.memory_free_bytes <= kMemory);
    CHECK(system.cpus == kCpus);
    CHECK(system.forks == before + 1);
    CHECK(system.uptime_ns > 0);
    CHECK(system.boot_realtime_sec > 1'600'000'000);
  });
}

TEST_CASE("mounts are those of the namespace, none before there is one") {
  TestKernel test;
  ProcessSource source = SourceOf(test);
  TreeFixture tree;
  CHECK(source.Mounts(*tree.context).empty());
  source.SetMounts(tree.ns);
  const auto mounts = source.Mounts(*tree.context);
  REQUIRE(mounts.size() == 1);
  CHECK(mounts[0].path == "/");
  CHECK(mounts[0].type == "tmpfs");
}

}  // namespace
}  // namespace ringfence::sentry
