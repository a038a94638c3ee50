// The frame is read with the C library's view of it (ucontext_t), not with our own structs.
#include "sentry/arch/signal_frame.h"

#include <signal.h>
#include <sys/ucontext.h>
#include <ucontext.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "sentry/arch/x86_64/vsyscall.h"
#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

using platform::ArchState;
using platform::FpuState;

const uint64_t kComponents = platform::GuestFpuLayout().components;
constexpr uint64_t kStack = 0x7f0000000000, kStackSize = 16 * kPageSize;
constexpr uint64_t kAlt = 0x7e0000000000, kAltSize = 4 * kPageSize;

struct Fixture {
  MemoryPlatform platform;
  MemoryManagerRef mm = *MemoryManager::Create(&platform);
  ArchState state;
  FpuState fpu = platform::InitialFpuState();
  SignalFrameRequest request;

  Fixture() {
    for (auto [addr, size] : {std::pair{kStack, kStackSize}, std::pair{kAlt, kAltSize}}) {
      MapRequest map;
      map.addr = VirtAddr(addr);
      map.length = size;
      map.fixed = true;
      map.prot = Prot::RW();
      REQUIRE(mm->Map(map).ok());
    }
    uint64_t n = 0x1111;
    for (uint64_t* r : {&state.r8, &state.r9, &state.r10, &state.r11, &state.r12, &state.r13,
                        &state.r14, &state.r15, &state.rax, &state.rbx, &state.rcx, &state.rdx,
                        &state.rsi, &state.rdi, &state.rbp}) {
      *r = n += 0x0101010101010101;
    }
    state.rip = 0x401234;
    state.rsp = kStack + kStackSize - 0x123;
    state.rflags = 0x202 | 0x400 | 0x40000 | 0x800;  // DF, AC, OF
    state.fs_base = 77;
    request.action = {
        .handler = 0x402000, .flags = kSaRestorer | kSaSigInfo, .restorer = 0x403000, .mask = {}};
    request.info = SigInfo::User(SigNo::kUsr1, kSiQueue, 12, 34, 56);
    request.saved_mask = SigSet{0x123456};
    // An image with all components guests have.
    for (size_t i = 160; i < 416; ++i) fpu.image[i] = std::byte(i);
    for (size_t i = 576; i < FpuState::size(); ++i) fpu.image[i] = std::byte(i * 3);
    const uint64_t features = kComponents;
    memcpy(fpu.image.data() + 512, &features, 8);
    memset(fpu.image.data() + 464, 0, 48);
  }
  template <typename T>
  T In(uint64_t addr) {
    T value;
    REQUIRE(mm->CopyIn(&value, VirtAddr(addr), sizeof(T)).ok());
    return value;
  }
};

bool SameRegisters(const ArchState& a, const ArchState& b) {
  return a.r8 == b.r8 && a.r9 == b.r9 && a.r10 == b.r10 && a.r11 == b.r11 && a.r12 == b.r12 &&
         a.r13 == b.r13 && a.r14 == b.r14 && a.r15 == b.r15 && a.rax == b.rax && a.rbx == b.rbx &&
         a.rcx == b.rcx && a.rdx == b.rdx && a.rsi == b.rsi && a.rdi == b.rdi && a.rbp == b.rbp &&
         a.rsp == b.rsp && a.rip == b.rip && a.rflags == b.rflags && a.fs_base == b.fs_base;
}

// The image without the 48 bytes that software uses.
std::string Image(const FpuState& fpu) {
  std::string bytes(reinterpret_cast<const char*>(fpu.image.data()), FpuState::size());
  bytes.replace(464, 48, 48, '\0');
  return bytes;
}

