#include "sentry/kernel/futex.h"

#include <linux/futex.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "sentry/kernel/testing_guest.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t Neg(Errno e) { return -static_cast<int>(e); }
constexpr VirtAddr kWord{kGuestData}, kOther{kGuestData + 64};

int64_t FutexWait(Guest& g, VirtAddr addr, uint32_t expected, int64_t timeout_ns = -1,
                  uint32_t bitset = FutexManager::kMatchAny) {
  return g.Call([=](Task& t) {
    FutexManager::WaitArgs args;
    args.addr = addr;
    args.is_private = true;
    args.expected = expected;
    args.bitset = bitset;
    if (timeout_ns >= 0) args.deadline = Deadline::After(timeout_ns);
    return AsRax(t.kernel().futexes().Wait(t, t.call_context(), args));
  });
}

int64_t FutexWake(Guest& g, VirtAddr addr, uint32_t count,
                  uint32_t bitset = FutexManager::kMatchAny) {
  return g.Call(
      [=](Task& t) { return AsRax(t.kernel().futexes().Wake(t.mm(), addr, true, count, bitset)); });
}

int64_t Store(Guest& g, VirtAddr addr, uint32_t value) {
  return g.Call([=](Task& t) { return AsRax(t.mm().CopyOut(addr, &value, sizeof(value))); });
}

uint32_t Load(Guest& g, VirtAddr addr) {
  return static_cast<uint32_t>(g.Call([=](Task& t) { return AsRax(t.mm().AtomicLoad32(addr)); }));
}

TEST_CASE("Wait and wake between two tasks") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int64_t> result{1};
    g.Thread([&](Guest& t) {
      result = FutexWait(t, kWord, 0);
      t.Exit(0);
    });
    while (FutexWake(g, kWord, 1) == 0) g.Sleep(1'000'000);
    while (result == 1) g.Sleep(1'000'000);
    CHECK(result == 0);
  });
}

TEST_CASE("A changed word, a timeout, bad arguments") {
  TestKernel test;
  test.Run([](Guest& g) {
    CHECK(FutexWait(g, kWord, 5) == Neg(Errno::kAGAIN));
    CHECK(FutexWait(g, kWord, 0, 5'000'000) == Neg(Errno::kTIMEDOUT));
    CHECK(FutexWait(g, kWord, 0, 5'000'000, 0) == Neg(Errno::kINVAL));
    CHECK(FutexWait(g, VirtAddr(0x10), 0) == Neg(Errno::kFAULT));
    CHECK(FutexWait(g, VirtAddr(kGuestData + 1), 0) == Neg(Errno::kINVAL));
    CHECK(FutexWake(g, kWord, 5) == 0);
    // On a thread that may not block.
    CHECK(g.Call([](Task& t) {
      CallContext ctx = t.call_context();
      ctx.may_block = false;
      FutexManager::WaitArgs args;
      args.addr = kWord;
      return AsRax(t.kernel().futexes().Wait(t, ctx, args));
    }) == Neg(Errno::kWOULDBLOCK_RETRY_ON_TASK));
  });
}

TEST_CASE("Bitsets select who wakes; requeue moves the rest") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int> woken{0}, started{0};
    for (const uint32_t bits : {1u, 2u, 2u, 4u}) {
      g.Thread([&, bits](Guest& t) {
        ++started;
        FutexWait(t, kWord, 0, -1, bits);
        ++woken;
        t.Exit(0);
      });
    }
    while (started < 4) g.Sleep(1'000'000);
    g.Sleep(20'000'000);
    CHECK(FutexWake(g, kWord, 10, 8) == 0);
    CHECK(FutexWake(g, kWord, 10, 2) == 2);
    const auto requeue = [&](uint32_t expected) {
      return g.Call([expected](Task& t) {
        FutexManager::RequeueArgs args;
        args.from = kWord;
        args.to = kOther;
        args.is_private = true;
        args.wake_count = 1;
        args.requeue_count = 100;
        args.expected = expected;
        return AsRax(t.kernel().futexes().Requeue(t.mm(), args));
      });
    };
    CHECK(requeue(1) == Neg(Errno::kAGAIN));
    CHECK(requeue(0) == 2);
    CHECK(FutexWake(g, kWord, 10) == 0);
    CHECK(FutexWake(g, kOther, 10) == 1);
    while (woken < 4) g.Sleep(1'000'000);
  });
}

