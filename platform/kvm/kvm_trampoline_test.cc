// Programs that abuse the trampoline hurt only themselves.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "platform/kvm/arch/x86_64/trampoline.h"
#include "platform/kvm/test_guest.h"

namespace ringfence::kvm {
namespace {

using platform::ArchState;
using platform::Context;
using platform::Exit;

bool IsDeprivileged(const platform::Platform& platform) {
  return platform.Describe().find("deprivileged") != std::string::npos;
}

class NoService : public platform::SyscallService {
 public:
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override {
    *result = static_cast<int64_t>(request.number);
    ++calls;
    return request.number % 3 != 0;
  }
  std::atomic<uint64_t> calls{0};
};

// Interrupts the context again and again.
class Kicker {
 public:
  Kicker(Context* context, int microseconds) {
    thread_ = std::thread([this, context, microseconds] {
      while (!stop_) {
        context->Interrupt();
        std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
      }
    });
  }
  ~Kicker() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void CheckWorks(platform::Platform& platform, Context& context) {
  TestGuest guest(&platform);
  guest.SetCode(Code()({0xb8, 7, 0, 0, 0})({0x0f, 0x05})({0xeb, 0xfe}));
  ArchState state = guest.Start();
  Exit exit = context.Switch(*guest.space, state, {.exitless = false});
  while (std::holds_alternative<platform::InterruptedExit>(exit)) {
    exit = context.Switch(*guest.space, state, {.exitless = false});
  }
  REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
  CHECK(state.orig_rax == 7);
}

// Jumps to every offset; returns the number of calls that came out.
uint64_t JumpEverywhere(platform::Platform& platform, Context& context, uint64_t seed) {
  std::mt19937_64 rng(seed);
  TestGuest guest(&platform);
  guest.SetCode(Code()({0xb8, 60, 0, 0, 0})({0x0f, 0x05})({0xeb, 0xfe}));
  uint64_t calls = 0;
  const uint64_t end = TrampolineTable(Flavour::kDeprivileged).end + 8;
  for (uint64_t offset = 0; offset < end; ++offset) {
    ArchState state;
    for (uint64_t* r : {&state.r15, &state.r14, &state.r13, &state.r12, &state.rbp, &state.rbx,
                        &state.r11, &state.r10, &state.r9, &state.r8, &state.rax, &state.rcx,
                        &state.rdx, &state.rsi, &state.rdi, &state.rsp}) {
      *r = rng();
    }
    if (offset % 2 == 0) state.rcx = kTestCode;
    if (offset % 3 == 0) state.rsp = kTestStack;
    state.rflags = (rng() & 0x240dd5) | 0x202;
    state.rip = kTrampolineCode.value() + offset;
    const Exit exit = context.Switch(*guest.space, state, {});
    INFO("offset " << offset);
    REQUIRE_FALSE(std::holds_alternative<platform::FatalExit>(exit));
    calls += std::holds_alternative<platform::SyscallExit>(exit);
  }
  return calls;
}

TEST_CASE("a jump to any offset with any registers ends, whatever the service thread does") {
  auto platform = NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  NoService service;
  auto context = MUST(platform->NewContext());  // tests have memory
  context->SetService(&service);
  CheckWorks(*platform, *context);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Kicker kicker(context.get(), seed % 2 == 0 ? 1000 : 150);
    const uint64_t calls = JumpEverywhere(*platform, *context, seed);
    if (IsDeprivileged(*platform)) {
      CHECK(calls > 0);
    } else {
      CHECK(calls == 0);  // every jump is a page fault there
    }
  }
  CheckWorks(*platform, *context);
  context.reset();
}

TEST_CASE("the trampoline's code cannot be written, a privileged one not even read") {
  TestGuest guest(&TestPlatform());
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  // mov [rdi], rax; syscall; mov rax, [rsi]; syscall
  guest.SetCode(Code()({0x0f, 0x05})({0x48, 0x89, 0x07})({0x0f, 0x05}));
  ArchState state = guest.Start();
  state.rdi = kTrampolineCode.value();
  Exit exit = context->Switch(*guest.space, state, {.exitless = false});
  REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
  exit = context->Switch(*guest.space, state, {.exitless = false});
  REQUIRE(std::holds_alternative<platform::FaultExit>(exit));
  CHECK(std::get<platform::FaultExit>(exit).access == Access::kWrite);
}

TEST_CASE("a sibling that scribbles over the data page confuses only its own process") {
  auto platform = NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  if (!IsDeprivileged(*platform)) return;
  TestGuest guest(platform.get());
  // caller at 0:    mov eax, r12d; syscall; jmp back
  // scribbler at 64: L: imul rax, r13; add rax, r14; mov [rdi], eax; inc byte [rdi + 64];
  //                  mov [rdi + 128], rax; shl eax, 28; mov [rdi + 64], al; jmp L
  guest.SetCode(Code()({0x44, 0x89, 0xe0})({0x0f, 0x05})({0xeb, 0xf9}), 0);
  guest.SetCode(
      Code()({0x49, 0x0f, 0xaf, 0xc5})({0x4c, 0x01, 0xf0})({0x89, 0x47, 0x04})({0xfe, 0x47, 0x40})(
          {0x48, 0x89, 0x87, 0x80, 0, 0, 0})({0x88, 0x47, 0x40})({0xeb, 0xe6}),
      64);
  NoService service;
  auto caller = MUST(platform->NewContext());     // tests have memory
  auto scribbler = MUST(platform->NewContext());  // tests have memory
  caller->SetService(&service);
  {
    // The caller takes vCPU 0 first.
    ArchState state = guest.Start();
    CHECK(std::holds_alternative<platform::SyscallExit>(
        caller->Switch(*guest.space, state, {.exitless = false})));
  }
  std::atomic<bool> stop{false};
  std::thread other([&] {
    ArchState state = guest.Start(64);
    state.rdi = kTrampolineData.value();
    state.r13 = 6364136223846793005u;
    state.r14 = 1442695040888963407u;
    while (!stop) {
      const Exit exit = scribbler->Switch(*guest.space, state, {});
      CHECK_FALSE(std::holds_alternative<platform::FatalExit>(exit));
      if (std::holds_alternative<platform::FaultExit>(exit)) break;
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(600);
  uint64_t exits = 0;
  {
    const Kicker kick_caller(caller.get(), 300);
    ArchState state = guest.Start();
    state.r12 = 100;
    while (std::chrono::steady_clock::now() < end) {
      const Exit exit = caller->Switch(*guest.space, state, {});
      CHECK_FALSE(std::holds_alternative<platform::FatalExit>(exit));
      ++exits;
      if (!std::holds_alternative<platform::SyscallExit>(exit) &&
          !std::holds_alternative<platform::InterruptedExit>(exit)) {
        state = guest.Start();  // it has jumped somewhere: its own doing
        state.r12 = 100;
      }
    }
  }
  stop = true;
  scribbler->Interrupt();
  other.join();
  CHECK(exits > 0);
  CheckWorks(*platform, *caller);
  caller.reset();
  scribbler.reset();
}

}  // namespace
}  // namespace ringfence::kvm
