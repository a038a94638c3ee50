#include <atomic>
#include <catch2/catch.hpp>
#include <vector>

#include "sentry/kernel/testing_guest.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t Neg(Errno e) { return -static_cast<int>(e); }

int64_t SetMask(Guest& g, SigSet mask) {
  return g.Call([mask](Task& t) -> int64_t {
    t.SetSignalMask(mask);
    return 0;
  });
}

// A call that waits for nothing and asks to be restarted in the given way.
int64_t BlockAnd(Guest& g, Errno how) {
  return g.Call(
      [how](Task& t) -> int64_t { return t.Block(Deadline::Never()).ok() ? 0 : Neg(how); });
}

TEST_CASE("A handler runs for a signal to itself before the call returns") {
  TestKernel test;
  test.Run([](Guest& g) {
    int got = 0;
    g.Handle(SigNo::kUsr1, [&](int sig) { got = sig; });
    CHECK(g.Kill(1, SigNo::kUsr1) == 0);
    CHECK(got == 10);
  });
}

TEST_CASE("Handlers run for spinning and for blocked tasks") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int> handled{0};
    g.Handle(SigNo::kUsr1, [&](int) { ++handled; });
    const int64_t child = g.Fork([](Guest& c) {
      c.Sleep(10'000'000);
      c.Kill(1, SigNo::kUsr1);
      c.Sleep(10'000'000);
      c.Kill(1, SigNo::kUsr1);
    });
    g.Spin();
    CHECK(handled == 1);
    CHECK(g.Sleep(int64_t{100} * kNanosPerSecond) == Neg(Errno::kINTR));
    CHECK(handled == 2);
    CHECK(g.Wait(static_cast<int32_t>(child), nullptr) == child);
  });
}

TEST_CASE("Interrupted calls restart as Linux restarts them") {
  TestKernel test;
  test.Run([](Guest& g) {
    const auto poke = [](Guest& guest, SigNo sig) {
      guest.Fork([sig](Guest& c) {
        c.Sleep(10'000'000);
        c.Kill(1, sig);
      });
    };
    int runs = 0;
    g.SetAction(SigNo::kChld, {kSigDfl, 0, 0, {}});
    g.Handle(SigNo::kUsr1, [&](int) { ++runs; });
    g.Handle(
        SigNo::kUsr2, [&](int) { ++runs; }, kSaRestart);
    poke(g, SigNo::kUsr1);
    CHECK(BlockAnd(g, Errno::kRESTARTSYS) == Neg(Errno::kINTR));
    poke(g, SigNo::kUsr2);
    CHECK(BlockAnd(g, Errno::kRESTARTNOHAND) == Neg(Errno::kINTR));
    poke(g, SigNo::kUsr2);
    CHECK(BlockAnd(g, Errno::kRESTART_RESTARTBLOCK) == Neg(Errno::kINTR));
    CHECK(runs == 3);
    for (const Errno how : {Errno::kRESTARTSYS, Errno::kRESTARTNOINTR}) {
      std::atomic<int> entered{0};
      poke(g, how == Errno::kRESTARTSYS ? SigNo::kUsr2 : SigNo::kUsr1);
      CHECK(g.Call([&](Task& t) -> int64_t {
        if (entered++ > 0) return 77;
        return t.Block(Deadline::Never()).ok() ? 0 : Neg(how);
      }) == 77);
      CHECK(entered == 2);
    }
    CHECK(runs == 5);
    while (g.Wait(-1, nullptr) > 0) {
    }
  });
}

TEST_CASE("restart_syscall continues after a stop without a handler") {
  TestKernel test;
  test.Run([](Guest& g) {
    const int64_t pid = g.Fork([](Guest& c) {
      std::atomic<int> phase{0};
      const int64_t result = c.Call([&](Task& t) -> int64_t {
        if (t.Block(Deadline::Never()).ok()) return 1;
        t.SetRestart([&phase](Task&) -> int64_t {
          phase = 1;
          return 55;
        });
        return Neg(Errno::kRESTART_RESTARTBLOCK);
      });
      c.ExitGroup(result == 55 && phase == 1 ? 0 : 1);
    });
    g.Sleep(5'000'000);
    g.Kill(static_cast<int32_t>(pid), SigNo::kStop);
    int32_t status = 0;
    CHECK(g.Wait(static_cast<int32_t>(pid), &status, false, true) == pid);
    CHECK(status == StoppedStatus(19));
    g.Kill(static_cast<int32_t>(pid), SigNo::kCont);
    CHECK(g.Wait(static_cast<int32_t>(pid), &status) == pid);
    CHECK(status == ExitedStatus(0));
  });
}

