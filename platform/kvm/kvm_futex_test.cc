// Futex calls that a guest answers itself: which, with what, and what it leaves to the sentry.
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

constexpr uint64_t kFutex = ANSWER_FUTEX, kOver = 60;
constexpr uint64_t kWaitPrivate = 128, kWakePrivate = 129, kBitsetPrivate = 137;

// A platform of the flavour that looks, and one context on it.
struct FutexGuest {
  FutexGuest() : guest(platform.get()), context(MUST(platform->NewContext())) {  // fresh memory
    // mov eax, 202; syscall; mov rbx, rax; mov eax, 60; syscall; of which one in 8 that trap
    // asks in any case.
    guest.SetCode(Code()({0xb8, kFutex, 0, 0, 0})({0x0f, 0x05})({0x48, 0x89, 0xc3})(
        {0xb8, kOver, 0, 0, 0})({0x0f, 0x05}));
  }
  bool Looks() const {
    return platform->Describe().find("deprivileged") != std::string::npos &&
           std::thread::hardware_concurrency() > 1;
  }
  struct Outcome {
    int asked = 0;
    uint64_t result = 0;
  };
  // 8 calls with the registers of `args`; those that come here are answered with 1000.
  Outcome Run(const ArchState& args) {
    Outcome outcome;
    for (int i = 0; i < 8; ++i) {
      ArchState state = args;
      state.rip = kTestCode;
      state.rsp = kTestStack;
      for (;;) {
        const Exit exit = context->Switch(*guest.space, state, {});
        if (std::holds_alternative<platform::InterruptedExit>(exit)) continue;
        REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
        CHECK(state.rdi == args.rdi);
        CHECK(state.r9 == args.r9);
        if (state.orig_rax == kOver) break;
        REQUIRE(state.orig_rax == kFutex);
        CHECK(state.rip == kTestCode + 7);
        ++outcome.asked;
        state.rax = 1000;
      }
      if (state.rbx != 1000) outcome.result = state.rbx;
    }
    return outcome;
  }
  uint32_t* word() { return reinterpret_cast<uint32_t*>(guest.data()); }

  std::unique_ptr<platform::Platform> platform =
      NewTestPlatform({.exitless = platform::ExitlessMode::kOn});
  TestGuest guest;
  std::unique_ptr<Context> context;
};

ArchState Args(uint64_t op, uint64_t address = kTestData, uint64_t value = 0) {
  ArchState args;
  args.rdi = address;
  args.rsi = op;
  args.rdx = value;
  return args;
}

TEST_CASE("a word that differs and a wake-up of nobody are answered in the guest") {
  FutexGuest f;
  const int sampled = f.Looks() ? 1 : 8;
  *f.word() = 7;
  FutexGuest::Outcome outcome = f.Run(Args(kWaitPrivate, kTestData, 6));
  CHECK(outcome.asked == sampled);
  if (f.Looks()) CHECK(static_cast<int64_t>(outcome.result) == -11);
  ArchState bitset = Args(kBitsetPrivate, kTestData, 6);
  bitset.r9 = 1;
  CHECK(f.Run(bitset).asked == sampled);
  outcome = f.Run(Args(kWakePrivate, kTestData, 1));
  CHECK(outcome.asked == sampled);
  CHECK(outcome.result == 0);
}

TEST_CASE("everything else asks, with its registers") {
  FutexGuest f;
  CHECK(f.Run(Args(kWaitPrivate)).asked == 8);                    // has looked in vain
  CHECK(f.Run(Args(kWaitPrivate, kTestData + 1, 1)).asked == 8);  // not aligned
  CHECK(f.Run(Args(kWakePrivate, kTestData + 2)).asked == 8);
  CHECK(f.Run(Args(0, kTestData, 1)).asked == 8);  // shared
  CHECK(f.Run(Args(1)).asked == 8);
  CHECK(f.Run(Args(kBitsetPrivate, kTestData, 1)).asked == 8);  // no bit
  ArchState timed = Args(kWaitPrivate, kTestData, 1);
  timed.r10 = kTestData;
  CHECK(f.Run(timed).asked == 8);
  // Nothing is mapped, not canonical, the kernel's, the stub's own pages.
  for (const uint64_t address : {uint64_t{0x10000}, uint64_t{1} << 47, uint64_t{1} << 62,
                                 ~uint64_t{3}, uint64_t{0xffffff0000000000}}) {
    INFO(address);
    CHECK(f.Run(Args(kWaitPrivate, address)).asked == 8);
  }
  CHECK(f.Run(Args(kWakePrivate, uint64_t{1} << 47)).asked == 8);
  CHECK(f.Run(Args(kWakePrivate, ~uint64_t{3})).asked == 8);
}

