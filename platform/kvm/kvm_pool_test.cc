// More guest threads than vCPUs.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "platform/kvm/test_guest.h"

namespace ringfence::kvm {
namespace {

using platform::ArchState;
using platform::Context;
using platform::Exit;

TEST_CASE("20 threads on 2 vCPUs make progress and keep their registers") {
  auto platform = NewTestPlatform({.max_vcpus = 2});
  TestGuest guest(platform.get());
  // L: movq xmm3, r12; mov ecx, 5000; W: dec ecx; jnz W; mov eax, 39; syscall; movq r13, xmm3;
  //    cmp r13, r12; jne bad; mov r13, fs:[0]; cmp r13, r12; jne bad; dec r15; jnz L;
  //    mov eax, 60; syscall; bad: ud2
  Code code;
  code({0x66, 0x49, 0x0f, 0x6e, 0xdc})({0xb9}).Imm32(5000)({0xff, 0xc9})({0x75, 0xfc})(
      {0xb8, 39, 0, 0, 0})({0x0f, 0x05})({0x66, 0x49, 0x0f, 0x7e, 0xdd})({0x4d, 0x39, 0xe5})(
      {0x75, 0x1a})({0x64, 0x4c, 0x8b, 0x2c, 0x25, 0, 0, 0, 0})({0x4d, 0x39, 0xe5})({0x75, 0x0c})(
      {0x49, 0xff, 0xcf})({0x75, 0xce})({0xb8, 60, 0, 0, 0})({0x0f, 0x05})({0x0f, 0x0b});
  guest.SetCode(code);
  constexpr int kThreads = 20;
  constexpr int kRounds = 40;
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const uint64_t value = 0x1000 + t;
      std::memcpy(guest.data() + t * 64, &value, 8);
      auto context = MUST(platform->NewContext());  // tests have memory
      ArchState state = guest.Start();
      state.r12 = value;
      state.r15 = kRounds;
      state.fs_base = kTestData + t * 64;
      for (int calls = 0;; ++calls) {
        const Exit exit = context->Switch(*guest.space, state, {});
        if (!std::holds_alternative<platform::SyscallExit>(exit)) break;
        if (state.orig_rax == 60) {
          good += calls == kRounds;
          break;
        }
        // Some of them block now and then.
        if (calls % 16 == t % 16) {
          context->Release();
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        state.rax = 0;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(good == kThreads);
  CHECK(platform->GetCounters().vcpu_handovers > 0);
}

TEST_CASE("threads that never make a call share a vCPU and can be stopped") {
  auto platform = NewTestPlatform({.max_vcpus = 1});
  TestGuest guest(platform.get());
  // L: inc qword [rdi]; jmp L
  guest.SetCode(Code()({0x48, 0xff, 0x07})({0xeb, 0xfb}));
  constexpr int kThreads = 4;
  std::vector<std::unique_ptr<Context>> contexts;
  for (int t = 0; t < kThreads; ++t) {
    contexts.push_back(MUST(platform->NewContext()));  // tests have memory
  }
  std::atomic<int> stopped{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ArchState state = guest.Start();
      state.rdi = kTestData + t * 64;
      const Exit exit = contexts[t]->Switch(*guest.space, state, {});
      stopped += std::holds_alternative<platform::InterruptedExit>(exit);
    });
  }
  const auto counter = [&guest](int t) {
    uint64_t value;
    std::memcpy(&value, guest.data() + t * 64, 8);
    return value;
  };
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < 1000 && counter(t) == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(counter(t) > 0);
  }
  for (auto& context : contexts) context->Interrupt();
  for (std::thread& t : threads) t.join();
  CHECK(stopped == kThreads);
  contexts.clear();
}

TEST_CASE("a context can go away whoever has its vCPU") {
  auto platform = NewTestPlatform({.max_vcpus = 2});
  TestGuest guest(platform.get());
  guest.SetCode(Code()({0x0f, 0x05})({0xeb, 0xfc}));
  constexpr int kLives = 20;
  std::vector<std::thread> threads;
  std::atomic<int> calls{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kLives; ++i) {
        auto context = MUST(platform->NewContext());  // tests have memory
        ArchState state = guest.Start();
        for (int n = 0; n < 4; ++n) {
          if (std::holds_alternative<platform::SyscallExit>(
                  context->Switch(*guest.space, state, {}))) {
            ++calls;
          }
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(calls == 4 * kLives * 4);
}

}  // namespace
}  // namespace ringfence::kvm