TEST_CASE("the handler finds what Linux gives it") {
  Fixture f;
  const ArchState before = f.state;
  REQUIRE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  CHECK(f.state.rip == 0x402000);
  CHECK(f.state.rdi == 10);
  CHECK(f.state.rax == 0);
  CHECK(f.state.rsp % 16 == 8);
  CHECK(f.state.rsp <= before.rsp - 128 - 440 - FpuState::size() - 4);
  CHECK((f.state.rflags & 0x400) == 0);
  CHECK((f.state.rflags & 0x40000) != 0);
  CHECK(Image(f.fpu) == Image(platform::InitialFpuState()));
  CHECK(f.In<uint64_t>(f.state.rsp) == 0x403000);

  const auto info = f.In<siginfo_t>(f.state.rsi);
  CHECK(info.si_signo == SIGUSR1);
  CHECK(info.si_code == SI_QUEUE);
  CHECK(info.si_pid == 12);
  CHECK(info.si_value.sival_ptr == reinterpret_cast<void*>(56));

  // Only the kernel's part of ucontext_t: the C library's sigset_t is longer.
  struct KernelUContext {
    unsigned long flags;
    void* link;
    stack_t stack;
    mcontext_t mcontext;
    uint64_t mask;
  };
  const auto uc = f.In<KernelUContext>(f.state.rdx);
  CHECK(uc.flags == 7);
  CHECK(uc.mask == 0x123456);
  CHECK(uc.stack.ss_flags == SS_DISABLE);
  const auto& regs = uc.mcontext.gregs;
  CHECK(static_cast<uint64_t>(regs[REG_RIP]) == before.rip);
  CHECK(static_cast<uint64_t>(regs[REG_RSP]) == before.rsp);
  CHECK(static_cast<uint64_t>(regs[REG_R8]) == before.r8);
  CHECK(static_cast<uint64_t>(regs[REG_R15]) == before.r15);
  CHECK(static_cast<uint64_t>(regs[REG_RDI]) == before.rdi);
  CHECK(static_cast<uint64_t>(regs[REG_RCX]) == before.rcx);
  CHECK(static_cast<uint64_t>(regs[REG_EFL]) == before.rflags);
  CHECK(static_cast<uint64_t>(regs[REG_CSGSFS]) == 0x002b000000000033);
  CHECK(static_cast<uint64_t>(regs[REG_OLDMASK]) == 0x123456);
  const auto fp = reinterpret_cast<uint64_t>(uc.mcontext.fpregs);
  CHECK(fp % 64 == 0);
  CHECK(f.In<uint32_t>(fp + 464) == 0x46505853);
  CHECK(f.In<uint32_t>(fp + 468) == FpuState::size() + 4);
  CHECK(f.In<uint64_t>(fp + 472) == kComponents);
  CHECK(f.In<uint32_t>(fp + 480) == FpuState::size());
  CHECK(f.In<uint32_t>(fp + FpuState::size()) == 0x46505845);
}

TEST_CASE("what goes into a frame comes out of it, bit by bit") {
  Fixture f;
  const ArchState before = f.state;
  const FpuState fpu = f.fpu;
  REQUIRE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  f.state.rsp += 8;  // ret
  auto restored = RestoreSignalFrame(*f.mm, f.state, f.fpu);
  REQUIRE(restored.ok());
  CHECK(SameRegisters(f.state, before));
  CHECK(f.state.orig_rax == ~uint64_t{0});
  CHECK(Image(f.fpu) == Image(fpu));
  CHECK(restored->mask.bits == (0x123456 & ~(1ull << 8) & ~(1ull << 18)));
  CHECK(restored->altstack.flags == kSsDisable);
}

TEST_CASE("state that XSAVE left out is initial in the frame") {
  Fixture f;
  uint64_t none = 0;
  memcpy(f.fpu.image.data() + 512, &none, 8);
  REQUIRE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  f.state.rsp += 8;
  REQUIRE(RestoreSignalFrame(*f.mm, f.state, f.fpu).ok());
  CHECK(Image(f.fpu).substr(0, 416) == Image(platform::InitialFpuState()).substr(0, 416));
  uint64_t features = 0;
  memcpy(&features, f.fpu.image.data() + 512, 8);
  CHECK((features & 4) == 0);
}

TEST_CASE("a handler may edit the frame, but only what is a user's") {
  Fixture f;
  f.state.rflags = 0x202;
  REQUIRE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  const uint64_t uc = f.state.rdx;
  const uint64_t gregs = uc + 40;
  const uint64_t flags = ~uint64_t{0}, segments = 0, rip = 0xdeadbeef;
  REQUIRE(f.mm->CopyOut(VirtAddr(gregs + 8 * REG_EFL), &flags, 8).ok());
  REQUIRE(f.mm->CopyOut(VirtAddr(gregs + 8 * REG_CSGSFS), &segments, 8).ok());
  REQUIRE(f.mm->CopyOut(VirtAddr(gregs + 8 * REG_RIP), &rip, 8).ok());
  f.state.rsp += 8;
  REQUIRE(RestoreSignalFrame(*f.mm, f.state, f.fpu).ok());
  CHECK(f.state.rip == 0xdeadbeef);
  CHECK(f.state.rflags == (0x202 | 0x50dd5 | 0x10000));
}