TEST_CASE("Masks hold signals back; sigpending; unblocking delivers") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::vector<int> order;
    for (const int sig : {10, 12, 40}) {
      g.Handle(static_cast<SigNo>(sig), [&](int s) { order.push_back(s); });
    }
    SetMask(g, SigSet{~uint64_t{0}});
    for (const int sig : {40, 12, 10, 10, 40}) g.Kill(1, static_cast<SigNo>(sig));
    CHECK(order.empty());
    CHECK(g.Call([](Task& t) -> int64_t {
      return static_cast<int64_t>(t.PendingSignalSet().bits);
    }) == static_cast<int64_t>((1ull << 9) | (1ull << 11) | (1ull << 39)));
    SetMask(g, {});
    // Frames are stacked: the signal delivered last runs first. With real handlers that block
    // nothing else, the order seen is the reverse of the order of delivery.
    CHECK(order == std::vector<int>{40, 40, 12, 10});
  });
}

TEST_CASE("A handler's mask, SA_NODEFER and SA_RESETHAND") {
  TestKernel test;
  test.Run([](Guest& g) {
    int depth = 0, deepest = 0, calls = 0;
    const auto handler = [&](int sig) {
      deepest = std::max(deepest, ++depth);
      if (++calls == 1) g.Kill(1, static_cast<SigNo>(sig));
      --depth;
    };
    g.Handle(SigNo::kUsr1, handler);
    g.Kill(1, SigNo::kUsr1);
    CHECK(deepest == 1);
    CHECK(calls == 2);
    deepest = calls = 0;
    g.Handle(SigNo::kUsr2, handler, kSaNoDefer);
    g.Kill(1, SigNo::kUsr2);
    CHECK(deepest == 2);
    CHECK(g.Call([](Task& t) -> int64_t { return static_cast<int64_t>(t.signal_mask().bits); }) ==
          0);
  });
  TestKernel once;
  CHECK(once.Run([](Guest& g) {
    const int64_t pid = g.Fork([](Guest& c) {
      c.Handle(
          SigNo::kUsr1, [](int) {}, kSaResetHand);
      c.Kill(2, SigNo::kUsr1);
      c.Kill(2, SigNo::kUsr1);
    });
    int32_t status = 0;
    g.Wait(static_cast<int32_t>(pid), &status);
    g.ExitGroup(status == KilledStatus(10, false) ? 0 : 1);
  }) == 0);
}

TEST_CASE("sigsuspend: the temporary mask holds for one delivery") {
  TestKernel test;
  test.Run([](Guest& g) {
    int got = 0;
    g.Handle(SigNo::kUsr1, [&](int) {
      ++got;
      g.Call([](Task&) -> int64_t { return 0; });
    });
    SetMask(g, SigSet::Of(SigNo::kUsr1));
    g.Kill(1, SigNo::kUsr1);
    CHECK(got == 0);
    CHECK(g.Call([](Task& t) -> int64_t {
      t.SetTemporarySignalMask({});
      (void)t.Block(Deadline::Never());
      return Neg(Errno::kRESTARTNOHAND);
    }) == Neg(Errno::kINTR));
    CHECK(got == 1);
    CHECK(g.Call([](Task& t) -> int64_t { return static_cast<int64_t>(t.signal_mask().bits); }) ==
          static_cast<int64_t>(SigSet::Of(SigNo::kUsr1).bits));
  });
}

