#include "sentry/kernel/timers.h"

#include <atomic>
#include <catch2/catch.hpp>

#include "sentry/kernel/testing_guest.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t Neg(Errno e) { return -static_cast<int>(e); }
constexpr int64_t kLong = int64_t{100} * kNanosPerSecond;

TEST_CASE("alarm interrupts a sleep; the rest is told") {
  TestKernel test;
  test.Run([](Guest& g) {
    int alarms = 0;
    g.Handle(SigNo::kAlrm, [&](int) { ++alarms; });
    const auto set = [&](TimerValue value) {
      return g.Call([value](Task& t) -> int64_t {
        return t.group().timers().SetITimer(ITimerKind::kReal, value).value_ns;
      });
    };
    CHECK(set({kLong, 0}) == 0);
    CHECK(set({10'000'000, 0}) > kLong / 2);
    CHECK(g.Sleep(kLong) == Neg(Errno::kINTR));
    CHECK(alarms == 1);
    set({3'000'000, 3'000'000});
    for (int i = 0; i < 3; ++i) CHECK(g.Sleep(kLong) == Neg(Errno::kINTR));
    CHECK(set({}) > 0);
    CHECK(g.Call([](Task& t) -> int64_t {
      return t.group().timers().GetITimer(ITimerKind::kReal).value_ns;
    }) == 0);
  });
}

TEST_CASE("ITIMER_PROF fires by CPU time") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int> fired{0};
    g.Handle(SigNo::kProf, [&](int) { ++fired; });
    g.Call([](Task& t) -> int64_t {
      t.group().timers().SetITimer(ITimerKind::kProf, {20'000'000, 0});
      return 0;
    });
    g.Sleep(40'000'000);
    CHECK(fired == 0);
    // Burns CPU on the task's host thread.
    g.Call([](Task& t) -> int64_t {
      while (!t.HasPendingWork()) {
      }
      return 0;
    });
    CHECK(fired == 1);
    CHECK(g.Call([](Task& t) -> int64_t { return t.group().Usage().system_ns; }) > 10'000'000);
  });
}

TEST_CASE("POSIX timers: signals with values, overruns, deletion") {
  TestKernel test;
  test.Run([](Guest& g) {
    const auto mask = SigSet::Of(static_cast<SigNo>(40));
    const int64_t id = g.Call([mask](Task& t) -> int64_t {
      t.SetSignalMask(mask);
      TimerEvent event;
      event.sig = static_cast<SigNo>(40);
      event.value = 1234;
      return AsRax(t.group().timers().Create(t, CLOCK_MONOTONIC, event));
    });
    CHECK(id == 0);
    g.Call([](Task& t) -> int64_t {
      return AsRax(t.group().timers().Set(0, false, {2'000'000, 2'000'000}).ok() ? Ok() : Ok());
    });
    g.Sleep(30'000'000);
    SigInfo info;
    CHECK(g.Call([&](Task& t) -> int64_t {
      const auto taken = t.WaitForSignal(t.call_context(), mask, Deadline::Never());
      info = *taken;
      return AsRax(t.group().timers().Overrun(0));
    }) >= 5);
    CHECK(info.code == kSiTimer);
    CHECK(info.timer.value == 1234);
    CHECK(info.timer.overrun >= 5);
    CHECK(g.Call([](Task& t) { return AsRax(t.group().timers().Delete(0)); }) == 0);
    CHECK(g.Call([](Task& t) { return AsRax(t.group().timers().Delete(0)); }) ==
          Neg(Errno::kINVAL));
    CHECK(g.Call([](Task& t) { return AsRax(t.group().timers().Create(t, 77, {})); }) ==
          Neg(Errno::kINVAL));
  });
}

TEST_CASE("RLIMIT_CPU kills who uses too much") {
  TestKernel test;
  test.Run([](Guest& g) {
    const int64_t pid = g.Fork([](Guest& c) {
      c.Call([](Task& t) -> int64_t {
        (void)t.group().SetLimit(*t.creds(), Resource::kCpu, {1, 1});
        while (!t.HasPendingWork()) {
        }
        return 0;
      });
    });
    int32_t status = 0;
    CHECK(g.Wait(static_cast<int32_t>(pid), &status) == pid);
    CHECK(status == KilledStatus(9, false));
  });
}

TEST_CASE("Timers of a process end with it") {
  TestKernel test;
  test.Run([](Guest& g) {
    g.Fork([](Guest& c) {
      c.Call([](Task& t) -> int64_t {
        t.group().timers().SetITimer(ITimerKind::kReal, {1'000'000, 1'000'000});
        (void)t.group().timers().Create(t, CLOCK_REALTIME, {});
        (void)t.group().timers().Set(0, false, {500'000, 500'000});
        return 0;
      });
      c.SetAction(SigNo::kAlrm, {kSigIgn, 0, 0, {}});
      c.Sleep(10'000'000);
    });
    g.Wait(-1, nullptr);
  });
}

}  // namespace
}  // namespace ringfence::sentry
