// Does the exitless policy do what it promises? N guest threads make calls with some computing in
// between, with exitless off, auto and on; interleaved slices, calls per second of all threads.
//
// Usage: exitless_bench [SLICES [MILLISECONDS]]; exits with 77 without KVM.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "platform/kvm/test_guest.h"

namespace ringfence::kvm {
namespace {

using platform::ExitlessMode;

class GetpidService : public platform::SyscallService {
 public:
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override {
    *result = 1;
    return request.number == 39;
  }
};

// A platform with threads that make calls while told to.
class Load {
 public:
  Load(ExitlessMode mode, int threads, uint32_t work)
      : platform_(NewTestPlatform({.exitless = mode})), guest_(platform_.get()) {
    // L: mov ecx, work; W: dec ecx; jnz W; mov eax, 39; syscall; inc qword [rdi]; jmp L
    guest_.SetCode(Code()({0xb9}).Imm32(work)({0xff, 0xc9, 0x75, 0xfc})({0xb8, 39, 0, 0, 0})(
        {0x0f, 0x05})({0x48, 0xff, 0x07})({0xeb, 0xeb}));
    for (int t = 0; t < threads; ++t) {
      contexts_.push_back(MUST(platform_->NewContext()));  // fresh memory
      contexts_.back()->SetService(&service_);
      states_.push_back(guest_.Start());
      states_.back().rdi = kTestData + static_cast<uint64_t>(t) * 64;
    }
  }

  // Calls per second.
  double Run(int milliseconds) {
    const uint64_t before = Calls();
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    const auto start = std::chrono::steady_clock::now();
    for (size_t t = 0; t < contexts_.size(); ++t) {
      threads.emplace_back([this, &stop, t] {
        while (!stop) {
          contexts_[t]->Switch(*guest_.space, states_[t], {});
          states_[t].rax = 1;
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    stop = true;
    for (auto& context : contexts_) context->Interrupt();
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return static_cast<double>(Calls() - before) / took.count();
  }

 private:
  uint64_t Calls() {
    uint64_t sum = 0;
    for (size_t t = 0; t < contexts_.size(); ++t) {
      uint64_t n;
      std::memcpy(&n, guest_.data() + t * 64, 8);
      sum += n;
    }
    return sum;
  }

  std::unique_ptr<platform::Platform> platform_;
  TestGuest guest_;
  GetpidService service_;
  std::vector<std::unique_ptr<platform::Context>> contexts_;
  std::vector<platform::ArchState> states_;
};

double Median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + v.size() / 2, v.end());
  return v[v.size() / 2];
}

int Main(int slices, int milliseconds) {
  std::printf("threads  work ns    off/s     auto/s      on/s   auto:off  on:off\n");
  for (uint32_t work : {1u, 20000u, 200000u}) {
    for (int threads : {1, 2, 3, 4}) {
      std::unique_ptr<Load> loads[3];
      std::vector<double> rates[3];
      int m = 0;
      for (ExitlessMode mode : {ExitlessMode::kOff, ExitlessMode::kAuto, ExitlessMode::kOn}) {
        loads[m++] = std::make_unique<Load>(mode, threads, work);
      }
      for (int i = 0; i < slices; ++i) {
        for (m = 0; m < 3; ++m) rates[m].push_back(loads[m]->Run(milliseconds));
      }
      const double off = Median(rates[0]), automatic = Median(rates[1]), on = Median(rates[2]);
      std::printf("%7d %8.0f %9.0f %9.0f %9.0f %8.2f %8.2f\n", threads, work * 0.4, off, automatic,
                  on, automatic / off, on / off);
    }
  }
  return 0;
}

}  // namespace
}  // namespace ringfence::kvm

int main(int argc, char** argv) {
  const int slices = argc > 1 ? std::atoi(argv[1]) : 5;
  const int milliseconds = argc > 2 ? std::atoi(argv[2]) : 200;
  return ringfence::kvm::Main(std::max(slices, 1), std::max(milliseconds, 10));
}
