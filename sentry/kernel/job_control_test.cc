#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "sentry/kernel/testing_guest.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t Neg(Errno e) { return -static_cast<int>(e); }

int64_t SetGroup(Guest& g, int32_t pid, int32_t pgid) {
  return g.Call([=](Task& t) { return AsRax(SetPgid(t, pid, pgid)); });
}
int64_t Group(Guest& g) {
  return g.Call([](Task& t) -> int64_t { return t.group().pgid(); });
}

TEST_CASE("Stop and continue are reported to the parent") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int> children{0};
    g.Handle(SigNo::kChld, [&](int) { ++children; });
    const int64_t pid = g.Fork([](Guest& c) {
      c.Thread([](Guest& t) {
        while (true) t.Sleep(int64_t{100} * kNanosPerSecond);
      });
      while (true) c.Spin();
    });
    const int32_t p = static_cast<int32_t>(pid);
    int32_t status = 0;
    const auto wait = [&](bool stopped, bool continued) {
      int64_t result;
      do {
        result = g.Wait(p, &status, false, stopped, continued);
      } while (result == Neg(Errno::kINTR));
      return result;
    };
    g.Sleep(10'000'000);
    g.Kill(p, SigNo::kStop);
    CHECK(wait(true, false) == pid);
    CHECK(status == StoppedStatus(19));
    CHECK(g.Wait(p, &status, true, true) == 0);
    g.Kill(p, SigNo::kCont);
    CHECK(wait(false, true) == pid);
    CHECK(status == kContinuedStatus);
    g.Kill(p, SigNo::kStop);
    CHECK(wait(true, false) == pid);
    g.Kill(p, SigNo::kTerm);
    g.Sleep(5'000'000);
    CHECK(g.Wait(p, &status, true) == 0);
    g.Kill(p, SigNo::kKill);
    CHECK(wait(false, false) == pid);
    CHECK(status == KilledStatus(9, false));
    CHECK(children >= 3);
  });
}

TEST_CASE("setpgid and setsid follow the rules") {
  TestKernel test;
  test.Run([](Guest& g) {
    CHECK(SetGroup(g, 0, 0) == Neg(Errno::kPERM));  // session leader
    CHECK(g.Call([](Task& t) { return AsRax(t.group().SetSid()); }) == Neg(Errno::kPERM));
    const int64_t pid = g.Fork([](Guest& c) {
      c.Sleep(20'000'000);
      CHECK(c.Call([](Task& t) { return AsRax(t.group().SetSid()); }) == Neg(Errno::kPERM));
      const int64_t grandchild = c.Fork([](Guest& d) {
        CHECK(d.Call([](Task& t) { return AsRax(t.group().SetSid()); }) == 3);
        CHECK(Group(d) == 3);
        CHECK(SetGroup(d, 0, 2) == Neg(Errno::kPERM));
      });
      c.Wait(static_cast<int32_t>(grandchild), nullptr);
    });
    const int32_t p = static_cast<int32_t>(pid);
    CHECK(SetGroup(g, p, -1) == Neg(Errno::kINVAL));
    CHECK(SetGroup(g, 999, 0) == Neg(Errno::kSRCH));
    CHECK(SetGroup(g, p, 999) == Neg(Errno::kPERM));
    CHECK(SetGroup(g, p, p) == 0);
    CHECK(g.Call([p](Task& t) { return AsRax(GetPgid(t, p)); }) == pid);
    CHECK(g.Call([p](Task& t) { return AsRax(GetSid(t, p)); }) == 1);
    CHECK(g.Kill(-p, SigNo::kNone) == 0);
    CHECK(g.Wait(p, nullptr) == pid);
    CHECK(g.Kill(-p, SigNo::kNone) == Neg(Errno::kSRCH));
  });
}

TEST_CASE("A stopped job that is orphaned gets SIGHUP and SIGCONT") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int> hups{0};
    g.Fork([&](Guest& shell) {
      shell.Call([](Task& t) { return AsRax(t.group().SetSid()); });
      const int64_t job = shell.Fork([&](Guest& c) {
        c.Handle(SigNo::kHup, [&](int) { ++hups; });
        SetGroup(c, 0, 0);
        c.Kill(0, SigNo::kTstp);
        c.ExitGroup(6);
      });
      int32_t status = 0;
      CHECK(shell.Wait(static_cast<int32_t>(job), &status, false, true) == job);
      CHECK(status == StoppedStatus(20));
    });
    int32_t status = 0;
    CHECK(g.Wait(2, nullptr) == 2);
    CHECK(g.Wait(3, &status) == 3);
    CHECK(status == ExitedStatus(6));
    CHECK(hups == 1);
    // Now in an orphaned group: terminal stops do nothing.
    g.Fork([](Guest& c) {
      c.Call([](Task& t) { return AsRax(t.group().SetSid()); });
      c.Kill(0, SigNo::kTstp);
      c.ExitGroup(2);
    });
    CHECK(g.Wait(-1, &status, false, true) == 4);
    CHECK(status == ExitedStatus(2));
  });
}

