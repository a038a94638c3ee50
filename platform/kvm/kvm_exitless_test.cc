// Calls that a service thread answers while the guest runs on.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "platform/kvm/arch/x86_64/trampoline.h"
#include "platform/kvm/test_guest.h"

namespace ringfence::kvm {
namespace {

using platform::ArchState;
using platform::Context;
using platform::Exit;

// Answers 39 with the sum of its arguments plus a serial number in the upper half.
class Adder : public platform::SyscallService {
 public:
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override {
    if (busy.exchange(true)) overlaps++;
    bool known = request.number == 39;
    if (known) {
      *result = 0;
      for (uint64_t arg : request.args) *result += static_cast<int64_t>(arg);
      calls++;
    }
    if (delay_us != 0) std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
    busy = false;
    return known;
  }
  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> overlaps{0};
  std::atomic<bool> busy{false};
  std::atomic<int> delay_us{0};
};

// L: mov eax, 39; syscall; add rbx, rax; dec r15; jnz L; mov eax, 60; syscall
Code SumLoop() {
  return Code()({0xb8, 39, 0, 0, 0})({0x0f, 0x05})({0x48, 0x01, 0xc3})({0x49, 0xff, 0xcf})(
      {0x75, 0xf1})({0xb8, 60, 0, 0, 0})({0x0f, 0x05});
}

// Serves what exits as Adder would until call 60; returns how many exits that were.
uint64_t RunToEnd(Context& context, TestGuest& guest, ArchState& state) {
  uint64_t exits = 0;
  for (;;) {
    const Exit exit = context.Switch(*guest.space, state, {});
    if (std::holds_alternative<platform::InterruptedExit>(exit)) continue;
    REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
    if (state.orig_rax == 60) return exits;
    REQUIRE(state.orig_rax == 39);
    ++exits;
    state.rax = state.rdi + state.rsi + state.rdx + state.r10 + state.r8 + state.r9;
  }
}

// A guest whose calls `adder` answers from the service thread.
struct ExitlessGuest {
  explicit ExitlessGuest(const Code& code) : guest(platform.get()) {
    guest.SetCode(code);
    context = MUST(platform->NewContext());  // tests have memory
    context->SetService(&adder);
  }
  uint64_t Run(ArchState& state) { return RunToEnd(*context, guest, state); }

