// Every odd instruction of host-facts.md ends as the exception that Linux would turn into its
// signal, with rip as Linux reports it, and the vCPU is fit for use afterwards.
#include <catch2/catch.hpp>
#include <string>

#include "platform/kvm/test_guest.h"

namespace ringfence::kvm {
namespace {

using platform::ArchState;
using platform::Context;
using platform::Exit;

constexpr uint8_t kDb = 1, kBp = 3, kUd = 6, kSs = 12, kGp = 13;

struct Case {
  const char* name;
  std::initializer_list<uint8_t> code;
  uint8_t vector;
  uint8_t other;       // also right, on another kind of host
  int rip_offset = 0;  // where rip is reported, from the start of the code
};

class Runner {
 public:
  Runner() : guest_(&TestPlatform()), context_(MUST(TestPlatform().NewContext())) {}

  Exit Run(std::initializer_list<uint8_t> code, ArchState* state) {
    Code padded;
    padded(code).Nops(32);
    guest_.SetCode(padded);
    *state = guest_.Start();
    state->rdx = 0x80;
    state->rdi = kTestData;
    state->rsi = kTestData;
    state->rcx = 3;
    return context_->Switch(*guest_.space, *state, {.exitless = false});
  }

  void CheckStillWorks() {
    ArchState state;
    const Exit exit = Run({0xb8, 7, 0, 0, 0, 0x0f, 0x05}, &state);
    REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
    CHECK(state.orig_rax == 7);
    CHECK(state.rip == kTestCode + 7);
    state.rax = 0;
  }

