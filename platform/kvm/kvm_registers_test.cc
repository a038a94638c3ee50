// Every register a program can see survives every way out of and back into the guest.
//
// The guest loads a random image into all general registers, RFLAGS, the red zone, x87, XMM, YMM,
// MXCSR and, where guests have it, AVX-512, makes calls or loops, and stores everything again; the
// host compares.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "platform/kvm/test_guest.h"

namespace ringfence::kvm {
namespace {

using platform::ArchState;
using platform::Context;
using platform::Exit;

// Data page layout: XSAVE images for the start and the end (the guest runs XRSTOR and XSAVE on
// them), red zone pattern, result counter.
constexpr uint64_t kXsaveIn = kTestData + 0x1000;
constexpr uint64_t kXsaveOut = kTestData + 0x2000;
constexpr uint64_t kCallNumber = 0x1234;

// rax:rdx = 0xe7 for xrstor/xsave; r15 holds kXsaveIn while loading, all is restored by the host
// through Switch before and after, so the code between may use rax, rdx and r15.
Code LoadFpuCode() {
  // mov eax, 0xe7; xor edx, edx; xrstor64 [r15]; mov eax, 60; syscall
  return Code()({0xb8, 0xe7, 0, 0, 0})({0x31, 0xd2})({0x49, 0x0f, 0xae, 0x2f})({0xb8, 60, 0, 0, 0})(
      {0x0f, 0x05});
}
Code SaveFpuCode() {
  // mov eax, 0xe7; xor edx, edx; xsave64 [r15]; mov eax, 60; syscall
  return Code()({0xb8, 0xe7, 0, 0, 0})({0x31, 0xd2})({0x49, 0x0f, 0xae, 0x27})({0xb8, 60, 0, 0, 0})(
      {0x0f, 0x05});
}
constexpr size_t kLoadAt = 0x100;
constexpr size_t kSaveAt = 0x200;
constexpr size_t kCallsAt = 0x300;
constexpr size_t kLoopAt = 0x500;
constexpr size_t kFlagsAt = 0x600;
constexpr int kCalls = 40;

class Registers {
 public:
  explicit Registers(platform::Platform* platform, uint64_t seed) : guest_(platform), rng_(seed) {
    context_ = MUST(platform->NewContext());  // tests have memory
    guest_.SetCode(LoadFpuCode(), kLoadAt);
    guest_.SetCode(SaveFpuCode(), kSaveAt);
    // Calls in a row: every one finds the same registers, apart from rax, rcx and r11.
    Code calls;
    for (int i = 0; i < kCalls; ++i) {
      calls({0xb8}).Imm32(kCallNumber)({0x0f, 0x05});  // mov eax, n; syscall
    }
    calls({0xb8, 60, 0, 0, 0})({0x0f, 0x05});
    guest_.SetCode(calls, kCallsAt);
    guest_.SetCode(Code()({0xf3, 0x90, 0xeb, 0xfc}), kLoopAt);  // pause; jmp back
    // pushfq; pop rax; syscall: not called with the red zone in use
    guest_.SetCode(Code()({0x9c, 0x58, 0x0f, 0x05}), kFlagsAt);
  }

  Context& context() { return *context_; }

  void Randomize() {
    for (uint64_t* r : {&want_.r15, &want_.r14, &want_.r13, &want_.r12, &want_.rbp, &want_.rbx,
                        &want_.r11, &want_.r10, &want_.r9, &want_.r8, &want_.rax, &want_.rcx,
                        &want_.rdx, &want_.rsi, &want_.rdi}) {
      *r = rng_();
    }
    want_.rsp = kTestStack;
    // CF PF AF ZF SF DF OF AC ID; TF has tests of its own
    want_.rflags = (rng_() & 0x240cd5) | 0x202;
    want_.fs_base = rng_() & 0x7fffffffffff;
    want_.gs_base = rng_() & 0x7fffffffffff;
    for (int i = 0; i < 128; ++i) {
      guest_.data()[RedZone() + i] = red_zone_[i] = static_cast<std::byte>(rng_());
    }
    RandomFpu();
  }

  void LoadFpu() {
    ArchState state = guest_.Start(kLoadAt);
    state.r15 = kXsaveIn;
    RunToCall60(&state);
  }

