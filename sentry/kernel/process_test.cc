#include <atomic>
#include <catch2/catch.hpp>

#include "sentry/kernel/testing_guest.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t Neg(Errno e) { return -static_cast<int>(e); }

TEST_CASE("Init's exit status is handed out and no thread stays") {
  TestKernel test;
  CHECK(test.Run([](Guest& g) { g.ExitGroup(42); }) == ExitedStatus(42));
  CHECK(KernelTester::LiveThreads(test.kernel()) == 0);
}

TEST_CASE("fork, exit, wait") {
  TestKernel test;
  test.Run([&](Guest& g) {
    const int64_t pid = g.Fork([](Guest& child) {
      const int64_t parent = child.Call([](Task& task) -> int64_t { return task.group().ppid(); });
      child.ExitGroup(parent == 1 ? 7 : 8);
    });
    CHECK(pid == 2);
    int32_t status = 0;
    CHECK(g.Wait(static_cast<int32_t>(pid), &status) == pid);
    CHECK(status == ExitedStatus(7));
    CHECK(g.Wait(-1, &status) == Neg(Errno::kCHILD));
  });
  CHECK(test.kernel().NumTasks() == 1);
}

TEST_CASE("WNOHANG, WNOWAIT and waiting for one of several") {
  TestKernel test;
  test.Run([&](Guest& g) {
    const int64_t sleeper = g.Fork([](Guest& child) { child.Sleep(50'000'000); });
    int32_t status = 0;
    CHECK(g.Wait(-1, &status, true) == 0);
    const int64_t quick = g.Fork([](Guest& child) { child.ExitGroup(3); });
    CHECK(g.Call([](Task& task) -> int64_t {
      WaitRequest request;
      request.no_reap = true;
      return WaitForChild(task, task.call_context(), request)->pid;
    }) == quick);
    CHECK(g.Wait(-1, &status) == quick);
    CHECK(g.Wait(static_cast<int32_t>(quick), &status) == Neg(Errno::kCHILD));
    CHECK(g.Wait(-1, &status) == sleeper);
  });
}

TEST_CASE("A fork has its own memory; CLONE_VM shares it") {
  TestKernel test;
  const auto store = [](Guest& g, uint32_t value) {
    g.Call([value](Task& task) -> int64_t {
      return AsRax(task.mm().CopyOut(VirtAddr(kGuestData), &value, sizeof(value)));
    });
  };
  const auto load = [](Guest& g) {
    return g.Call(
        [](Task& task) -> int64_t { return AsRax(task.mm().AtomicLoad32(VirtAddr(kGuestData))); });
  };
  test.Run([&](Guest& g) {
    store(g, 1);
    g.Fork([&](Guest& child) { store(child, 2); });
    g.Wait(-1, nullptr);
    CHECK(load(g) == 1);
    CloneArgs args;
    args.flags = kCloneVm | kCloneVfork;
    std::atomic<bool> done{false};
    g.Clone(args, [&](Guest& child) {
      child.Sleep(20'000'000);
      store(child, 3);
      done = true;
    });
    CHECK(done);
    CHECK(load(g) == 3);
    g.Wait(-1, nullptr);
  });
}

TEST_CASE("clone refuses what Linux refuses") {
  TestKernel test;
  test.Run([](Guest& g) {
    for (const uint64_t flags :
         {kCloneThread, kCloneSighand, kCloneThread | kCloneVm, kCloneNewNs | kCloneFs,
          kCloneVm | kCloneSighand | kCloneClearSighand, uint64_t{kCloneParent}}) {
      CloneArgs args;
      args.flags = flags;
      CHECK(g.Clone(args, [](Guest&) {}) == Neg(Errno::kINVAL));
    }
  });
}

TEST_CASE("exit_group ends threads that block, spin and stop") {
  TestKernel test;
  const int32_t status = test.Run([](Guest& g) {
    g.Thread([](Guest& t) { t.Sleep(int64_t{1000} * kNanosPerSecond); });
    g.Thread([](Guest& t) { t.Spin(); });
    g.Thread([](Guest& t) { t.Exit(1); });
    g.Thread([](Guest& t) {
      t.Wait(-1, nullptr);
      t.Exit(0);
    });
    g.Sleep(5'000'000);
    g.ExitGroup(9);
  });
  CHECK(status == ExitedStatus(9));
  CHECK(KernelTester::LiveThreads(test.kernel()) == 0);
}

TEST_CASE("The leader may end first; the status of the last thread counts (since Linux 6.0)") {
  TestKernel test;
  test.Run([](Guest& g) {
    const int64_t pid = g.Fork([](Guest& child) {
      child.Thread([](Guest& t) {
        t.Sleep(30'000'000);
        t.Exit(1);
      });
      child.Exit(5);
    });
    int32_t status = 0;
    const int64_t start = MonotonicNow();
    CHECK(g.Wait(static_cast<int32_t>(pid), &status) == pid);
    CHECK(MonotonicNow() - start > 20'000'000);
    CHECK(status == ExitedStatus(1));
  });
}

TEST_CASE("Orphans go to init, or to a subreaper") {
  TestKernel test;
  test.Run([](Guest& g) {
    g.Fork([](Guest& child) {
      child.Fork([](Guest& grandchild) {
        while (grandchild.Call([](Task& t) -> int64_t { return t.group().ppid(); }) != 1) {
          grandchild.Sleep(1'000'000);
        }
        grandchild.ExitGroup(4);
      });
    });
    int32_t status = 0;
    CHECK(g.Wait(2, &status) == 2);
    CHECK(g.Wait(3, &status) == 3);
    CHECK(status == ExitedStatus(4));
    const int64_t reaper = g.Fork([](Guest& child) {
      child.Call([](Task& t) -> int64_t { return t.group().child_subreaper = true; });
      child.Fork([](Guest& middle) { middle.Fork([](Guest& leaf) { leaf.Sleep(10'000'000); }); });
      int reaped = 0;
      while (child.Wait(-1, nullptr) > 0) ++reaped;
      child.ExitGroup(reaped);
    });
    CHECK(g.Wait(static_cast<int32_t>(reaper), &status) == reaper);
    CHECK(status == ExitedStatus(2));
  });
}

