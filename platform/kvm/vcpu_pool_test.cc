#include "platform/kvm/vcpu_pool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

namespace ringfence::kvm {
namespace {

// A client that holds its vCPU until asked.
class FakeClient : public VcpuClient {
 public:
  bool TryLose() override {
    if (using_it) return false;
    lost = true;
    return true;
  }
  bool IsReleased() const override { return released; }
  void AskToYield() override { asked = true; }
  bool ShouldStopWaiting() const override { return stop; }

  std::atomic<bool> using_it{false}, released{false}, asked{false}, stop{false}, lost{false};
};

VcpuPool MakePool(unsigned max) {
  return VcpuPool(max, [](unsigned index) -> Result<std::unique_ptr<PooledVcpu>> {
    return std::make_unique<PooledVcpu>(index);
  });
}

TEST_CASE("vCPUs are made when needed and reused, the same client's first") {
  VcpuPool pool = MakePool(4);
  FakeClient a, b;
  PooledVcpu* first = MUST(pool.Acquire(&a));   // there is room
  PooledVcpu* second = MUST(pool.Acquire(&b));  // there is room
  CHECK(first != second);
  pool.Yield(&a, first);
  pool.Yield(&b, second);
  CHECK(MUST(pool.Acquire(&b)) == second);  // one is free
  CHECK(pool.handovers() == 0);
  CHECK(MUST(pool.Acquire(&a)) == first);  // one is free
}

TEST_CASE("a released vCPU is taken at once, a held one after its slice") {
  VcpuPool pool = MakePool(1);
  FakeClient a, b;
  PooledVcpu* vcpu = MUST(pool.Acquire(&a));  // there is room
  a.released = true;
  CHECK(MUST(pool.Acquire(&b)) == vcpu);  // a gives it up
  CHECK(a.lost);
  const auto start = std::chrono::steady_clock::now();
  CHECK(MUST(pool.Acquire(&a)) == vcpu);  // b is not using it
  CHECK(b.lost);
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(2));
  CHECK(pool.handovers() == 2);
}

TEST_CASE("a running client is asked to yield, waiters are served in order") {
  VcpuPool pool = MakePool(1);
  FakeClient holder;
  holder.using_it = true;
  PooledVcpu* vcpu = MUST(pool.Acquire(&holder));  // there is room
  std::vector<int> order;
  FakeClient waiters[3];
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    waiters[i].using_it = true;
    threads.emplace_back([&, i] {
      PooledVcpu* mine = MUST(pool.Acquire(&waiters[i]));  // it waits
      order.push_back(i);                                  // only the holder of the vCPU gets here
      pool.Yield(&waiters[i], mine);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  CHECK(holder.asked);
  CHECK(pool.Contended());
  pool.Yield(&holder, vcpu);
  for (std::thread& t : threads) t.join();
  CHECK(order == std::vector<int>{0, 1, 2});
  CHECK_FALSE(pool.Contended());
}

TEST_CASE("an interrupt ends the wait") {
  VcpuPool pool = MakePool(1);
  FakeClient holder, waiter;
  holder.using_it = true;
  PooledVcpu* vcpu = MUST(pool.Acquire(&holder));  // there is room
  std::thread thread([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    waiter.stop = true;
    pool.StopWaiting(&waiter);
  });
  const Result<PooledVcpu*> got = pool.Acquire(&waiter);
  CHECK_FALSE(got.ok());
  CHECK(got.error() == Errno::kINTR);
  thread.join();
  pool.Yield(&holder, vcpu);
}

TEST_CASE("an interrupt ends the wait of one who is not the first in the queue") {
  VcpuPool pool = MakePool(1);
  FakeClient holder, first, second;
  holder.using_it = first.using_it = true;
  PooledVcpu* vcpu = MUST(pool.Acquire(&holder));  // there is room
  std::thread thread([&] {
    PooledVcpu* mine = MUST(pool.Acquire(&first));  // the holder yields
    pool.Yield(&first, mine);
  });
  while (!pool.Contended()) std::this_thread::yield();
  std::thread interrupter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    second.stop = true;
    pool.StopWaiting(&second);
  });
  CHECK(pool.Acquire(&second).error() == Errno::kINTR);
  interrupter.join();
  pool.Yield(&holder, vcpu);
  thread.join();
}

TEST_CASE("when no vCPU can be made, those that exist are shared") {
  int made = 0;
  VcpuPool pool(4, [&made](unsigned index) -> Result<std::unique_ptr<PooledVcpu>> {
    if (made++ > 0) return Errno::kNOMEM;
    return std::make_unique<PooledVcpu>(index);
  });
  FakeClient a, b;
  PooledVcpu* vcpu = MUST(pool.Acquire(&a));  // the one that can be made
  a.released = true;
  CHECK(MUST(pool.Acquire(&b)) == vcpu);  // a's
  VcpuPool none(1, [](unsigned) -> Result<std::unique_ptr<PooledVcpu>> { return Errno::kNOMEM; });
  CHECK(none.Acquire(&a).error() == Errno::kNOMEM);
}

}  // namespace
}  // namespace ringfence::kvm