  void CheckFpu() {
    ArchState state = guest_.Start(kSaveAt);
    state.r15 = kXsaveOut;
    std::memset(guest_.data() + 0x2000, 0, platform::FpuState::size());
    RunToCall60(&state);
    const std::byte* in = guest_.data() + 0x1000;
    const std::byte* out = guest_.data() + 0x2000;
    // x87 control and status, register file, XMM, MXCSR, YMM; not the instruction pointers.
    CHECK(std::memcmp(in, out, 5) == 0);
    CHECK(std::memcmp(in + 24, out + 24, 4) == 0);
    CHECK(std::memcmp(in + 32, out + 32, 384) == 0);
    CHECK(std::memcmp(in + 576, out + 576, 256) == 0);
    const size_t avx512 = platform::FpuState::size() - platform::kFpuSizeWithAvx;
    const size_t parts = std::min<size_t>(avx512, 64 + 512 + 1024);
    const size_t start = platform::FpuState::size() - parts;
    CHECK(std::memcmp(in + start, out + start, parts) == 0);
  }

  void CheckGeneral(const ArchState& got, bool after_call) {
    CHECK(got.r15 == want_.r15);
    CHECK(got.r14 == want_.r14);
    CHECK(got.r13 == want_.r13);
    CHECK(got.r12 == want_.r12);
    CHECK(got.rbp == want_.rbp);
    CHECK(got.rbx == want_.rbx);
    CHECK(got.r10 == want_.r10);
    CHECK(got.r9 == want_.r9);
    CHECK(got.r8 == want_.r8);
    CHECK(got.rdx == want_.rdx);
    CHECK(got.rsi == want_.rsi);
    CHECK(got.rdi == want_.rdi);
    CHECK(got.rsp == want_.rsp);
    CHECK(got.fs_base == want_.fs_base);
    CHECK(got.gs_base == want_.gs_base);
    CHECK((got.rflags & ~uint64_t{0x10000}) == want_.rflags);
    if (!after_call) {
      CHECK(got.rax == want_.rax);
      CHECK(got.rcx == want_.rcx);
      CHECK(got.r11 == want_.r11);
    }
    CHECK(std::memcmp(guest_.data() + RedZone(), red_zone_, 128) == 0);
  }

  // Runs the calls; returns how many exited.
  int RunCalls() {
    ArchState state = want_;
    state.rip = kTestCode + kCallsAt;
    int exits = 0;
    for (;;) {
      const Exit exit = context_->Switch(*guest_.space, state, {});
      if (std::holds_alternative<platform::InterruptedExit>(exit)) {
        const uint64_t at = state.rip - (kTestCode + kCallsAt);
        REQUIRE(at <= kCalls * 7 + 7);
        CheckGeneral(state, true);
        continue;
      }
      REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
      CheckGeneral(state, true);
      CHECK(state.rcx == state.rip);
      CHECK(state.r11 == state.rflags);
      if (state.orig_rax == 60) return exits;
      REQUIRE(state.orig_rax == kCallNumber);
      ++exits;
      state.rax = 0;
    }
  }

  void RunLoopUntilInterrupt() {
    ArchState state = want_;
    state.rip = kTestCode + kLoopAt;
    const Exit exit = context_->Switch(*guest_.space, state, {});
    REQUIRE(std::holds_alternative<platform::InterruptedExit>(exit));
    CheckGeneral(state, false);
  }

  // What the guest itself sees in RFLAGS after a full load.
  void CheckFlagsInside() {
    ArchState state = want_;
    state.rip = kTestCode + kFlagsAt;
    state.rflags &= ~uint64_t{0x40000};  // an aligned stack, but no surprises
    const Exit exit = context_->Switch(*guest_.space, state, {.exitless = false});
    REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
    CHECK(state.orig_rax == (want_.rflags & ~uint64_t{0x40000}));
  }

 private:
  static constexpr size_t RedZone() { return kTestStack - kTestData - 128; }

  void RandomFpu() {
    platform::FpuState fpu = platform::InitialFpuState();
    std::byte* image = fpu.image.data();
    const auto put16 = [image](size_t at, uint16_t v) { std::memcpy(image + at, &v, 2); };
    put16(0, static_cast<uint16_t>(0x7f | (rng_() & 0xf00)));  // rounding and precision
    put16(2, static_cast<uint16_t>(rng_() & 0x3800));          // top of stack
    image[4] = std::byte{0xff};                                // all registers valid
    const uint32_t mxcsr = 0x1f80 | static_cast<uint32_t>(rng_() & 0xe03f);
    std::memcpy(image + 24, &mxcsr, 4);
    for (int r = 0; r < 8; ++r) {
      const uint64_t mantissa = rng_() | uint64_t{1} << 63;
      const uint16_t exponent = static_cast<uint16_t>(1 + rng_() % 0x7ffd);
      std::memcpy(image + 32 + 16 * r, &mantissa, 8);
      std::memcpy(image + 40 + 16 * r, &exponent, 2);
    }
    for (size_t at = 160; at < 416; at += 8) Put64(image + at, rng_());
    // Intel leaves a gap behind AVX, which belongs to no component.
    for (size_t at = 576; at < platform::FpuState::size(); at += 8) Put64(image + at, rng_());
    Put64(image + 512, platform::GuestFpuLayout().components);
    std::memcpy(guest_.data() + 0x1000, image, platform::FpuState::size());
  }
  static void Put64(std::byte* at, uint64_t v) { std::memcpy(at, &v, 8); }