TEST_CASE("User code always knows its place in the tree") {
  constexpr uint64_t kGetpid = 39, kGetppid = 110, kGetpgrp = 111, kGettid = 186;
  TestKernel test;
  test.Run([](Guest& g) {
    const auto set_pgid = [](Guest& caller, int32_t pid, int32_t pgid) {
      return caller.Call([=](Task& t) -> int64_t { return AsRax(SetPgid(t, pid, pgid)); });
    };
    CHECK(g.Answer(kGetppid) == 0);
    const int64_t child_pid = g.Fork([&](Guest& child) {
      CHECK(child.Answer(kGetpid) == 2);
      CHECK(child.Answer(kGettid) == 2);
      CHECK(child.Answer(kGetppid) == 1);
      CHECK(child.Answer(kGetpgrp) == 1);
      child.Fork([&](Guest& grandchild) {
        CHECK(grandchild.Answer(kGetppid) == 2);
        while (grandchild.Answer(kGetpgrp) != 3u) grandchild.Sleep(1'000'000);
        Guest* sibling = nullptr;
        std::atomic<bool> told{false};
        grandchild.Thread([&](Guest& thread) {
          CHECK(thread.Answer(kGettid) == 4);
          CHECK(thread.Answer(kGetpid) == 3);
          CHECK(thread.Answer(kGetpgrp) == 3);
          sibling = &thread;
          told = true;
          while (true) thread.Sleep(kNanosPerSecond);
        });
        while (!told || grandchild.Answer(kGetppid) != 1) grandchild.Sleep(1'000'000);
        CHECK(sibling->Answer(kGetppid) == 1);
        CHECK(grandchild.Call([](Task& t) { return AsRax(t.group().SetSid()); }) ==
              Neg(Errno::kPERM));
        grandchild.ExitGroup(5);
      });
      CHECK(set_pgid(child, 3, 3) == 0);
      child.ExitGroup(0);
    });
    int32_t status = 0;
    CHECK(g.Wait(static_cast<int32_t>(child_pid), &status) == child_pid);
    CHECK(g.Wait(3, &status) == 3);
    CHECK(status == ExitedStatus(5));
  });
}

TEST_CASE("SIGCHLD ignored: children go away by themselves") {
  TestKernel test;
  test.Run([](Guest& g) {
    g.SetAction(SigNo::kChld, {kSigIgn, 0, 0, {}});
    g.Fork([](Guest& child) { child.Sleep(5'000'000); });
    g.Fork([](Guest&) {});
    CHECK(g.Wait(-1, nullptr) == Neg(Errno::kCHILD));
  });
  CHECK(test.kernel().NumTasks() == 1);
}

TEST_CASE("When init ends everything ends") {
  TestKernel test;
  test.Run([](Guest& g) {
    g.Fork([](Guest& child) {
      child.Fork([](Guest& c) { c.Spin(); });
      child.Wait(-1, nullptr);
    });
    g.Sleep(5'000'000);
  });
  CHECK(KernelTester::LiveThreads(test.kernel()) == 0);
}

TEST_CASE("The number of tasks is bounded") {
  Kernel::Options options;
  options.max_tasks = 3;
  TestKernel test(std::move(options));
  test.Run([](Guest& g) {
    g.Fork([](Guest& c) { c.Sleep(20'000'000); });
    g.Fork([](Guest& c) { c.Sleep(20'000'000); });
    CHECK(g.Fork([](Guest&) {}) == Neg(Errno::kAGAIN));
    while (g.Wait(-1, nullptr) > 0) {
    }
    // The host threads of the dead may take a moment.
    int64_t pid = 0;
    do {
      pid = g.Fork([](Guest&) {});
    } while (pid == Neg(Errno::kAGAIN));
    CHECK(pid > 0);
  });
}

TEST_CASE("__WCLONE and thread group usage") {
  TestKernel test;
  test.Run([](Guest& g) {
    CloneArgs args;
    args.exit_signal = SigNo::kUsr1;
    g.SetAction(SigNo::kUsr1, {kSigIgn, 0, 0, {}});
    const int64_t pid = g.Clone(args, [](Guest&) {});
    CHECK(g.Wait(-1, nullptr) == Neg(Errno::kCHILD));
    CHECK(g.Call([](Task& task) -> int64_t {
      WaitRequest request;
      request.clone = WaitRequest::Clone::kCloneOnly;
      return WaitForChild(task, task.call_context(), request)->pid;
    }) == pid);
  });
}

TEST_CASE("Many tasks come and go") {
  TestKernel test;
  test.Run([](Guest& g) {
    int reaped = 0;
    for (int i = 0; i < 40; ++i) {
      g.Fork([i](Guest& child) {
        if (i % 2 == 0) child.Thread([](Guest& t) { t.Exit(0); });
        child.ExitGroup(i);
      });
      if (i % 4 == 3) reaped += g.Wait(-1, nullptr) > 0;
    }
    while (g.Wait(-1, nullptr) > 0) ++reaped;
    CHECK(reaped == 40);
  });
}

}  // namespace
}  // namespace ringfence::sentry
