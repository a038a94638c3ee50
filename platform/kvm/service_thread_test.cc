// The service thread against guests that are host threads and write their pages as they like, while
// it serves them. Built with ThreadSanitizer, too (test/tsan): what a service thread and the thread
// of a vCPU share beside the page is plain memory here, so that a gate that lets both in is seen.
#include "platform/kvm/service_thread.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "platform/kvm/arch/x86_64/cpu_relax.h"

namespace ringfence::kvm {
namespace {

constexpr int kRounds = 4000;
constexpr uint64_t kRefused = 1000;

// Of one vCPU. `inside` and `served` are plain: whoever may not be inside races.
class Kernel : public platform::SyscallService {
 public:
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override {
    if (inside || !open) wrong = true;
    inside = true;
    int64_t sum = static_cast<int64_t>(request.number);
    for (uint64_t arg : request.args)
      sum = static_cast<int64_t>(static_cast<uint64_t>(sum) * 31 + arg);
    *result = sum;
    inside = false;
    if (request.number == kRefused) return false;
    ++served;
    return true;
  }
  bool inside = false;
  bool open = false;  // the vCPU is in the guest
  bool wrong = false;
  uint64_t served = 0;
};

struct VcpuOfTest {
  alignas(64) CallPage page{};
  CallGate gate;
  Kernel kernel;

  void Enter() {
    page.mode.store(1, std::memory_order_relaxed);
    page.state.store(CallPage::kIdle, std::memory_order_relaxed);
    kernel.open = true;
    gate.Open(&page, &kernel);
  }
  void Leave() {
    gate.Close();
    kernel.open = false;
    (void)gate.TakePunted();
  }
};

class Fixture {
 public:
  static constexpr size_t kVcpus = 4;
  Fixture() : service(Policy(), kVcpus, 1000, 10, &stats) {
    for (VcpuOfTest& vcpu : vcpus) service.Register(&vcpu.gate);
  }
  static ExitlessPolicy Policy() { return {platform::ExitlessMode::kOn, 2, 100'000}; }
  // As vCPU threads do when calls exit.
  void Wake() {
    ServiceThread::Burst burst;
    for (unsigned i = 0; i < ExitlessPolicy::kBurstCalls; ++i) service.OnExitedCall(&burst);
  }

  Stats stats;
  std::vector<VcpuOfTest> vcpus{kVcpus};
  ServiceThread service;
};

// Any field, any time, and now and then a call.
void Attack(VcpuOfTest& vcpu, Fixture& fixture, unsigned seed) {
  std::minstd_rand random(seed);
  CallPage& page = vcpu.page;
  for (int round = 0; round < kRounds; ++round) {
    vcpu.Enter();
    for (unsigned step = random() % 80; step > 0; --step) {
      switch (random() % 8) {
        case 0:
          page.rax.store(random() % 3 == 0 ? kRefused : random(), std::memory_order_relaxed);
          break;
        case 1:
          page.args[random() % 6].store(random(), std::memory_order_relaxed);
          break;
        case 2:
          page.state.store(1u << random() % 5, std::memory_order_release);
          break;
        case 3:
          page.state.store(static_cast<uint32_t>(random()), std::memory_order_release);
          break;
        case 4:
          page.trapped.store(random() % 2, std::memory_order_relaxed);
          page.after.store(random(), std::memory_order_relaxed);
          break;
        case 5:
          page.serving.store(static_cast<uint32_t>(random()), std::memory_order_relaxed);
          page.mode.store(static_cast<uint32_t>(random()), std::memory_order_relaxed);
          break;
        default:
          page.state.store(CallPage::kPosted, std::memory_order_release);
      }
    }
    vcpu.Leave();
    if (round % 16 == 0) fixture.Wake();
  }
}

// Calls as the stub makes them; each is answered once, and rightly.
uint64_t CallHonestly(VcpuOfTest& vcpu, Fixture& fixture) {
  CallPage& page = vcpu.page;
  uint64_t answered = 0;
  for (uint64_t round = 1; round <= kRounds; ++round) {
    vcpu.Enter();
    page.rax.store(round % 7 == 0 ? kRefused : round, std::memory_order_relaxed);
    for (uint64_t i = 0; i < 6; ++i) page.args[i].store(round * i, std::memory_order_relaxed);
    page.trapped.store(0, std::memory_order_relaxed);
    page.state.store(CallPage::kPosted, std::memory_order_release);
    for (int i = 0; i < 2000; ++i) {
      if (page.state.load(std::memory_order_acquire) != CallPage::kPosted) break;
      CpuRelax();
    }
    vcpu.Leave();
    // Also an answer that came after the last look counts.
    if (page.state.load(std::memory_order_acquire) == CallPage::kDone) {
      uint64_t sum = round;
      for (uint64_t i = 0; i < 6; ++i) sum = sum * 31 + round * i;
      if (page.rax.load(std::memory_order_relaxed) != sum) vcpu.kernel.wrong = true;
      ++answered;
    }
    if (round % 16 == 0) fixture.Wake();
  }
  return answered;
}

TEST_CASE("guests that write their pages during service disturb nobody but themselves") {
  Fixture fixture;
  fixture.Wake();
  uint64_t answered = 0;
  {
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < Fixture::kVcpus; ++i) {
      threads.emplace_back([&fixture, i] { Attack(fixture.vcpus[i], fixture, i); });
    }
    threads.emplace_back([&] { answered = CallHonestly(fixture.vcpus[0], fixture); });
    for (std::thread& thread : threads) thread.join();
  }
  uint64_t served = 0;
  for (const VcpuOfTest& vcpu : fixture.vcpus) {
    CHECK_FALSE(vcpu.kernel.wrong);
    served += vcpu.kernel.served;
  }
  CHECK(answered == fixture.vcpus[0].kernel.served);
  CHECK(fixture.stats.exitless_calls == served);
  CHECK(served > 0);
}

// While the service thread waits for a CPU, guests stop to post. It used to look at their pages for
// 12 ms after that, in vain, until it parked and was woken again.
TEST_CASE("guests that gave a service thread up post again when it is back") {
  Fixture fixture;
  bool again = false;
  for (int attempt = 0; attempt < 50 && !again;
       ++attempt) {  // it may park before, for want of calls
    while (!fixture.service.active()) fixture.Wake();
    for (uint64_t i = 0; i < Fixture::Policy().MaxUnserved(); ++i) fixture.service.OnNotServed();
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    while (!again && std::chrono::steady_clock::now() < end) again = fixture.service.active();
    while (fixture.service.active()) std::this_thread::yield();
  }
  CHECK(again);
}

}  // namespace
}  // namespace ringfence::kvm