  void RunToCall60(ArchState* state) {
    for (;;) {
      const Exit exit = context_->Switch(*guest_.space, *state, {.exitless = false});
      if (std::holds_alternative<platform::InterruptedExit>(exit)) continue;
      REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
      REQUIRE(state->orig_rax == 60);
      return;
    }
  }

  TestGuest guest_;
  std::unique_ptr<Context> context_;
  std::mt19937_64 rng_;
  ArchState want_;
  std::byte red_zone_[128];
};

class YesService : public platform::SyscallService {
 public:
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override {
    *result = -38;
    ++calls;
    return request.number == kCallNumber;
  }
  std::atomic<uint64_t> calls{0};
};

TEST_CASE("registers survive calls that exit") {
  Registers registers(&TestPlatform(), 1);
  for (int i = 0; i < 50; ++i) {
    registers.Randomize();
    registers.LoadFpu();
    CHECK(registers.RunCalls() == kCalls);
    registers.CheckFpu();
    registers.CheckFlagsInside();
  }
}

TEST_CASE("registers survive calls that are answered exitless") {
  auto platform = NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  YesService service;
  Registers registers(platform.get(), 2);
  registers.context().SetService(&service);
  // The service thread needs a core to itself for a moment, which other tests may be using.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (int i = 0; i < 50 || (service.calls < 200 && std::chrono::steady_clock::now() < deadline);
       ++i) {
    registers.Randomize();
    registers.LoadFpu();
    registers.RunCalls();
    registers.CheckFpu();
  }
  CHECK(service.calls >= 200);
}

TEST_CASE("registers survive kicks in user code") {
  Registers registers(&TestPlatform(), 3);
  for (int i = 0; i < 50; ++i) {
    registers.Randomize();
    registers.LoadFpu();
    std::thread kicker([&registers, i] {
      std::this_thread::sleep_for(std::chrono::microseconds(30 * i));
      registers.context().Interrupt();
    });
    registers.RunLoopUntilInterrupt();
    kicker.join();
    registers.CheckFpu();
  }
}

TEST_CASE("registers survive kicks around and inside the trampoline") {
  auto platform = NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  YesService service;
  Registers registers(platform.get(), 4);
  registers.context().SetService(&service);
  std::atomic<bool> stop{false};
  std::thread kicker([&] {
    unsigned seed = 4;
    while (!stop) {
      registers.context().Interrupt();
      std::this_thread::sleep_for(std::chrono::microseconds(rand_r(&seed) % 60));
    }
  });
  for (int i = 0; i < 100; ++i) {
    registers.Randomize();
    registers.LoadFpu();
    registers.RunCalls();
    registers.CheckFpu();
  }
  stop = true;
  kicker.join();
}

// A signal frame made of such an image could not be returned from.
TEST_CASE("SaveFpu has no components beyond the guest's XCR0") {
  constexpr size_t kXstateBv = 512;
  const uint64_t xcr0 = platform::GuestFpuLayout().components;
  Registers a(&TestPlatform(), 6);
  a.Randomize();
  a.LoadFpu();
  a.RunCalls();
  platform::FpuState saved;
  a.context().SaveFpu(&saved);
  uint64_t components = 0;
  std::memcpy(&components, saved.image.data() + kXstateBv, sizeof(components));
  CHECK((components & ~xcr0) == 0);
}

TEST_CASE("FPU state moves with SaveFpu and LoadFpu") {
  Registers a(&TestPlatform(), 5);
  a.Randomize();
  a.LoadFpu();
  platform::FpuState saved;
  a.context().SaveFpu(&saved);
  a.context().LoadFpu(platform::InitialFpuState());
  a.RunCalls();
  platform::FpuState initial;
  a.context().SaveFpu(&initial);
  CHECK(std::memcmp(initial.image.data(), saved.image.data(), 512) != 0);
  a.context().LoadFpu(saved);
  a.CheckFpu();
  // An image a guest has made up is loaded as far as it makes sense.
  platform::FpuState hostile;
  std::memset(hostile.image.data(), 0xff, platform::FpuState::size());
  a.context().LoadFpu(hostile);
  a.RunCalls();
}

}  // namespace
}  // namespace ringfence::kvm
