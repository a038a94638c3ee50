#include "sentry/kernel/cpu_numbers.h"

#include <catch2/catch.hpp>
#include <thread>

#include "sentry/kernel/sleeper.h"

namespace ringfence::sentry {
namespace {

class User : public CpuUser {
 public:
  void LeaveGuest() override { asked.store(true); }
  void WakeUp() override { sleeper.Wake(); }
  void Doze(int64_t ns) override {
    (void)sleeper.Sleep(ns == 0 ? Deadline::Never() : Deadline::After(ns));
  }
  bool MustNotWait() const override { return stop.load(); }
  std::atomic<bool> asked{false}, stop{false};
  Sleeper sleeper;
};

TEST_CASE("a turn goes on until somebody else takes the number") {
  CpuNumbers numbers(2);
  User a, b, c;
  const CpuNumbers::Turn first = *numbers.Take(&a, {}, 1, {});
  CHECK(first.number == 1);
  CHECK_FALSE(numbers.Resume(first));  // in the guest
  numbers.Leave(first);
  CHECK(numbers.Resume(first));
  numbers.Leave(first);
  // A free number comes before one that somebody keeps.
  const CpuNumbers::Turn second = *numbers.Take(&b, {}, 1, {});
  CHECK(second.number == 0);
  const CpuNumbers::Turn third = *numbers.Take(&c, {}, 0, {});
  CHECK(third.number == 1);
  CHECK_FALSE(numbers.Resume(first));
  numbers.Drop(first);  // not his any more
  numbers.Leave(third);
  CHECK(numbers.Resume(third));
}

TEST_CASE("no turn is resumed before there was one") {
  CpuNumbers numbers(1);
  CHECK_FALSE(numbers.Resume({}));
  numbers.Drop({});
}

TEST_CASE("affinity restricts the numbers") {
  CpuNumbers numbers(12);
  User a, b;
  const CpuMask ninth = {0, 2};
  const CpuNumbers::Turn turn = *numbers.Take(&a, {}, 0, ninth);
  CHECK(turn.number == 9);
  b.stop = true;
  CHECK(numbers.Take(&b, {}, 0, ninth).error() == Errno::kINTR);
  CHECK_FALSE(Allows(ninth, 16));
  CHECK(Allows({}, 16));
}

TEST_CASE("who stays longer than a slice is asked to leave") {
  CpuNumbers numbers(1);
  User a, b;
  const CpuNumbers::Turn turn = *numbers.Take(&a, {}, 0, {});
  std::thread other([&] { numbers.Leave(*numbers.Take(&b, {}, 0, {})); });
  while (!a.asked) std::this_thread::yield();
  numbers.Leave(turn);
  other.join();
  CHECK_FALSE(numbers.Resume(turn));
}

TEST_CASE("a number has one user at a time, and everybody gets a turn") {
  constexpr int kUsers = 7, kTurns = 300;
  CpuNumbers numbers(2);
  std::atomic<int> in_guest[2] = {};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kUsers; ++i) {
    threads.emplace_back([&, i] {
      User self;
      const CpuMask mask = i == 0 ? CpuMask{1} : CpuMask{};
      CpuNumbers::Turn turn;
      for (int n = 0; n < kTurns; ++n) {
        if (!numbers.Resume(turn)) turn = *numbers.Take(&self, turn, 0, mask);
        if (in_guest[turn.number].fetch_add(1) != 0) ++wrong;
        if (n % 20 == 0) std::this_thread::yield();
        in_guest[turn.number].fetch_sub(1);
        numbers.Leave(turn);
      }
      numbers.Drop(turn);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace ringfence::sentry
