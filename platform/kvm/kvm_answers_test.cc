// Calls that a guest answers itself: registers, changes while it runs, who sees what.
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

constexpr uint64_t kNumber = 39;
constexpr size_t kPad = 100;  // in the page of code: where a call site's far jump is
constexpr uint64_t kFlagTf = 0x100;

std::unique_ptr<Context> NewContext(platform::Platform& platform = TestPlatform()) {
  return MUST(platform.NewContext());  // tests have memory
}

// Turns the SYSCALL at `at` into a call site; false where there are none.
bool SetCallSite(TestGuest& guest, size_t at) {
  const auto slot = guest.space->AddCallSite(
      {VirtAddr(kTestCode + at + 2), VirtAddr(kTestCode + kPad), std::nullopt});
  if (!slot.ok()) return false;
  guest.SetCode(Code()({0xeb, static_cast<uint8_t>(kPad - at - 2)}), at);
  guest.SetCode(Code()({0xff, 0x24, 0x25}).Imm32(*slot), kPad);
  return true;
}

// Runs until something but a call exits. Some calls that trap exit although the answer is known:
// they get `answer`.
Exit RunOn(Context& context, TestGuest& guest, ArchState& state, uint32_t answer,
           uint64_t* exits = nullptr) {
  for (;;) {
    Exit exit = context.Switch(*guest.space, state, {});
    if (std::holds_alternative<platform::InterruptedExit>(exit)) continue;
    if (!std::holds_alternative<platform::SyscallExit>(exit)) return exit;
    REQUIRE(state.orig_rax == kNumber);
    state.rax = answer;
    if (exits != nullptr) ++*exits;
  }
}

TEST_CASE("an answered call is to the program what SYSCALL is") {
  const bool site = GENERATE(false, true);
  TestGuest guest(&TestPlatform());
  guest.SetCode(Code()({0xb8, kNumber, 0, 0, 0})({0x0f, 0x05})({0x0f, 0x0b}));  // ...; ud2
  if (site && !SetCallSite(guest, 5)) return;
  auto context = NewContext();
  context->SetAnswer(kNumber, 0x89abcdef);
  for (int round = 0; round < 20; ++round) {
    std::memset(guest.data(), 0x5a, kTestDataPages * kPageSize);
    ArchState state = guest.Start();
    uint64_t value = 0x1111111111111111;
    for (uint64_t* r : {&state.r15, &state.r14, &state.r13, &state.r12, &state.rbp, &state.rbx,
                        &state.r10, &state.r9, &state.r8, &state.rdx, &state.rsi, &state.rdi}) {
      *r = value;
      value += 0x1111111111111111;
    }
    state.rflags = round % 2 == 0 ? 0x40ed7 & ~kFlagTf : 0x202;  // AC, OF, DF, SF, ZF, AF, PF, CF
    const ArchState before = state;
    const Exit exit = RunOn(*context, guest, state, 0x89abcdef);
    REQUIRE(std::holds_alternative<platform::ExceptionExit>(exit));
    CHECK(state.rip == kTestCode + 7);
    CHECK(state.rax == 0x89abcdef);
    CHECK(state.rcx == kTestCode + 7);
    CHECK(state.r11 == before.rflags);
    CHECK((state.rflags & ~uint64_t{0x10000}) == before.rflags);  // but RF, of the exception
    for (const auto reg :
         {&ArchState::rsp, &ArchState::rbp, &ArchState::rbx, &ArchState::rdi, &ArchState::rsi,
          &ArchState::rdx, &ArchState::r8, &ArchState::r9, &ArchState::r10, &ArchState::r12,
          &ArchState::r13, &ArchState::r14, &ArchState::r15}) {
      CHECK(state.*reg == before.*reg);
    }
    for (size_t i = 0; i < kTestDataPages * kPageSize; ++i) {
      REQUIRE(guest.data()[i] == std::byte{0x5a});
    }
  }
}

// L: mov eax, 39; (call); add rbx, rax; dec r15; jnz L; ud2
void SetSumLoop(TestGuest& guest) {
  guest.SetCode(Code()({0xb8, kNumber, 0, 0, 0})({0x0f, 0x05})({0x48, 0x01, 0xc3})(
      {0x49, 0xff, 0xcf})({0x75, 0xf1})({0x0f, 0x0b}));
}

TEST_CASE("calls of a call site never exit; of those that trap, some do") {
  TestGuest guest(&TestPlatform());
  SetSumLoop(guest);
  auto context = NewContext();
  context->SetAnswer(kNumber, 3);
  uint64_t exits = 0;
  ArchState state = guest.Start();
  state.r15 = 4000;
  RunOn(*context, guest, state, 3, &exits);
  CHECK(state.rbx == 3 * 4000);
  const bool deprivileged = TestPlatform().Describe().find("deprivileged") != std::string::npos;
  constexpr uint64_t kFirst = SAMPLE_FIRST_END / SAMPLE_FIRST;
  if (deprivileged) {
    CHECK(exits >= kFirst);
    CHECK(exits <= kFirst + 4000 / SAMPLE_LATER);
  } else {
    CHECK(exits == 0);
  }
  if (!SetCallSite(guest, 5)) return;
  exits = 0;
  state = guest.Start();
  state.r15 = 100000;
  RunOn(*context, guest, state, 3, &exits);
  CHECK(state.rbx == 3 * 100000);
  CHECK(exits == 0);
}