  std::unique_ptr<platform::Platform> platform =
      NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  TestGuest guest;
  Adder adder;
  std::unique_ptr<Context> context;
};

ArchState SumState(const TestGuest& guest, uint64_t rounds) {
  ArchState state = guest.Start();
  state.rdi = 1;
  state.rsi = 2;
  state.rdx = 3;
  state.r10 = 4;
  state.r8 = 5;
  state.r9 = 6;
  state.r15 = rounds;
  return state;
}

TEST_CASE("calls are answered without an exit and each exactly once") {
  ExitlessGuest f(SumLoop());
  ArchState state = SumState(f.guest, 50000);
  const uint64_t exits = f.Run(state);
  CHECK(state.rbx == 50000 * 21);
  CHECK(f.adder.calls + exits == 50000);
  CHECK(f.adder.calls > 0);  // how many depends on who else wants the CPUs
  CHECK(f.adder.overlaps == 0);
  CHECK(f.platform->GetCounters().exitless_calls == f.adder.calls);
}

TEST_CASE("kicks while calls are in every state of progress lose and double nothing") {
  ExitlessGuest f(SumLoop());
  std::atomic<bool> stop{false};
  std::thread kicker([&] {
    unsigned seed = 1;
    while (!stop) {
      f.context->Interrupt();
      std::this_thread::sleep_for(std::chrono::microseconds(rand_r(&seed) % 100));
    }
  });
  ArchState state = SumState(f.guest, 20000);
  const uint64_t exits = f.Run(state);
  stop = true;
  kicker.join();
  CHECK(state.rbx == 20000 * 21);
  CHECK(f.adder.calls + exits == 20000);
  CHECK(f.adder.overlaps == 0);
}

TEST_CASE("a kick during a long answer waits for it and keeps its result") {
  ExitlessGuest f(SumLoop());
  ArchState state = SumState(f.guest, 2000);
  f.Run(state);  // the service thread is awake now
  f.adder.calls = 0;
  f.adder.delay_us = 2000;
  state = SumState(f.guest, 50);
  std::atomic<bool> stop{false};
  std::thread kicker([&] {
    while (!stop) {
      f.context->Interrupt();
      std::this_thread::sleep_for(std::chrono::microseconds(700));
    }
  });
  const uint64_t exits = f.Run(state);
  stop = true;
  kicker.join();
  CHECK(state.rbx == 50 * 21);
  CHECK(f.adder.calls + exits == 50);
}

TEST_CASE("a call that the service thread cannot answer exits with its registers") {
  // L: mov eax, 39; syscall; mov eax, 1; syscall; dec r15; jnz L; mov eax, 60; syscall
  ExitlessGuest f(Code()({0xb8, 39, 0, 0, 0})({0x0f, 0x05})({0xb8, 1, 0, 0, 0})({0x0f, 0x05})(
      {0x49, 0xff, 0xcf})({0x75, 0xed})({0xb8, 60, 0, 0, 0})({0x0f, 0x05}));
  // On a busy machine the service thread may not get a CPU for a while.
  for (int round = 0; round < 50 && f.platform->GetCounters().exitless_punts == 0; ++round) {
    ArchState state = SumState(f.guest, 2000);
    uint64_t ones = 0;
    for (;;) {
      const Exit exit = f.context->Switch(*f.guest.space, state, {});
      REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
      if (state.orig_rax == 60) break;
      if (state.orig_rax == 1) {
        ++ones;
        REQUIRE(state.rip == kTestCode + 14);
        REQUIRE(state.rdi == 1);
        REQUIRE(state.r9 == 6);
      }
      state.rax = 0;
    }
    CHECK(ones == 2000);
  }
  CHECK(f.platform->GetCounters().exitless_punts > 0);
}

TEST_CASE("an answer that comes when the stub has given up is the answer") {
  ExitlessGuest f(SumLoop());
  if (f.platform->Describe().find("deprivileged") == std::string::npos) return;
  // As if the service thread had answered between the stub's last look and its OUT:
  // L: mov dword [rdi + state], kDone; mov qword [rdi + rax], 7; lea rcx, [rip + 2]; jmp rsi;
  // add rbx, rax; dec r15; jnz L; mov eax, 60; syscall
  f.guest.SetCode(Code()({0xc7, 0x47, CALL_PAGE_STATE, CallPage::kDone, 0, 0, 0})(
      {0x48, 0xc7, 0x47, CALL_PAGE_RAX, 7, 0, 0, 0})({0x48, 0x8d, 0x0d, 2, 0, 0, 0})({0xff, 0xe6})(
      {0x48, 0x01, 0xc3})({0x49, 0xff, 0xcf})({0x75, 0xe0})({0xb8, 60, 0, 0, 0})({0x0f, 0x05}));
  uint64_t late = 0;
  // Calls are posted once the service thread is awake, which these exits ask for.
  for (int round = 0; round < 50 && late == 0; ++round) {
    ArchState state = f.guest.Start();
    state.rdi = kTrampolineData.value();
    state.rsi = kTrampolineCode.value() + TrampolineTable(Flavour::kDeprivileged).exit;
    state.r11 = 0x202;
    state.r15 = 200;
    const uint64_t before = f.platform->GetCounters().exits_other;
    uint64_t exits = 0;
    for (;;) {
      const Exit exit = f.context->Switch(*f.guest.space, state, {});
      REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
      if (state.orig_rax == 60) break;
      ++exits;
      state.rax = 7;
    }
    CHECK(state.rbx == 200 * 7);
    late = f.platform->GetCounters().exits_other - before;
    CHECK(late + exits >= 200);  // more where KVM_RUN returned for nothing meanwhile
  }
  CHECK(late > 0);
}

TEST_CASE("the service thread parks when calls stop, and mode off has none") {
  ExitlessGuest f(SumLoop());
  ArchState state = SumState(f.guest, 2000);
  f.Run(state);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const uint64_t spun = f.platform->GetCounters().spin_ns;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(f.platform->GetCounters().spin_ns == spun);

  auto off = NewTestPlatform({.exitless = platform::ExitlessMode::kOff});
  TestGuest other(off.get());
  other.SetCode(SumLoop());
  auto plain = MUST(off->NewContext());  // tests have memory
  plain->SetService(&f.adder);
  state = SumState(other, 500);
  CHECK(RunToEnd(*plain, other, state) == 500);
  CHECK(off->GetCounters().exitless_calls == 0);
  plain.reset();
}

}  // namespace
}  // namespace ringfence::kvm
