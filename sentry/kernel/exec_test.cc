#include <atomic>
#include <catch2/catch.hpp>

#include "sentry/kernel/testing_guest.h"
#include "sentry/loader/testing.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t Neg(Errno e) { return -static_cast<int>(e); }

int64_t Exec(Guest& g, const std::string& bytes, GuestProgram next) {
  return g.Exec(
      [&](Task& task) {
        ExecArgs args;
        args.file = std::make_shared<MemoryFile>(&task.kernel().platform().memory(), bytes);
        args.path = "/bin/program";
        args.exe_path = "/bin/program";
        args.argv = {"program"};
        return AsRax(task.Exec(task.call_context(), args));
      },
      std::move(next));
}

std::string Program() { return TestElf().Bytes(); }

TEST_CASE("execve starts the new program in new memory") {
  TestKernel test;
  CHECK(test.Run([](Guest& g) {
    Exec(g, Program(), [](Guest& fresh) {
      const bool right = fresh.Call([](Task& task) -> int64_t {
        uint8_t byte = 0;
        const bool old_memory = task.mm().CopyIn(&byte, VirtAddr(kGuestStackTop - 8), 1).ok();
        return !old_memory && task.comm() == "program" && task.group().HasExeced();
      });
      fresh.ExitGroup(right ? 3 : 4);
    });
  }) == ExitedStatus(3));
}

TEST_CASE("A program that cannot be loaded leaves the old one running") {
  TestKernel test;
  CHECK(test.Run([](Guest& g) {
    CHECK(Exec(g, "not a program", [](Guest&) {}) == Neg(Errno::kNOEXEC));
    g.ExitGroup(6);
  }) == ExitedStatus(6));
}

TEST_CASE("execve by a thread ends the others and takes the leader's number") {
  TestKernel test;
  CHECK(test.Run([](Guest& g) {
    const int64_t pid = g.Fork([](Guest& leader) {
      leader.Thread([](Guest& t) {
        while (true) t.Spin();
      });
      leader.Thread([](Guest& t) {
        Exec(t, Program(), [](Guest& fresh) {
          const int64_t tid = fresh.Call([](Task& task) -> int64_t {
            return task.IsLeader() && task.group().NumTasks() == 1 ? task.tid() : 0;
          });
          constexpr uint64_t kGettid = 186;
          CHECK(fresh.Answer(kGettid) == static_cast<uint32_t>(tid));
          fresh.ExitGroup(static_cast<int>(tid));
        });
      });
      while (true) leader.Sleep(int64_t{1000} * kNanosPerSecond);
    });
    int32_t status = 0;
    CHECK(g.Wait(static_cast<int32_t>(pid), &status) == pid);
    CHECK(status == ExitedStatus(static_cast<int32_t>(pid)));
    CHECK(g.Wait(-1, nullptr) == Neg(Errno::kCHILD));
  }) == 0);
}

TEST_CASE("vfork: the parent goes on when the child runs execve") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int> step{0};
    CloneArgs args;
    args.flags = kCloneVm | kCloneVfork;
    const int64_t pid = g.Clone(args, [&](Guest& child) {
      child.Sleep(10'000'000);
      step = 1;
      Exec(child, Program(), [&](Guest& fresh) {
        while (step != 2) fresh.Sleep(1'000'000);
        fresh.ExitGroup(0);
      });
    });
    CHECK(step == 1);
    step = 2;
    CHECK(g.Wait(static_cast<int32_t>(pid), nullptr) == pid);
  });
}

TEST_CASE("execve resets handlers, keeps ignored signals and the mask") {
  TestKernel test;
  test.Run([](Guest& g) {
    g.Handle(SigNo::kUsr1, [](int) {});
    g.SetAction(SigNo::kUsr2, {kSigIgn, 0, 0, {}});
    g.Call([](Task& task) -> int64_t {
      task.SetSignalMask(SigSet::Of(SigNo::kHup));
      return 0;
    });
    Exec(g, Program(), [](Guest& fresh) {
      CHECK(fresh.Call([](Task& task) -> int64_t {
        const auto handler = [&](SigNo sig) {
          return task.group().SetAction(sig, nullptr)->handler;
        };
        return handler(SigNo::kUsr1) == kSigDfl && handler(SigNo::kUsr2) == kSigIgn &&
               task.signal_mask() == SigSet::Of(SigNo::kHup);
      }) == 1);
    });
  });
}

TEST_CASE("Two threads run execve at once: one wins") {
  TestKernel test;
  for (int i = 0; i < 10; ++i) {
    TestKernel round;
    CHECK(round.Run([](Guest& g) {
      for (int n = 0; n < 2; ++n) {
        g.Thread([](Guest& t) { Exec(t, Program(), [](Guest& fresh) { fresh.ExitGroup(5); }); });
      }
      while (true) g.Sleep(int64_t{1000} * kNanosPerSecond);
    }) == ExitedStatus(5));
  }
}

}  // namespace
}  // namespace ringfence::sentry
