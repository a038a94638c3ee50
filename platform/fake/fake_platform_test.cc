#include "platform/fake/fake_platform.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

namespace ringfence::platform {
namespace {

class Answers : public SyscallService {
 public:
  bool Serve(const SyscallRequest& request, int64_t* result) override {
    if (request.number != 39) return false;
    *result = 1234;
    return true;
  }
};

struct Fixture {
  FakePlatform platform;
  std::unique_ptr<AddressSpace> space = platform.NewAddressSpace().value();
  FakeContext guest{&platform};
  ArchState state;

  Exit Run(bool exitless = true) { return guest.Switch(*space, state, {.exitless = exitless}); }
};

TEST_CASE_METHOD(Fixture, "steps run in order, then the script is at its end") {
  guest.AddSyscall(1, {1, 2, 3, 4, 5, 6});
  guest.AddExit(ExceptionExit{6, 0});
  guest.Add([](AddressSpace&, ArchState& regs) -> Exit {
    regs.rbx = 7;
    return FaultExit{VirtAddr(0x1000), Access::kWrite, false};
  });
  state.rip = 0x400000;
  CHECK(std::holds_alternative<SyscallExit>(Run()));
  CHECK(state.orig_rax == 1);
  CHECK(state.r10 == 4);
  CHECK(state.rip == 0x400002);
  CHECK(state.rcx == state.rip);
  CHECK(state.r11 == state.rflags);
  CHECK(std::get<ExceptionExit>(Run()).vector == 6);
  CHECK(std::get<FaultExit>(Run()).address == VirtAddr(0x1000));
  CHECK(state.rbx == 7);
  CHECK(std::holds_alternative<FatalExit>(Run()));
  const Platform::Counters counters = platform.GetCounters();
  CHECK(counters.exits_syscall == 1);
  CHECK(counters.exits_exception == 1);
  CHECK(counters.exits_fault == 1);
}

TEST_CASE_METHOD(Fixture, "a service answers while the guest runs on") {
  Answers answers;
  guest.SetService(&answers);
  guest.AddSyscall(39, {});
  guest.AddSyscall(60, {5});
  CHECK(std::holds_alternative<SyscallExit>(Run()));
  CHECK(state.orig_rax == 60);
  CHECK(state.rdi == 5);
  CHECK(platform.GetCounters().exitless_calls == 1);
  CHECK(platform.GetCounters().exitless_punts == 1);
  guest.AddSyscall(39, {});
  CHECK(std::holds_alternative<SyscallExit>(Run(false)));
  CHECK(state.orig_rax == 39);
}

TEST_CASE_METHOD(Fixture, "an interrupt before Switch is delivered by the next one, once") {
  guest.AddSyscall(1, {});
  guest.Interrupt();
  guest.Interrupt();
  CHECK(std::holds_alternative<InterruptedExit>(Run()));
  CHECK(std::holds_alternative<SyscallExit>(Run()));
}

TEST_CASE_METHOD(Fixture, "an interrupt ends a guest that loops") {
  guest.AddUntilInterrupted();
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    guest.Interrupt();
  });
  CHECK(std::holds_alternative<InterruptedExit>(Run()));
  other.join();
}

TEST_CASE_METHOD(Fixture, "an interrupt that comes with another exit is kept") {
  guest.Add([&](AddressSpace&, ArchState&) -> Exit {
    guest.Interrupt();
    return ExceptionExit{3, 0};
  });
  CHECK(std::holds_alternative<ExceptionExit>(Run()));
  CHECK(std::holds_alternative<InterruptedExit>(Run()));
}

TEST_CASE_METHOD(Fixture, "contexts are scripted when they are made") {
  platform.SetContextHook([](FakeContext& context) { context.AddExit(ExceptionExit{13, 0}); });
  auto context = platform.NewContext().value();
  CHECK(std::get<ExceptionExit>(context->Switch(*space, state, {})).vector == 13);
}

TEST_CASE_METHOD(Fixture, "guest accesses follow the page tables") {
  const FrameRun run = platform.memory().Allocate(2).value();
  const VirtAddr va(0x1000);
  REQUIRE(space->Map(va, {run.first, 1}, {.prot = Prot::RW()}).ok());
  REQUIRE(space->Map(VirtAddr(0x2000), {Frame{run.first.index + 1}, 1}, {.prot = Prot::R()}).ok());
  const std::string text = "hello";
  CHECK_FALSE(platform.Store(*space, va, text.data(), text.size()));
  char back[6] = {};
  CHECK_FALSE(platform.Load(*space, va, back, 5));
  CHECK(back == text);
  auto fault = platform.Store(*space, VirtAddr(0x1ffe), text.data(), text.size());
  REQUIRE(fault);
  CHECK(fault->address == VirtAddr(0x2000));
  CHECK(fault->present);
  fault = platform.Load(*space, VirtAddr(0x2fff), back, 2);
  REQUIRE(fault);
  CHECK(fault->address == VirtAddr(0x3000));
  CHECK_FALSE(fault->present);
  CHECK(
      space->Unmap({VirtAddr(0), kUserEnd}, [&](FrameRun r) { platform.memory().Unref(r); }).ok());
}

}  // namespace
}  // namespace ringfence::platform