TEST_CASE("broken FPU images") {
  Fixture f;
  REQUIRE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  f.state.rsp += 8;
  const uint64_t uc = f.state.rdx;
  const auto fp = f.In<uint64_t>(uc + 40 + 8 * 23);
  const ArchState state = f.state;
  const auto restore = [&] {
    f.state = state;
    return RestoreSignalFrame(*f.mm, f.state, f.fpu);
  };
  const auto poke = [&](uint64_t addr, auto value) {
    REQUIRE(f.mm->CopyOut(VirtAddr(addr), &value, sizeof(value)).ok());
  };
  // Without the second magic the AVX part is initial, the rest is taken.
  poke(fp + FpuState::size(), uint32_t{0});
  REQUIRE(restore().ok());
  CHECK(f.fpu.image[200] == std::byte(200));
  uint64_t features = 0;
  memcpy(&features, f.fpu.image.data() + 512, 8);
  CHECK(features == 3);
  poke(fp + FpuState::size(), uint32_t{0x46505845});
  // A shorter image: what it does not hold is initial, the rest is taken.
  const uint32_t full = static_cast<uint32_t>(FpuState::size());
  for (const auto& [bytes, want] : {std::pair{576u, 3u}, std::pair{832u, 7u}}) {
    const auto saved = f.In<uint32_t>(fp + bytes);
    poke(fp + 480, bytes);
    poke(fp + bytes, uint32_t{0x46505845});
    REQUIRE(restore().ok());
    memcpy(&features, f.fpu.image.data() + 512, 8);
    CHECK(features == want);
    poke(fp + bytes, saved);
  }
  poke(fp + 480, full);
  // What XRSTOR refuses.
  poke(fp + 512, uint64_t{0x2ff});
  CHECK(restore().error() == Errno::kINVAL);
  poke(fp + 512, uint64_t{7});
  poke(fp + 520, uint64_t{1});
  CHECK(restore().error() == Errno::kINVAL);
  poke(fp + 520, uint64_t{0});
  poke(fp + 24, uint32_t{0xffffffff});
  CHECK(restore().error() == Errno::kINVAL);
  poke(fp + 24, uint32_t{0x1f80});
  REQUIRE(restore().ok());
  // Null: the initial state; unmapped or misaligned: an error that leaves registers alone.
  poke(uc + 40 + 8 * 23, uint64_t{0});
  REQUIRE(restore().ok());
  CHECK(Image(f.fpu) == Image(platform::InitialFpuState()));
  poke(uc + 40 + 8 * 23, uint64_t{0x1000});
  CHECK(restore().error() == Errno::kFAULT);
  CHECK(SameRegisters(f.state, state));
  poke(uc + 40 + 8 * 23, fp + 1);
  CHECK(restore().error() == Errno::kINVAL);
}

TEST_CASE("the alternative stack") {
  Fixture f;
  f.request.altstack = {.sp = kAlt, .flags = 0, .pad = 0, .size = kAltSize};
  f.request.action.flags |= kSaOnStack;
  REQUIRE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  CHECK(f.state.rsp > kAlt);
  CHECK(f.state.rsp < kAlt + kAltSize);
  // Nested: goes on below, not from the top again.
  const uint64_t first = f.state.rsp;
  REQUIRE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  CHECK(f.state.rsp < first - 128);
  CHECK(f.state.rsp > kAlt);
  // Overflow of the alternative stack is refused before anything is written below it.
  f.state.rsp = kAlt + 600;
  CHECK(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).error() == Errno::kFAULT);
  CHECK(f.state.rsp == kAlt + 600);
}

TEST_CASE("no restorer, no stack: no frame") {
  Fixture f;
  const ArchState before = f.state;
  f.request.action.flags = kSaSigInfo;
  CHECK_FALSE(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).ok());
  f.request.action.flags = kSaSigInfo | kSaRestorer;
  for (uint64_t sp : {uint64_t{0}, uint64_t{64}, kStack + 100, uint64_t{0xffffffffffffff00}}) {
    f.state = before;
    f.state.rsp = sp;
    CHECK(BuildSignalFrame(*f.mm, f.state, f.fpu, f.request).error() == Errno::kFAULT);
    CHECK(f.state.rsp == sp);
    CHECK(f.state.rip == before.rip);
  }
  f.state.rsp = 0x10;
  CHECK(RestoreSignalFrame(*f.mm, f.state, f.fpu).error() == Errno::kFAULT);
}

TEST_CASE("the vsyscall page has three doors") {
  CHECK(VsyscallAt(0xffffffffff600000) == Vsyscall::kGettimeofday);
  CHECK(VsyscallAt(0xffffffffff600400) == Vsyscall::kTime);
  CHECK(VsyscallAt(0xffffffffff600800) == Vsyscall::kGetcpu);
  CHECK_FALSE(VsyscallAt(0xffffffffff600001));
  CHECK_FALSE(VsyscallAt(0xffffffffff600c00));
  CHECK(SyscallNumber(Vsyscall::kTime) == 201);
}

}  // namespace
}  // namespace ringfence::sentry