TEST_CASE("sigtimedwait takes blocked signals, times out, is interrupted") {
  TestKernel test;
  test.Run([](Guest& g) {
    SetMask(g, SigSet::Make(SigNo::kUsr1, static_cast<SigNo>(40)));
    const auto wait = [&](int64_t ns) {
      return g.Call([ns](Task& t) -> int64_t {
        const auto info =
            t.WaitForSignal(t.call_context(), SigSet::Make(SigNo::kUsr1, static_cast<SigNo>(40)),
                            ns < 0 ? Deadline::Never() : Deadline::After(ns));
        return info.ok() ? info->signo : Neg(info.error());
      });
    };
    CHECK(wait(0) == Neg(Errno::kAGAIN));
    CHECK(wait(5'000'000) == Neg(Errno::kAGAIN));
    g.Kill(1, SigNo::kUsr1);
    CHECK(wait(-1) == 10);
    g.Fork([](Guest& c) {
      c.Sleep(10'000'000);
      c.Call([](Task& t) -> int64_t {
        return AsRax(
            QueueSignal(t, 1, 0, SigInfo::User(static_cast<SigNo>(40), kSiQueue, 5, 0, 9)));
      });
    });
    CHECK(wait(-1) == 40);
    g.Wait(-1, nullptr);
    g.Handle(SigNo::kUsr2, [](int) {});
    g.Fork([](Guest& c) {
      c.Sleep(10'000'000);
      c.Kill(1, SigNo::kUsr2);
    });
    CHECK(wait(-1) == Neg(Errno::kINTR));
    g.Wait(-1, nullptr);
  });
}

TEST_CASE("Faults raise signals with code and address; blocked or default ones kill") {
  TestKernel test;
  test.Run([](Guest& g) {
    int got = 0;
    g.Handle(SigNo::kSegv, [&](int sig) { got = sig; });
    g.Trap(platform::FaultExit{VirtAddr(0x1234), Access::kRead, false});
    CHECK(got == 11);
    const auto status_of = [&](const GuestProgram& program) {
      const int64_t pid = g.Fork(program);
      int32_t status = 0;
      g.Wait(static_cast<int32_t>(pid), &status);
      return status;
    };
    CHECK(status_of([](Guest& c) {
            SetMask(c, SigSet::Of(SigNo::kSegv));
            c.Trap(platform::FaultExit{VirtAddr(0x1234), Access::kRead, false});
          }) == KilledStatus(11, false));
    CHECK(status_of([](Guest& c) {
            c.Trap(platform::ExceptionExit{6, 0});
          }) == KilledStatus(4, false));
    CHECK(status_of([](Guest& c) {
            c.Trap(platform::ExceptionExit{0, 0});
          }) == KilledStatus(8, false));
    CHECK(status_of([](Guest& c) {
            c.Trap(platform::ExceptionExit{3, 0});
          }) == KilledStatus(5, false));
    CHECK(status_of([](Guest& c) { c.Trap(platform::BusErrorExit{}); }) == ExitedStatus(0));
    CHECK(status_of([](Guest& c) {
            c.Trap(platform::BusErrorExit{});
            c.Call([](Task&) -> int64_t { return 0; });
            c.Trap(platform::BusErrorExit{});
          }) == ExitedStatus(0));
    CHECK(status_of([](Guest& c) { c.Trap(platform::FatalExit{"test"}); }) ==
          KilledStatus(9, false));
    // The stack pointer is bad: no frame, so SIGSEGV takes its default.
    CHECK(status_of([](Guest& c) {
            c.Handle(SigNo::kUsr1, [](int) {});
            c.Call([](Task& t) -> int64_t {
              t.arch().rsp = 0x10;
              return AsRax(Kill(t, t.tgid(), SigNo::kUsr1));
            });
          }) == KilledStatus(11, false));
  });
}

TEST_CASE("Init ignores what it has no handler for, except from outside") {
  TestKernel test;
  std::atomic<int> ignored{0};
  const TaskRef init = test.Start([&](Guest& g) {
    for (const SigNo sig : {SigNo::kTerm, SigNo::kKill, SigNo::kStop}) {
      if (g.Kill(1, sig) == 0) ++ignored;
    }
    while (true) g.Spin();
  });
  while (ignored < 3) std::this_thread::yield();
  test.kernel().SendExternalSignal(SigNo::kTerm);
  CHECK(test.kernel().WaitForInit() == KilledStatus(15, false));
  Kernel::Options options;
  options.protect_init = false;
  TestKernel ordinary(std::move(options));
  CHECK(ordinary.Run([](Guest& g) { g.Kill(1, SigNo::kTerm); }) == KilledStatus(15, false));
}