TEST_CASE("a wake-up asks where somebody is counted, and only there") {
  FutexGuest f;
  std::atomic<uint32_t>* count = f.guest.space->WaitersAt(VirtAddr(kTestData + 8));
  REQUIRE(count != nullptr);
  *count += 1;
  CHECK(f.Run(Args(kWakePrivate, kTestData + 8)).asked == 8);
  CHECK(f.Run(Args(kWakePrivate, kTestData + kPageSize + 8)).asked == 8);
  CHECK(f.Run(Args(kWakePrivate, kTestData + 12)).asked == (f.Looks() ? 1 : 8));
  *count -= 1;
  CHECK(f.Run(Args(kWakePrivate, kTestData + 8)).asked == (f.Looks() ? 1 : 8));
}

TEST_CASE("a context whose answers are switched off always asks") {
  FutexGuest f;
  f.context->EnableAnswers(false);
  CHECK(f.Run(Args(kWakePrivate)).asked == 8);
  f.context->EnableAnswers(true);
  CHECK(f.Run(Args(kWakePrivate)).asked == (f.Looks() ? 1 : 8));
}

TEST_CASE("the counts of waiters cannot be written") {
  FutexGuest f;
  f.guest.SetCode(Code()({0x89, 0x07})({0x0f, 0x05}));  // mov [rdi], eax
  ArchState state = f.guest.Start();
  state.rdi = kTrampolineWaiters.value();
  Exit exit = f.context->Switch(*f.guest.space, state, {});
  REQUIRE(std::holds_alternative<platform::FaultExit>(exit));
}

TEST_CASE("a guest that looks sees the word change") {
  FutexGuest f;
  if (!f.Looks()) return;
  // mov dword [rdi + 64], 1; mov eax, 202; syscall; mov rbx, rax; mov eax, 60; syscall
  f.guest.SetCode(Code()({0xc7, 0x47, 0x40, 1, 0, 0, 0})({0xb8, kFutex, 0, 0, 0})({0x0f, 0x05})(
      {0x48, 0x89, 0xc3})({0xb8, kOver, 0, 0, 0})({0x0f, 0x05}));
  const std::atomic_ref<uint32_t> word(f.word()[0]), here(f.word()[16]);
  int seen = 0;
  // Some of those that trap ask; and others may want the CPUs.
  for (int attempt = 0; attempt < 500 && seen < 3; ++attempt) {
    word = 0;
    here = 0;
    std::thread changer([&] {
      while (here == 0) std::this_thread::yield();
      // More than a SYSCALL takes to be in the stub, less than a guest looks.
      const auto then = std::chrono::steady_clock::now() + std::chrono::microseconds(60);
      while (std::chrono::steady_clock::now() < then) {
      }
      word = 1;
    });
    ArchState state = f.guest.Start();
    state.rdi = kTestData;
    state.rsi = kWaitPrivate;
    bool asked = false;
    for (;;) {
      const Exit exit = f.context->Switch(*f.guest.space, state, {});
      if (!std::holds_alternative<platform::SyscallExit>(exit)) continue;
      if (state.orig_rax == kOver) break;
      asked = true;
      state.rax = 0;
    }
    changer.join();
    if (!asked) CHECK(static_cast<int64_t>(state.rbx) == -11);
    seen += !asked;
  }
  CHECK(seen == 3);
}

TEST_CASE("two guests that wait for each other come to an end") {
  FutexGuest f;
  if (!f.Looks()) return;
  // rdi = word, r12 = mine, r13 = theirs, r15 = rounds; futex(FUTEX_WAIT_PRIVATE, theirs) while it
  // is not mine, then the word is theirs: L: mov eax, [rdi]; cmp eax, r12d; je T; mov eax, 202; mov
  // edx, r13d; syscall; jmp L T: mov [rdi], r13d; dec r15; jnz L; mov eax, 60; syscall
  f.guest.SetCode(Code()({0x8b, 0x07})({0x44, 0x39, 0xe0})({0x74, 0x0c})({0xb8, kFutex, 0, 0, 0})(
      {0x44, 0x89, 0xea})({0x0f, 0x05})({0xeb, 0xed})({0x44, 0x89, 0x2f})({0x49, 0xff, 0xcf})(
      {0x75, 0xe5})({0xb8, kOver, 0, 0, 0})({0x0f, 0x05}));
  constexpr uint64_t kRounds = 2000;
  const auto play = [&](Context& context, uint64_t mine) {
    ArchState state = f.guest.Start();
    state.rdi = kTestData;
    state.rsi = kWaitPrivate;
    state.r12 = mine;
    state.r13 = 1 - mine;
    state.r15 = kRounds;
    for (;;) {
      const Exit exit = context.Switch(*f.guest.space, state, {});
      if (!std::holds_alternative<platform::SyscallExit>(exit)) continue;
      if (state.orig_rax == kOver) return;
      state.rax = 0;  // a wake-up out of nowhere
    }
  };
  auto other = MUST(f.platform->NewContext());  // tests have memory
  std::thread thread([&] { play(*other, 1); });
  play(*f.context, 0);
  thread.join();
  other.reset();
  CHECK(f.word()[0] == 0);
}

}  // namespace
}  // namespace ringfence::kvm
