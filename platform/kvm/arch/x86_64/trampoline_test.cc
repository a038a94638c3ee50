// What a register set found inside the stub means, for every offset; no /dev/kvm.
#include "platform/kvm/arch/x86_64/trampoline.h"

#include <catch2/catch.hpp>
#include <memory>

#include "platform/kvm/arch/x86_64/registers.h"
#include "platform/kvm/call_page_layout.h"

namespace ringfence::kvm {
namespace {

platform::ArchState InStub() {
  platform::ArchState state;
  state.rip = kTrampolineCode.value();
  state.rax = 0xaaaa;
  state.rcx = 0x400002;
  state.r11 = 0x246;
  state.rsp = 0x7000;
  state.rflags = 0x2;
  return state;
}

TEST_CASE("bug: a kick on the way back from the trampoline lost IF") {
  CallPage page{};
  for (Flavour flavour : {Flavour::kPrivileged, Flavour::kDeprivileged}) {
    const TrampolineRegions& r = TrampolineTable(flavour);
    platform::ArchState state = InStub();
    state.r11 = 0x46;
    REQUIRE(RebuildCaller(r, r.result, page, &state).has_value());
    CHECK(state.rflags == 0x246);
  }
  kvm_regs reported{};
  reported.rflags = 0x93;  // in the program already, flags still as SFMASK left them
  platform::ArchState state;
  FromKvmRegs(reported, &state);
  CHECK(state.rflags == 0x293);
}

TEST_CASE("both stubs fit a page, know their OUT and their regions in order") {
  for (Flavour flavour : {Flavour::kPrivileged, Flavour::kDeprivileged}) {
    const TrampolineRegions& r = TrampolineTable(flavour);
    const std::byte* code = TrampolineImage(flavour);
    CHECK(r.direct <= r.direct_rsp_lost);
    CHECK(r.direct_rsp_lost <= r.direct_rsp_back);
    CHECK(r.direct_rsp_back <= r.common);
    CHECK(r.common < r.rax_saved);
    CHECK(r.rax_saved < r.posted);
    CHECK(r.rax_saved < r.futex);
    CHECK(r.futex <= r.futex_end);
    CHECK(r.futex_end < r.posted);
    CHECK(r.posted < r.result);
    CHECK(r.result < r.rsp_lost);
    CHECK(r.rsp_lost <= r.rsp_back);
    CHECK(r.rsp_back <= r.punted);
    CHECK(r.punted < r.exit);
    CHECK(r.exited == r.exit + 2);
    CHECK(r.exited <= r.end);
    CHECK(r.end < kPageSize);
    CHECK(code[r.exit] == std::byte{0xe6});
    CHECK(code[r.exit + 1] == std::byte{CALL_PORT});
  }
}

TEST_CASE("every offset in every state gives the caller's registers back") {
  for (Flavour flavour : {Flavour::kPrivileged, Flavour::kDeprivileged}) {
    const TrampolineRegions& r = TrampolineTable(flavour);
    for (uint64_t offset = 0; offset < r.end; ++offset) {
      for (uint32_t progress :
           {CallPage::kIdle, CallPage::kPosted, CallPage::kDone, CallPage::kPunt}) {
        auto page = std::make_unique<CallPage>();
        page->state = progress;
        page->rax = 0xbbbb;
        page->number = 0xcccc;
        page->saved_rsp = 0x8000;
        platform::ArchState state = InStub();
        // From a call site: the flags are still where they were.
        const bool entering = offset >= r.direct && offset < r.common;
        if (entering) {
          state.rflags = 0x46;
          state.r11 = 0;
        }
        const auto result = RebuildCaller(r, offset, *page, &state);
        REQUIRE(result.has_value());
        CHECK(state.rip == 0x400002);
        CHECK(state.rflags == 0x246);
        CHECK(state.r11 == 0x246);
        CHECK(page->state == CallPage::kIdle);
        const bool waiting =
            (offset >= r.posted && offset < r.result) || (offset >= r.punted && offset < r.exited);
        const bool late = waiting && progress == CallPage::kDone;
        const bool asking = offset >= r.rax_saved && offset < r.result;
        const bool completed = offset >= r.result && offset < r.punted;
        const bool refetch = offset >= r.punted && offset < r.exit;
        CHECK(state.rax == (late ? 0xbbbb : asking || refetch ? 0xcccc : 0xaaaa));
        const bool on_scratch = (offset >= r.rsp_lost && offset < r.rsp_back) ||
                                (offset >= r.direct_rsp_lost && offset < r.direct_rsp_back);
        CHECK(state.rsp == (on_scratch ? 0x8000 : 0x7000));
        const bool resuming = offset >= r.exited;
        const bool served = completed || resuming || late;
        CHECK(*result == (served ? CallProgress::kServed : CallProgress::kNotServed));
      }
    }
    CallPage page{};
    platform::ArchState state = InStub();
    CHECK_FALSE(RebuildCaller(r, r.end, page, &state).has_value());
    CHECK_FALSE(RebuildCaller(r, ~uint64_t{0}, page, &state).has_value());
    CHECK(state.rip == kTrampolineCode.value());
  }
}

}  // namespace
}  // namespace ringfence::kvm
