#include "platform/kvm/exit_decode.h"

#include <linux/kvm.h>

#include <catch2/catch.hpp>
#include <cerrno>

namespace ringfence::kvm {
namespace {

constexpr ExitGeometry kGeometry = {.trampoline = 0xffffc90000004000,
                                    .out_offset = 0xc5,
                                    .exited_offset = 0xc7,
                                    .stubs = 0xffffffff80001000,
                                    .stub_bytes = 16,
                                    .vectors = 32,
                                    .exception_port = 0x40,
                                    .call_port = 0x80};

RawExit Io(uint64_t rip, uint16_t port, unsigned cpl, bool in = false) {
  return {.reason = KVM_EXIT_IO, .io_in = in, .port = port, .rip = rip, .cpl = cpl};
}
ExitKind Kind(const RawExit& raw) { return DecodeExit(raw, kGeometry).kind; }

TEST_CASE("the stub's OUT is a call, whether or not KVM advanced RIP") {
  CHECK(Kind(Io(kGeometry.trampoline + 0xc5, 0x80, 3)) == ExitKind::kCall);
  CHECK(Kind(Io(kGeometry.trampoline + 0xc7, 0x80, 3)) == ExitKind::kCall);
  CHECK(Kind(Io(kGeometry.trampoline + 0xc7, 0x80, 0)) == ExitKind::kCall);
}

TEST_CASE("port access anywhere else is the program's own") {
  CHECK(Kind(Io(0x400000, 0x80, 3)) == ExitKind::kGuestIo);
  CHECK(Kind(Io(0x400000, 0x80, 3, true)) == ExitKind::kGuestIo);
  CHECK(Kind(Io(kGeometry.trampoline + 0xc5, 0x80, 3, true)) == ExitKind::kGuestIo);
  CHECK(Kind(Io(kGeometry.trampoline + 0x2000 + 0xc5, 0x80, 3)) == ExitKind::kGuestIo);
  CHECK(Kind(Io(kGeometry.stubs, 0x40, 3)) == ExitKind::kGuestIo);
  CHECK(Kind(Io(0x400000, 0x80, 0)) == ExitKind::kFatal);
}

TEST_CASE("exceptions come from their stub at ring 0 with their port") {
  const DecodedExit exit = DecodeExit(Io(kGeometry.stubs + 14 * 16 + 2, 0x4e, 0), kGeometry);
  CHECK(exit.kind == ExitKind::kException);
  CHECK(exit.vector == 14);
  CHECK(Kind(Io(kGeometry.stubs + 14 * 16, 0x4d, 0)) == ExitKind::kFatal);
}

TEST_CASE("a kick inside an exception stub is the exception") {
  RawExit raw{.error = EINTR, .rip = kGeometry.stubs + 6 * 16, .cpl = 0};
  const DecodedExit exit = DecodeExit(raw, kGeometry);
  CHECK(exit.kind == ExitKind::kException);
  CHECK(exit.vector == 6);
}

TEST_CASE("kicks, and kicks that came before an exception was delivered") {
  CHECK(Kind({.error = EINTR, .rip = 0x400000}) == ExitKind::kKicked);
  CHECK(Kind({.error = EAGAIN, .rip = 0x400000}) == ExitKind::kKicked);
  CHECK(Kind({.reason = KVM_EXIT_INTR, .rip = 0x400000}) == ExitKind::kKicked);
  CHECK(Kind({.error = EINTR, .rip = 0x400000, .exception_pending = true}) == ExitKind::kRetry);
}

TEST_CASE("memory that is not there, and hosts that fail") {
  CHECK(Kind({.error = EFAULT}) == ExitKind::kNotBacked);
  CHECK(Kind({.reason = KVM_EXIT_MMIO}) == ExitKind::kNotBacked);
  CHECK(Kind({.error = ENOMEM}) == ExitKind::kFatal);
  CHECK(Kind({.reason = KVM_EXIT_SHUTDOWN}) == ExitKind::kFatal);
  CHECK(Kind({.reason = KVM_EXIT_FAIL_ENTRY}) == ExitKind::kFatal);
  CHECK(Kind({.reason = KVM_EXIT_HYPERCALL}) == ExitKind::kFatal);
  CHECK(Kind({.reason = KVM_EXIT_INTERNAL_ERROR,
              .rip = 0x400000,
              .suberror = KVM_INTERNAL_ERROR_EMULATION}) == ExitKind::kInvalidInstruction);
  CHECK(Kind({.reason = KVM_EXIT_INTERNAL_ERROR, .suberror = KVM_INTERNAL_ERROR_DELIVERY_EV}) ==
        ExitKind::kFatal);
}

template <typename T>
T Decode(RawException raw, std::initializer_list<uint8_t> code, uint64_t* rip) {
  const platform::Exit exit = DecodeException(raw, code.begin(), code.size(), rip);
  REQUIRE(std::holds_alternative<T>(exit));
  return std::get<T>(exit);
}

TEST_CASE("page faults") {
  uint64_t rip = 0x400000;
  auto fault = Decode<platform::FaultExit>({14, 4, 0x1000, 0}, {}, &rip);
  CHECK(fault.address == VirtAddr(0x1000));
  CHECK(fault.access == Access::kRead);
  CHECK_FALSE(fault.present);
  fault = Decode<platform::FaultExit>({14, 7, 0x1000, 0}, {}, &rip);
  CHECK(fault.access == Access::kWrite);
  CHECK(fault.present);
  fault = Decode<platform::FaultExit>({14, 0x15, 0x1000, 0}, {}, &rip);
  CHECK(fault.access == Access::kExec);
  CHECK(fault.present);
  CHECK(rip == 0x400000);
}

TEST_CASE("software interrupts are what they are on Linux") {
  uint64_t rip = 0x400000;
  auto e = Decode<platform::ExceptionExit>({6, 0, 0, 0}, {0xcd, 0x80}, &rip);
  CHECK(e.vector == 13);
  CHECK(e.error_code == 0x402);
  CHECK(rip == 0x400000);
  e = Decode<platform::ExceptionExit>({6, 0, 0, 0}, {0xcd, 3}, &rip);
  CHECK(e.vector == 3);
  CHECK(rip == 0x400002);
  e = Decode<platform::ExceptionExit>({6, 0, 0, 0}, {0x0f, 0x0b}, &rip);
  CHECK(e.vector == 6);
  e = Decode<platform::ExceptionExit>({6, 0, 0, 0}, {}, &rip);
  CHECK(e.vector == 6);
  rip = 0x400000;
  e = Decode<platform::ExceptionExit>({1, 0, 0, 0x202}, {0xf1}, &rip);
  CHECK(e.vector == 1);
  CHECK(rip == 0x400001);
  e = Decode<platform::ExceptionExit>({1, 0, 0, 0x302}, {0xf1}, &rip);
  CHECK(rip == 0x400001);
}

TEST_CASE("an OUT that KVM has passed over") {
  const auto decode = [](std::initializer_list<uint8_t> before,
                         std::initializer_list<uint8_t> after) {
    return DecodeOut(before.begin(), before.size(), after.begin(), after.size(), 0x80);
  };
  CHECK(decode({0x90, 0x90, 0xe6, 0x80}, {}).advanced == 2);
  CHECK(decode({0xe7, 0x80}, {}).advanced == 2);
  CHECK(decode({0x90, 0x90, 0x90, 0xee}, {0x90}).advanced == 1);
  CHECK(decode({}, {}).advanced == 1);
  OutInstruction out = decode({0x90, 0x6e}, {0x90});
  CHECK(out.advanced == 1);
  CHECK(out.string);
  CHECK_FALSE(out.repeated);
  out = decode({0xf3, 0x6e}, {0x90});
  CHECK(out.advanced == 2);
  CHECK(out.repeated);
  out = decode({0x90}, {0xf3, 0x6e});
  CHECK(out.advanced == 0);
  CHECK(out.repeated);
}

}  // namespace
}  // namespace ringfence::kvm