TEST_CASE("A requeued waiter still times out") {
  TestKernel test;
  test.Run([](Guest& g) {
    std::atomic<int64_t> result{1};
    g.Thread([&](Guest& t) {
      result = FutexWait(t, kWord, 0, 60'000'000);
      t.Exit(0);
    });
    g.Sleep(20'000'000);
    g.Call([](Task& t) {
      FutexManager::RequeueArgs args;
      args.from = kWord;
      args.to = kOther;
      args.is_private = true;
      args.requeue_count = 1;
      return AsRax(t.kernel().futexes().Requeue(t.mm(), args));
    });
    while (result == 1) g.Sleep(1'000'000);
    CHECK(result == Neg(Errno::kTIMEDOUT));
    CHECK(FutexWake(g, kOther, 1) == 0);
  });
}

TEST_CASE("FUTEX_WAKE_OP changes the second word and compares its old value") {
  TestKernel test;
  test.Run([](Guest& g) {
    const auto op = [&](uint32_t operation) {
      return g.Call([operation](Task& t) {
        FutexManager::WakeOpArgs args;
        args.addr1 = kWord;
        args.addr2 = kOther;
        args.is_private = true;
        args.count1 = args.count2 = 1;
        args.operation = operation;
        return AsRax(t.kernel().futexes().WakeOp(t.mm(), args));
      });
    };
    CHECK(op(FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0)) == 0);
    CHECK(Load(g, kOther) == 5);
    op(FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_GT, 3));
    CHECK(Load(g, kOther) == 21);
    op(FUTEX_OP(FUTEX_OP_SET, 0xfff, FUTEX_OP_CMP_LT, 0));
    CHECK(Load(g, kOther) == 0xffffffff);
    CHECK(op(0x70000000) == Neg(Errno::kNOSYS));
  });
}

TEST_CASE("A thread's end clears its tid word and marks robust futexes") {
  TestKernel test;
  test.Run([](Guest& g) {
    CloneArgs args;
    args.flags = kCloneVm | kCloneFs | kCloneFiles | kCloneSighand | kCloneThread |
                 kCloneChildClearTid | kCloneChildSetTid | kCloneParentSetTid;
    args.exit_signal = SigNo::kNone;
    args.child_tid = kWord;
    args.parent_tid = VirtAddr(kGuestData + 128);
    constexpr uint64_t kHead = kGuestData + 512, kEntry = kGuestData + 640;
    std::atomic<bool> go{false};
    const int64_t tid = g.Clone(args, [&](Guest& t) {
      t.Call([](Task& task) -> int64_t {
        const uint64_t list[3] = {kEntry, 32, 0};
        const uint64_t next = kHead;
        const uint32_t word = static_cast<uint32_t>(task.tid()) | FUTEX_WAITERS;
        TestKernel::Must(task.mm().CopyOut(VirtAddr(kHead), list, sizeof(list)));
        TestKernel::Must(task.mm().CopyOut(VirtAddr(kEntry), &next, sizeof(next)));
        TestKernel::Must(task.mm().CopyOut(VirtAddr(kEntry + 32), &word, sizeof(word)));
        task.SetRobustList(VirtAddr(kHead));
        return 0;
      });
      while (!go) t.Sleep(1'000'000);
      t.Exit(0);
    });
    CHECK(Load(g, VirtAddr(kGuestData + 128)) == static_cast<uint32_t>(tid));
    g.Sleep(5'000'000);
    CHECK(Load(g, kWord) == static_cast<uint32_t>(tid));
    go = true;
    while (Load(g, kWord) != 0) FutexWait(g, kWord, static_cast<uint32_t>(tid), 10'000'000);
    CHECK(Load(g, VirtAddr(kEntry + 32)) == (FUTEX_WAITERS | FUTEX_OWNER_DIED));
    (void)Store;
  });
}

}  // namespace
}  // namespace ringfence::sentry