TEST_CASE("tgkill reaches one thread, kill any that does not block") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int64_t> handled_by{0};
    g.Handle(SigNo::kUsr1, [&](int) {
      // The handler runs on whatever guest takes the signal; which one, the test below knows.
    });
    SetMask(g, SigSet::Of(SigNo::kUsr1));
    std::atomic<bool> ready{false};
    const int64_t tid = g.Thread([&](Guest& t) {
      SetMask(t, {});
      ready = true;
      t.Sleep(int64_t{100} * kNanosPerSecond);
      handled_by = t.Call([](Task& task) -> int64_t { return task.tid(); });
      t.Exit(0);
    });
    while (!ready) g.Sleep(1'000'000);
    CHECK(g.Kill(1, SigNo::kUsr1) == 0);
    while (handled_by == 0) g.Sleep(1'000'000);
    CHECK(handled_by == tid);
    const auto tgkill = [&](int32_t tgid, int32_t to, SigNo sig) {
      return g.Call([=](Task& t) { return AsRax(Tgkill(t, tgid, to, sig)); });
    };
    CHECK(tgkill(1, 1, SigNo::kUsr1) == 0);
    CHECK(tgkill(7, 1, SigNo::kUsr1) == Neg(Errno::kSRCH));
    CHECK(tgkill(1, -1, SigNo::kUsr1) == Neg(Errno::kINVAL));
    CHECK(tgkill(1, 1, static_cast<SigNo>(65)) == Neg(Errno::kINVAL));
    CHECK(tgkill(1, 1, SigNo::kNone) == 0);
    CHECK(g.Kill(999, SigNo::kNone) == Neg(Errno::kSRCH));
    CHECK(g.Kill(-1, SigNo::kUsr1) == Neg(Errno::kSRCH));
    SetMask(g, {});
  });
}

TEST_CASE("RLIMIT_SIGPENDING bounds real-time signals") {
  TestKernel test;
  test.Run([](Guest& g) {
    SetMask(g, SigSet{~uint64_t{0}});
    g.Call([](Task& t) -> int64_t {
      return AsRax(t.group().SetLimit(*t.creds(), Resource::kSigpending, {3, 3}).ok()
                       ? Result<void>()
                       : Result<void>(Errno::kINVAL));
    });
    const auto queue = [&] {
      return g.Call([](Task& t) {
        return AsRax(QueueSignal(t, 1, 0, SigInfo::User(static_cast<SigNo>(50), kSiQueue, 1, 0)));
      });
    };
    for (int i = 0; i < 3; ++i) CHECK(queue() == 0);
    CHECK(queue() == Neg(Errno::kAGAIN));
    g.Call([](Task& t) { return AsRax(t.TakeSignal(SigSet{~uint64_t{0}}).ok() ? Ok() : Ok()); });
    CHECK(queue() == 0);
  });
}

TEST_CASE("sigaltstack: errors and autodisarm") {
  TestKernel test;
  test.Run([](Guest& g) {
    const auto set = [&](SigAltStack stack) {
      return g.Call([stack](Task& t) -> int64_t {
        const auto old = t.SetAltStack(stack);
        return old.ok() ? old->flags : Neg(old.error());
      });
    };
    SigAltStack stack;
    stack.sp = kGuestData;
    stack.flags = 0;
    stack.size = 100;
    CHECK(set(stack) == Neg(Errno::kNOMEM));
    stack.flags = 77;
    CHECK(set(stack) == Neg(Errno::kINVAL));
    stack.sp = kGuestStackTop - 8 * kPageSize;
    stack.size = 4 * kPageSize;
    stack.flags = kSsAutoDisarm;
    CHECK(set(stack) == kSsDisable);
    int64_t inside = 0;
    g.Handle(
        SigNo::kUsr1,
        [&](int) {
          inside = g.Call([](Task& t) -> int64_t { return t.SetAltStack(std::nullopt)->flags; });
        },
        kSaOnStack);
    g.Kill(1, SigNo::kUsr1);
    CHECK(inside == kSsDisable);
    CHECK(g.Call([](Task& t) -> int64_t {
      return static_cast<int64_t>(t.SetAltStack(std::nullopt)->size);
    }) == 4 * int64_t{kPageSize});
  });
}

}  // namespace
}  // namespace ringfence::sentry