TEST_CASE("other numbers ask, whatever is in the register's upper half") {
  const bool site = GENERATE(false, true);
  TestGuest guest(&TestPlatform());
  guest.SetCode(Code()({0x48, 0x89, 0xd8})({0x0f, 0x05})({0x0f, 0x0b}));  // mov rax, rbx; ...
  if (site && !SetCallSite(guest, 3)) return;
  auto context = NewContext();
  context->SetAnswer(kNumber, 3);
  for (const uint64_t number :
       {uint64_t{0}, kNumber - 1, kNumber + 1, uint64_t{ANSWER_LAST}, uint64_t{ANSWER_LAST + 1},
        uint64_t{1} << 32 | kNumber, uint64_t{1} << 63 | kNumber, kNumber << 3, ~uint64_t{0},
        -uint64_t{ANSWER_PAGE} / 8, uint64_t{0x8000000000000000}}) {
    ArchState state = guest.Start();
    state.rbx = number;
    REQUIRE(std::holds_alternative<platform::SyscallExit>(
        context->Switch(*guest.space, state, {.exitless = false})));
    CHECK(state.orig_rax == number);
    CHECK(state.rbx == number);
  }
}

TEST_CASE("what changes while the guest runs is seen at once") {
  TestGuest guest(&TestPlatform());
  // L: mov eax, 39; (call); mov [rdi], eax; cmp byte [rsi], 0; je L; ud2
  guest.SetCode(Code()({0xb8, kNumber, 0, 0, 0})({0x0f, 0x05})({0x89, 0x07})({0x80, 0x3e, 0x00})(
      {0x74, 0xf2})({0x0f, 0x0b}));
  SetCallSite(guest, 5);
  auto context = NewContext();
  auto* const seen = reinterpret_cast<std::atomic<uint32_t>*>(guest.data());
  auto* const stop = reinterpret_cast<std::atomic<uint32_t>*>(guest.data() + 64);
  std::atomic<uint32_t> answer{1};
  context->SetAnswer(kNumber, 1);
  std::atomic<uint64_t> exits{0};
  std::thread runner([&] {
    ArchState state = guest.Start();
    state.rdi = kTestData;
    state.rsi = kTestData + 64;
    for (;;) {
      const Exit exit = context->Switch(*guest.space, state, {.exitless = false});
      if (std::holds_alternative<platform::ExceptionExit>(exit)) return;
      ++exits;
      state.rax = answer.load();
    }
  });
  const auto wait_for = [&](uint32_t value) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (seen->load() != value && std::chrono::steady_clock::now() < end) {
    }
    CHECK(seen->load() == value);
  };
  for (uint32_t value = 1; value < 5000; ++value) {
    answer = value;
    context->SetAnswer(kNumber, value);
    wait_for(value);
  }
  context->EnableAnswers(false);
  answer = 6000;
  wait_for(6000);
  const uint64_t before = exits;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (exits < before + 100 && std::chrono::steady_clock::now() < end) {
  }
  CHECK(exits >= before + 100);
  context->EnableAnswers(true);
  wait_for(4999);
  context->SetAnswer(kNumber, std::nullopt);
  wait_for(6000);
  stop->store(1);
  runner.join();
}

TEST_CASE("contexts that share a vCPU, kicked or not, have their own answers or none") {
  auto platform = NewTestPlatform({.max_vcpus = 1});
  TestGuest guest(platform.get());
  SetSumLoop(guest);
  SetCallSite(guest, 5);
  constexpr uint64_t kRounds = 300000;
  const auto run = [&](Context* context, uint32_t addend, uint64_t rounds) {
    ArchState state = guest.Start();
    state.r15 = rounds;
    RunOn(*context, guest, state, addend);
    CHECK(state.rbx == addend * rounds);
  };
  auto one = NewContext(*platform), two = NewContext(*platform), three = NewContext(*platform);
  one->SetAnswer(kNumber, 1);
  two->SetAnswer(kNumber, 2);
  std::atomic<bool> stop{false};
  std::thread kicker([&] {
    while (!stop) {
      one->Interrupt();
      two->Interrupt();
      std::this_thread::sleep_for(std::chrono::microseconds(211));
    }
  });
  std::thread second([&] { run(two.get(), 2, kRounds); });
  std::thread third([&] { run(three.get(), 5, 1000); });
  run(one.get(), 1, kRounds);
  second.join();
  third.join();
  stop = true;
  kicker.join();
}

TEST_CASE("a single step over an answered call is one over a call") {
  const bool site = GENERATE(false, true);
  TestGuest guest(&TestPlatform());
  SetSumLoop(guest);
  if (site && !SetCallSite(guest, 5)) return;
  auto context = NewContext();
  context->SetAnswer(kNumber, 3);
  ArchState state = guest.Start();
  state.rflags |= kFlagTf;
  const Exit step = context->Switch(*guest.space, state, {});  // mov eax, 39
  REQUIRE(std::holds_alternative<platform::ExceptionExit>(step));
  REQUIRE(state.rip == kTestCode + 5);
  const Exit call = context->Switch(*guest.space, state, {});
  REQUIRE(std::holds_alternative<platform::SyscallExit>(call));
  CHECK(state.rip == kTestCode + 7);
  CHECK((state.rflags & kFlagTf) != 0);
}

TEST_CASE("no program can write the page of answers") {
  TestGuest guest(&TestPlatform());
  guest.SetCode(Code()({0x48, 0x89, 0x07})({0x0f, 0x0b}));  // mov [rdi], rax; ud2
  auto context = NewContext();
  context->SetAnswer(kNumber, 3);
  for (uint64_t offset = 0; offset < kPageSize; offset += 8) {
    ArchState state = guest.Start();
    state.rdi = kTrampolineAnswers.value() + offset;
    const Exit exit = context->Switch(*guest.space, state, {.exitless = false});
    REQUIRE(std::holds_alternative<platform::FaultExit>(exit));
    CHECK(std::get<platform::FaultExit>(exit).access == Access::kWrite);
  }
}

}  // namespace
}  // namespace ringfence::kvm
