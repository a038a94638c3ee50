// Calls that come to the trampoline by a jump instead of the SYSCALL instruction.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "platform/kvm/arch/x86_64/call_stubs.h"
#include "platform/kvm/test_guest.h"

namespace ringfence::kvm {
namespace {

using platform::ArchState;
using platform::Context;
using platform::Exit;

constexpr uint64_t kFlagTf = 0x100;
constexpr size_t kPad = 100;  // in the page of code: where the far jump is

bool HasCallSites(platform::Platform& platform) {
  TestGuest guest(&platform);
  const auto site =
      guest.space->AddCallSite({VirtAddr(kTestCode), VirtAddr(kTestCode + kPad), std::nullopt});
  if (!site.ok()) REQUIRE(site.error() == Errno::kNOSYS);
  return site.ok();
}

// Puts a call site at `at`, two bytes, and its far jump at `pad`.
void SetCallSite(TestGuest& guest, size_t at, size_t pad = kPad) {
  const uint32_t slot = MUST(guest.space->AddCallSite(
      {VirtAddr(kTestCode + at + 2), VirtAddr(kTestCode + pad), std::nullopt}));  // room
  guest.SetCode(Code()({0xeb, static_cast<uint8_t>(pad - at - 2)}), at);
  guest.SetCode(Code()({0xff, 0x24, 0x25}).Imm32(slot), pad);
}

// Replaces `mov eax, number; syscall` at `at`.
void SetLoadingCallSite(TestGuest& guest, size_t at, uint32_t number) {
  const uint32_t slot = MUST(guest.space->AddCallSite(
      {VirtAddr(kTestCode + at + 7), VirtAddr(kTestCode + at), number}));  // room
  CHECK(slot >> 16 == 0x80cd);
  guest.SetCode(Code()({0xff, 0x24, 0x25}).Imm32(slot), at);
}

enum class Kind { kPadding, kLoad };

// L: mov eax, 39; (call); add rbx, rax; dec r15; jnz L; mov eax, 60; syscall
void SetSumLoop(TestGuest& guest, Kind kind = Kind::kPadding) {
  guest.SetCode(Code()({0xb8, 39, 0, 0, 0})({0x0f, 0x05})({0x48, 0x01, 0xc3})({0x49, 0xff, 0xcf})(
      {0x75, 0xf1})({0xb8, 60, 0, 0, 0})({0x0f, 0x05}));
  if (kind == Kind::kPadding) {
    SetCallSite(guest, 5);
  } else {
    SetLoadingCallSite(guest, 0, 39);
  }
}

// Answers 39 with rdi + rsi.
class Adder : public platform::SyscallService {
 public:
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override {
    if (request.number != 39) return false;
    if (request.trapped_after != 0) trapped++;
    *result = static_cast<int64_t>(request.args[0] + request.args[1]);
    calls++;
    return true;
  }
  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> trapped{0};
};

// Serves what exits as Adder would until call 60.
void RunToEnd(Context& context, platform::AddressSpace& space, ArchState& state,
              bool exitless = true) {
  for (;;) {
    const Exit exit = context.Switch(space, state, {.exitless = exitless});
    if (std::holds_alternative<platform::InterruptedExit>(exit)) continue;
    REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
    if (state.orig_rax == 60) return;
    REQUIRE(state.orig_rax == 39);
    CHECK_FALSE(std::get<platform::SyscallExit>(exit).trapped);
    CHECK(state.rip == kTestCode + 7);
    state.rax = state.rdi + state.rsi;
  }
}

TEST_CASE("a call site is to the program what SYSCALL is") {
  if (!HasCallSites(TestPlatform())) return;
  TestGuest guest(&TestPlatform());
  guest.SetCode(Code()({0xb8, 39, 0, 0, 0})({0x0f, 0x05})({0x0f, 0x05}));
  SetCallSite(guest, 5);
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  std::memset(guest.data(), 0x5a, kTestDataPages * kPageSize);
  ArchState state = guest.Start();
  uint64_t value = 0x1111111111111111;
  for (uint64_t* r : {&state.r15, &state.r14, &state.r13, &state.r12, &state.rbp, &state.rbx,
                      &state.r10, &state.r9, &state.r8, &state.rdx, &state.rsi, &state.rdi}) {
    *r = value;
    value += 0x1111111111111111;
  }
  state.rflags = 0x40ed7 & ~kFlagTf;  // AC, OF, DF, SF, ZF, AF, PF, CF
  const ArchState before = state;
  for (int i = 0; i < 2; ++i) {
    const Exit exit = context->Switch(*guest.space, state, {.exitless = false});
    REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
    CHECK(std::get<platform::SyscallExit>(exit).trapped == (i == 1));
    CHECK(state.orig_rax == 39);
    CHECK(state.rip == kTestCode + 7 + 2 * i);
    CHECK(state.rcx == state.rip);
    CHECK(state.r11 == before.rflags);
    CHECK(state.rflags == before.rflags);
    CHECK(state.rsp == before.rsp);
    CHECK(state.rbp == before.rbp);
    CHECK(state.r15 == before.r15);
    CHECK(state.rdi == before.rdi);
    CHECK(state.r9 == before.r9);
    state.rax = 39;
  }
  for (size_t i = 0; i < kTestDataPages * kPageSize; ++i) {
    REQUIRE(guest.data()[i] == std::byte{0x5a});  // the stack's red zone above all
  }
}

TEST_CASE("a service thread answers calls of a call site, and is told which calls trap") {
  auto platform = NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  if (!HasCallSites(*platform)) return;
  for (const bool site : {true, false}) {
    TestGuest guest(platform.get());
    SetSumLoop(guest);
    if (!site) guest.SetCode(Code()({0x0f, 0x05}), 5);
    Adder adder;
    auto context = MUST(platform->NewContext());  // tests have memory
    context->SetService(&adder);
    ArchState state = guest.Start();
    state.r15 = 20000;
    state.rdi = 5;
    state.rsi = 2;
    if (site) {
      RunToEnd(*context, *guest.space, state);
      CHECK(adder.trapped == 0);
    } else {
      while (state.orig_rax != 60) {
        const Exit exit = context->Switch(*guest.space, state, {});
        REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
        CHECK(std::get<platform::SyscallExit>(exit).trapped);
        state.rax = 7;
      }
      CHECK(adder.trapped == adder.calls);
    }
    CHECK(adder.calls > 0);
    CHECK(state.rbx == 7 * 20000);
  }
}

TEST_CASE("two vCPUs in one call site have answers of their own, kicked or not") {
  auto platform = NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  if (!HasCallSites(*platform)) return;
  const Kind kind = GENERATE(Kind::kPadding, Kind::kLoad);
  TestGuest guest(platform.get());
  SetSumLoop(guest, kind);
  Adder adder;
  const auto run = [&](Context* context, uint64_t addend) {
    ArchState state = guest.Start();
    state.r15 = 20000;
    state.rdi = addend;
    state.rsp = kTestStack - addend * 256;
    RunToEnd(*context, *guest.space, state);
    CHECK(state.rbx == addend * 20000);
    CHECK(state.rsp == kTestStack - addend * 256);
  };
  auto one = MUST(platform->NewContext());  // tests have memory
  auto two = MUST(platform->NewContext());  // tests have memory
  one->SetService(&adder);
  two->SetService(&adder);
  std::atomic<bool> stop{false};
  std::thread kicker([&] {
    while (!stop) {
      one->Interrupt();
      two->Interrupt();
      std::this_thread::sleep_for(std::chrono::microseconds(97));
    }
  });
  std::thread other([&] { run(two.get(), 3); });
  run(one.get(), 1);
  other.join();
  stop = true;
  kicker.join();
}

TEST_CASE("a single step over a call site is a step over a call") {
  if (!HasCallSites(TestPlatform())) return;
  TestGuest guest(&TestPlatform());
  SetSumLoop(guest);
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  ArchState state = guest.Start();
  state.rflags |= kFlagTf;
  const Exit step = context->Switch(*guest.space, state, {.exitless = false});  // mov eax, 39
  REQUIRE(std::holds_alternative<platform::ExceptionExit>(step));
  REQUIRE(state.rip == kTestCode + 5);
  const Exit call = context->Switch(*guest.space, state, {.exitless = false});
  REQUIRE(std::holds_alternative<platform::SyscallExit>(call));
  CHECK(state.rip == kTestCode + 7);
  CHECK((state.r11 & kFlagTf) != 0);
  CHECK((state.rflags & kFlagTf) != 0);
}

TEST_CASE("a single step over a call site that loads the number is one over each instruction") {
  if (!HasCallSites(TestPlatform())) return;
  TestGuest guest(&TestPlatform());
  SetSumLoop(guest, Kind::kLoad);
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  ArchState state = guest.Start();
  state.rflags |= kFlagTf;
  const Exit step = context->Switch(*guest.space, state, {.exitless = false});
  REQUIRE(std::holds_alternative<platform::ExceptionExit>(step));
  CHECK(std::get<platform::ExceptionExit>(step).vector == 1);
  CHECK(state.rip == kTestCode + 5);
  CHECK(state.rax == 39);
  // Where the SYSCALL was, the rest of the jump raises what IDT vector 0x80 gives to ring 3.
  const Exit tail = context->Switch(*guest.space, state, {.exitless = false});
  REQUIRE(std::holds_alternative<platform::ExceptionExit>(tail));
  CHECK(std::get<platform::ExceptionExit>(tail).vector == 13);
  CHECK(std::get<platform::ExceptionExit>(tail).error_code == 0x80 * 8 + 2);
  CHECK(state.rip == kTestCode + 5);
  CHECK(state.rax == 39);
}

TEST_CASE("whoever is found on the way from a call site has made the call") {
  if (!HasCallSites(TestPlatform())) return;
  TestGuest guest(&TestPlatform());
  SetSumLoop(guest);
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  // Every instruction on the way, TF set: the far jump, the stub's load and its jump.
  for (const uint64_t rip : {kTestCode + kPad, kCallStubs + CallStubs::kStubBytes + 8}) {
    ArchState state = guest.Start();
    state.rax = 39;
    state.rip = rip;
    state.rflags |= kFlagTf;
    const Exit exit = context->Switch(*guest.space, state, {.exitless = false});
    REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
    CHECK(state.rip == kTestCode + 7);
    CHECK(state.rcx == kTestCode + 7);
    CHECK(state.orig_rax == 39);
  }
}

TEST_CASE("a child has its parent's call sites, and both go on alone") {
  if (!HasCallSites(TestPlatform())) return;
  auto parent = std::make_unique<TestGuest>(&TestPlatform());
  SetSumLoop(*parent);
  TestGuest child(&TestPlatform());
  SetSumLoop(child);  // same code; its own site is not used
  TestGuest copy(&TestPlatform());
  REQUIRE(parent->space->CopyCallSitesTo(*copy.space).ok());
  copy.SetCode(Code()({0xb8, 39, 0, 0, 0})({0xeb, kPad - 7})({0x48, 0x01, 0xc3})(
      {0x49, 0xff, 0xcf})({0x75, 0xf1})({0xb8, 60, 0, 0, 0})({0x0f, 0x05}));
  const uint32_t slot = static_cast<uint32_t>(kCallStubs + CallStubs::kStubBytes);
  copy.SetCode(Code()({0xff, 0x24, 0x25}).Imm32(slot), kPad);
  // The parent gets one more, which the copy has not.
  REQUIRE(
      parent->space->AddCallSite({VirtAddr(kTestCode + 50), VirtAddr(kTestCode + 200), 1}).ok());
  parent.reset();
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  ArchState state = copy.Start();
  state.r15 = 3;
  state.rdi = 4;
  RunToEnd(*context, *copy.space, state, /*exitless=*/false);
  CHECK(state.rbx == 12);
}

TEST_CASE("stubs cannot be written, and there is an end of them") {
  if (!HasCallSites(TestPlatform())) return;
  TestGuest guest(&TestPlatform());
  SetSumLoop(guest);
  size_t more = 0;
  Result<uint32_t> site = Errno::kNOSYS;
  do {
    const uint64_t after = kTestCode + 1000 + more;
    site = guest.space->AddCallSite({VirtAddr(after), VirtAddr(after + 50), std::nullopt});
    if (site.ok()) ++more;
  } while (site.ok());
  CHECK(site.error() == Errno::kNOSPC);
  CHECK(more == CallStubs::kMaxPages * CallStubs::kStubsPerPage - 1);
  // What is there is found again.
  CHECK(
      guest.space->AddCallSite({VirtAddr(kTestCode + 1000), VirtAddr(kTestCode + 1050), {}}).ok());
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  ArchState state = guest.Start();
  state.r15 = 2;
  RunToEnd(*context, *guest.space, state, /*exitless=*/false);
  guest.SetCode(Code()({0x48, 0x89, 0x07}));  // mov [rdi], rax
  for (uint64_t offset = 0; offset < CallStubs::kMaxPages * kPageSize; offset += kPageSize) {
    state = guest.Start();
    state.rdi = kCallStubs + offset;
    const Exit exit = context->Switch(*guest.space, state, {.exitless = false});
    REQUIRE(std::holds_alternative<platform::FaultExit>(exit));
    CHECK(std::get<platform::FaultExit>(exit).access == Access::kWrite);
  }
}

}  // namespace
}  // namespace ringfence::kvm
