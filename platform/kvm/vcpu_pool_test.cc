#include "platform/kvm/vcpu_pool.h"

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
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
  // The pool asks when the client queues.
  int64_t CpuNanos() const override {
    if (on_queue) on_queue();
    return cpu_ns;
  }

  std::atomic<bool> using_it{false}, released{false}, asked{false}, stop{false}, lost{false};
  std::atomic<int64_t> cpu_ns{0};
  std::function<void()> on_queue;
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

TEST_CASE("a released vCPU is taken at once, a held one when its client seems stuck") {
  VcpuPool pool = MakePool(1);
  FakeClient a, b;
  PooledVcpu* vcpu = MUST(pool.Acquire(&a));  // there is room
  a.released = true;
  CHECK(MUST(pool.Acquire(&b)) == vcpu);  // a gives it up
  CHECK(a.lost);
  const auto start = std::chrono::steady_clock::now();
  CHECK(MUST(pool.Acquire(&a)) == vcpu);  // b is not using it
  CHECK(b.lost);
  CHECK(std::chrono::steady_clock::now() - start >=
        std::chrono::milliseconds(VcpuPool::kStuckMillis / 2));
  CHECK(b.asked);
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

constexpr int64_t kMillisecond = 1'000'000;

// One vCPU and twenty clients that take it again and again for a whole slice each.
class Bomb {
 public:
  explicit Bomb(VcpuPool* pool) : pool_(pool) {
    for (FakeClient& client : clients_) {
      client.using_it = true;
      threads_.emplace_back([this, &client] {
        while (!stop_) {
          PooledVcpu* vcpu = MUST(pool_->Acquire(&client));  // it waits
          client.cpu_ns += VcpuPool::kSliceMillis * kMillisecond;
          ++turns_;
          pool_->Yield(&client, vcpu);
        }
      });
    }
    while (turns_ < 100) std::this_thread::yield();
  }
  ~Bomb() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  // Turns that others had while `client` queued for its own.
  int TurnsBefore(FakeClient* client) {
    int before = turns_;
    client->on_queue = [&] { before = turns_; };
    PooledVcpu* vcpu = MUST(pool_->Acquire(client));  // it waits
    const int turns = turns_ - before;                // nobody has another while we have the vCPU
    client->cpu_ns += kMillisecond / 10;
    pool_->Yield(client, vcpu);
    return turns;
  }
  // A stranger begins behind the bomb's processes; a few turns later they have used more.
  void LetIn(FakeClient* client) {
    for (int turn = 0; turn < 5; ++turn) TurnsBefore(client);
  }
  const std::array<FakeClient, 20>& processes() const { return clients_; }

 private:
  VcpuPool* const pool_;
  std::atomic<bool> stop_{false};
  std::atomic<int> turns_{0};
  std::array<FakeClient, 20> clients_;
  std::vector<std::thread> threads_;
};

TEST_CASE("fork_bomb_starves_its_own_sandbox: who uses little comes first") {
  VcpuPool pool = MakePool(1);
  Bomb bomb(&pool);
  FakeClient shell;
  shell.using_it = true;
  bomb.LetIn(&shell);
  for (int turn = 0; turn < 10; ++turn) CHECK(bomb.TurnsBefore(&shell) <= 4);
}

TEST_CASE("fork_bomb_starves_its_own_sandbox: children are served as their parents are") {
  VcpuPool pool = MakePool(1);
  Bomb bomb(&pool);
  FakeClient shell;
  shell.using_it = true;
  bomb.LetIn(&shell);
  const auto child_of = [&](const VcpuClient& parent) {
    FakeClient child;
    child.using_it = true;
    pool.Inherit(parent, &child);
    return bomb.TurnsBefore(&child);
  };
  int shells = 0, bombs = 0;
  for (const FakeClient& process : bomb.processes()) {
    shells += child_of(shell);
    bombs += child_of(process);
  }
  CHECK(shells <= 5 * 20);
  CHECK(bombs > 2 * shells);
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