TEST_CASE("A terminal's foreground group") {
  TestKernel test;
  const std::shared_ptr<JobControl> tty = test.kernel().NewTerminal(0x8801);
  test.Run([&](Guest& g) {
    const auto acquire = [&](Guest& who) {
      return who.Call([&](Task& t) { return AsRax(tty->Acquire(t.call_context(), 0)); });
    };
    const auto foreground = [&](Guest& who) {
      return who.Call([&](Task& t) { return AsRax(tty->GetForegroundGroup(t.call_context())); });
    };
    CHECK(foreground(g) == Neg(Errno::kNOTTY));
    CHECK(acquire(g) == 0);
    CHECK(foreground(g) == 1);
    const int64_t pid = g.Fork([&](Guest& c) {
      CHECK(acquire(c) == Neg(Errno::kPERM));
      SetGroup(c, 0, 0);
      // A background read stops the job; it goes on in the foreground.
      CHECK(c.Call([&](Task& t) {
        return AsRax(tty->CheckUse(t.call_context(), JobControl::Use::kRead));
      }) == 0);
      c.ExitGroup(3);
    });
    int32_t status = 0;
    CHECK(g.Wait(static_cast<int32_t>(pid), &status, false, true) == pid);
    CHECK(status == StoppedStatus(21));
    const int32_t p = static_cast<int32_t>(pid);
    CHECK(g.Call([&](Task& t) { return AsRax(tty->SetForegroundGroup(t.call_context(), p)); }) ==
          0);
    g.Kill(-p, SigNo::kCont);
    CHECK(g.Wait(p, &status) == pid);
    CHECK(status == ExitedStatus(3));
    // The shell takes the terminal back from the background, ignoring SIGTTOU.
    g.SetAction(SigNo::kTtou, {kSigIgn, 0, 0, {}});
    CHECK(g.Call([&](Task& t) { return AsRax(tty->SetForegroundGroup(t.call_context(), 1)); }) ==
          0);
    CHECK(foreground(g) == 1);
  });
}

TEST_CASE("Init stops for a key if somebody outside would continue it") {
  for (const bool has_shell : {false, true}) {
    std::atomic<int> stops{0};
    Kernel::Options options;
    options.init_stopped = [&] { ++stops; };
    TestKernel test(options);
    test.SetInitHasShell(has_shell);
    const TaskRef init = test.Start([](Guest& g) {
      g.Sleep(300'000'000);
      g.ExitGroup(4);
    });
    test.kernel().SignalForeground(SigNo::kTstp);
    for (int i = 0; i < 200 && stops == 0; ++i) usleep(1000);
    CHECK(stops == (has_shell ? 1 : 0));
    test.kernel().SendExternalSignal(SigNo::kCont);
    CHECK(test.kernel().WaitForInit() == ExitedStatus(4));
  }
}

TEST_CASE("A terminal that is hung up tells the leader, and its foreground when that ends") {
  TestKernel test;
  const std::shared_ptr<JobControl> tty = test.kernel().NewTerminal(0x8801);
  test.Run([&](Guest& g) {
    std::atomic<bool> told{false}, ready{false};
    const int64_t shell = g.Fork([&](Guest& s) {
      s.Call([](Task& t) { return AsRax(t.group().SetSid()); });
      s.Call([&](Task& t) { return AsRax(tty->Acquire(t.call_context(), 0)); });
      s.Handle(SigNo::kHup, [&](int) { told = true; });
      s.SetAction(SigNo::kTtou, {kSigIgn, 0, 0, {}});
      const int32_t job = static_cast<int32_t>(s.Fork([&](Guest& c) {
        c.SetAction(SigNo::kHup, {kSigDfl, 0, 0, {}});  // not the handler of its parent
        ready = true;
        while (true) c.Spin();
      }));
      while (!ready) s.Sleep(1'000'000);
      CHECK(SetGroup(s, job, job) == 0);
      CHECK(s.Call([&](Task& t) {
        return AsRax(tty->SetForegroundGroup(t.call_context(), job));
      }) == 0);
      CHECK(tty->ForegroundId() == job);
      tty->HangUp();
      while (!told) s.Sleep(1'000'000);
      CHECK(tty->SessionId() == 0);
    });
    int32_t status = 0;
    CHECK(g.Wait(static_cast<int32_t>(shell), &status) == shell);
    CHECK(status == ExitedStatus(0));
    CHECK(g.Wait(static_cast<int32_t>(shell) + 1, &status) == shell + 1);
    CHECK(status == KilledStatus(1, false));
  });
}

TEST_CASE("The end of a session leader hangs up its terminal") {
  TestKernel test;
  const std::shared_ptr<JobControl> tty = test.kernel().NewTerminal(0x8801);
  test.Run([&](Guest& g) {
    g.Fork([&](Guest& shell) {
      shell.Call([](Task& t) { return AsRax(t.group().SetSid()); });
      shell.Call([&](Task& t) { return AsRax(tty->Acquire(t.call_context(), 0)); });
      shell.Fork([](Guest& c) { c.Spin(); });
      shell.Sleep(5'000'000);
    });
    int32_t status = 0;
    CHECK(g.Wait(2, &status) == 2);
    CHECK(g.Wait(3, &status) == 3);
    CHECK(status == KilledStatus(1, false));
  });
}

}  // namespace
}  // namespace ringfence::sentry