 private:
  TestGuest guest_;
  std::unique_ptr<Context> context_;
};

const Case kCases[] = {
    {"hlt", {0xf4}, kGp, kGp},
    {"cli", {0xfa}, kGp, kGp},
    {"sti", {0xfb}, kGp, kGp},
    {"int3", {0xcc}, kBp, kBp, 1},
    {"int 3", {0xcd, 0x03}, kBp, kBp, 2},
    {"int 0x80", {0xcd, 0x80}, kGp, kGp},
    {"int 0x20", {0xcd, 0x20}, kGp, kGp},
    {"int 14", {0xcd, 0x0e}, kGp, kGp},
    {"int 1", {0xcd, 0x01}, kGp, kGp},
    {"ud2", {0x0f, 0x0b}, kUd, kUd},
    {"in al, 0x80", {0xe4, 0x80}, kGp, kGp},
    {"in eax, 0x80", {0xe5, 0x80}, kGp, kGp},
    {"in al, dx", {0xec}, kGp, kGp},
    {"out 0x80, al", {0xe6, 0x80}, kGp, kGp},
    {"out 0x80, eax", {0xe7, 0x80}, kGp, kGp},
    {"out dx, al", {0xee}, kGp, kGp},
    {"out dx, eax", {0xef}, kGp, kGp},
    {"out 0x4d, eax", {0xe7, 0x4d}, kGp, kGp},
    {"outsb", {0x6e}, kGp, kGp},
    {"rep outsb", {0xf3, 0x6e}, kGp, kGp},
    {"insb", {0x6c}, kGp, kGp},
    {"rep insb", {0xf3, 0x6c}, kGp, kGp},
    {"rdpmc", {0x31, 0xc9, 0x0f, 0x33}, kGp, kGp, 2},
    {"mov rax, cr0", {0x0f, 0x20, 0xc0}, kGp, kGp},
    {"mov cr3, rax", {0x0f, 0x22, 0xd8}, kGp, kGp},
    {"mov rax, dr0", {0x0f, 0x21, 0xc0}, kGp, kGp},
    {"clts", {0x0f, 0x06}, kGp, kGp},
    {"wrmsr", {0x0f, 0x30}, kGp, kGp},
    {"rdmsr", {0x0f, 0x32}, kGp, kGp},
    {"swapgs", {0x0f, 0x01, 0xf8}, kGp, kGp},
    {"sysret", {0x48, 0x0f, 0x07}, kGp, kGp},
    {"sysenter", {0x0f, 0x34}, kUd, kGp},
    {"xsetbv", {0x0f, 0x01, 0xd1}, kGp, kGp},
    {"invd", {0x0f, 0x08}, kGp, kGp},
    {"wbinvd", {0x0f, 0x09}, kGp, kGp},
    {"invlpg [rdi]", {0x0f, 0x01, 0x3f}, kGp, kGp},
    {"lgdt [rdi]", {0x0f, 0x01, 0x17}, kGp, kGp},
    {"lidt [rdi]", {0x0f, 0x01, 0x1f}, kGp, kGp},
    {"ltr ax", {0x0f, 0x00, 0xd8}, kGp, kGp},
    {"lldt ax", {0x0f, 0x00, 0xd0}, kGp, kGp},
    {"lmsw ax", {0x0f, 0x01, 0xf0}, kGp, kGp},
    {"monitor", {0x0f, 0x01, 0xc8}, kUd, kUd},
    {"mwait", {0x0f, 0x01, 0xc9}, kUd, kUd},
    {"vmrun", {0x0f, 0x01, 0xd8}, kUd, kUd},
    {"vmload", {0x0f, 0x01, 0xda}, kUd, kUd},
    {"clgi", {0x0f, 0x01, 0xdd}, kUd, kUd},
    {"mov ss, 0x33", {0xb8, 0x33, 0, 0, 0, 0x8e, 0xd0}, kGp, kGp, 5},
    {"mov ss, 0x77 (no LDT)", {0xb8, 0x77, 0, 0, 0, 0x8e, 0xd0}, kGp, kGp, 5},
    {"mov ds, 0x10", {0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8}, kGp, kGp, 5},
    {"load from a non-canonical address",
     {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x48, 0x8b, 0x00},
     kGp,
     kGp,
     10},
    {"push to a non-canonical stack",
     {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x48, 0x89, 0xc4, 0x50},
     kSs,
     kGp /* emulated hardware */,
     13},
    {"div by zero", {0x31, 0xc0, 0x31, 0xd2, 0xf7, 0xf0}, 0, 0, 4},
    {"retf to ring 0", {0x6a, 0x10, 0x68, 0, 0, 0x40, 0, 0x48, 0xcb}, kGp, kGp, 7},
};

TEST_CASE("odd instructions") {
  Runner runner;
  for (const Case& c : kCases) {
    DYNAMIC_SECTION(c.name) {
      ArchState state;
      const Exit exit = runner.Run(c.code, &state);
      REQUIRE(std::holds_alternative<platform::ExceptionExit>(exit));
      const auto exception = std::get<platform::ExceptionExit>(exit);
      CHECK((exception.vector == c.vector || exception.vector == c.other));
      // QEMU's emulation of SVM reports some INT n behind the instruction; no CPU does.
      const bool int_n =
          *c.code.begin() == 0xcd && exception.vector == kGp && state.rip == kTestCode + 2;
      if (!int_n) CHECK(state.rip == kTestCode + c.rip_offset);
      CHECK(state.rdx == (std::string(c.name) == "div by zero" ? 0 : 0x80));
      CHECK(state.rdi == kTestData);
      CHECK(state.rsi == kTestData);
      const bool sets_rcx = std::string(c.name) == "rdpmc";
      CHECK(state.rcx == (sets_rcx ? 0 : 3));
      runner.CheckStillWorks();
    }
  }
}

TEST_CASE("int1 is a trap") {
  Runner runner;
  ArchState state;
  const Exit exit = runner.Run({0xf1}, &state);
  REQUIRE(std::holds_alternative<platform::ExceptionExit>(exit));
  // QEMU's emulation of SVM has an opinion of its own.
  if (TestPlatform().Describe().find("deprivileged") != std::string::npos) {
    CHECK(std::get<platform::ExceptionExit>(exit).vector == kDb);
    CHECK(state.rip == kTestCode + 1);
  }
  runner.CheckStillWorks();
}

TEST_CASE("single stepping reports each instruction") {
  Runner runner;
  ArchState state;
  // pushfq; or dword [rsp], 0x100; popfq; nop; nop
  const Exit exit = runner.Run({0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90}, &state);
  REQUIRE(std::holds_alternative<platform::ExceptionExit>(exit));
  CHECK(std::get<platform::ExceptionExit>(exit).vector == kDb);
  CHECK(state.rip == kTestCode + 10);
  CHECK((state.rflags & 0x100) != 0);
  CHECK(state.rsp == kTestStack);
}

TEST_CASE("a call that is stepped over exits, and the step is reported behind it") {
  TestGuest guest(&TestPlatform());
  guest.SetCode(Code()({0x0f, 0x05})({0x90, 0x90}));
  auto context = MUST(TestPlatform().NewContext());  // tests have memory
  ArchState state = guest.Start();
  state.rflags |= 0x100;
  Exit exit = context->Switch(*guest.space, state, {});
  REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
  CHECK((state.rflags & 0x100) != 0);
  CHECK(state.rip == kTestCode + 2);
  exit = context->Switch(*guest.space, state, {});
  REQUIRE(std::holds_alternative<platform::ExceptionExit>(exit));
  CHECK(std::get<platform::ExceptionExit>(exit).vector == kDb);
  CHECK(state.rip == kTestCode + 3);
}

TEST_CASE("harmless ones work: CPUID, XGETBV, RDTSC, SGDT") {
  Runner runner;
  ArchState state;
  // xor ecx, ecx; xgetbv; syscall
  Exit exit = runner.Run({0x31, 0xc9, 0x0f, 0x01, 0xd0, 0x0f, 0x05}, &state);
  REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
  // Hosts without hardware virtualisation leave XCR0 as it is for the host's own programs.
  CHECK((state.rax & 7) == 7);
  // mov eax, 1; xor ecx, ecx; cpuid; mov esi, ecx; syscall
  exit = runner.Run({0xb8, 1, 0, 0, 0, 0x31, 0xc9, 0x0f, 0xa2, 0x89, 0xce, 0x0f, 0x05}, &state);
  REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
  CHECK((state.rsi & (1u << 27)) != 0);  // OSXSAVE
  CHECK((state.rsi & (1u << 28)) != 0);  // AVX
  CHECK((state.rsi & (1u << 31)) != 0);  // a hypervisor is there
  // mov eax, 13; xor ecx, ecx; cpuid; mov esi, ebx; syscall
  exit = runner.Run({0xb8, 13, 0, 0, 0, 0x31, 0xc9, 0x0f, 0xa2, 0x89, 0xde, 0x0f, 0x05}, &state);
  REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
  CHECK(state.rsi >= 832);  // 832, or what goes with the host's XCR0
  // rdtsc; syscall
  exit = runner.Run({0x0f, 0x31, 0x0f, 0x05}, &state);
  CHECK(std::holds_alternative<platform::SyscallExit>(exit));
  // vxorps zmm0
  exit = runner.Run({0x62, 0xf1, 0x7c, 0x48, 0x57, 0xc0, 0x0f, 0x05}, &state);
  if ((platform::GuestFpuLayout().components & platform::kFpuAvx512) != 0) {
    CHECK(std::holds_alternative<platform::SyscallExit>(exit));
  } else {
    REQUIRE(std::holds_alternative<platform::ExceptionExit>(exit));
    CHECK(std::get<platform::ExceptionExit>(exit).vector == kUd);
  }
  runner.CheckStillWorks();
}

// On bare metal they are #UD. A host that is a guest itself leaves them as it finds them, for its
// own programs too: refused (-EPERM in rax), #GP, or a write fault when the hypervisor below wants
// to replace the one of the other vendor by its own.
TEST_CASE("VMCALL and VMMCALL reach nobody") {
  const uint8_t last = GENERATE(uint8_t{0xc1}, uint8_t{0xd9});
  Runner runner;
  ArchState state;
  const Exit exit = runner.Run({0x0f, 0x01, last, 0x0f, 0x05}, &state);
  if (const auto* exception = std::get_if<platform::ExceptionExit>(&exit)) {
    CHECK((exception->vector == kUd || exception->vector == kGp));
  } else if (const auto* fault = std::get_if<platform::FaultExit>(&exit)) {
    CHECK(fault->access == Access::kWrite);
    CHECK(fault->address == VirtAddr(kTestCode));
  } else {
    REQUIRE(std::holds_alternative<platform::SyscallExit>(exit));
    CHECK(static_cast<int64_t>(state.rax) < 0);
  }
  runner.CheckStillWorks();
}

}  // namespace
}  // namespace ringfence::kvm
