#include "platform/kvm/arch/x86_64/trampoline.h"

#include "platform/kvm/arch/x86_64/registers.h"

extern "C" {
extern const std::byte ringfence_trampoline_deprivileged[];
extern const std::byte ringfence_trampoline_privileged[];
extern const ringfence::kvm::TrampolineRegions ringfence_trampoline_deprivileged_info;
extern const ringfence::kvm::TrampolineRegions ringfence_trampoline_privileged_info;
}

namespace ringfence::kvm {

const std::byte* TrampolineImage(Flavour flavour) {
  return flavour == Flavour::kPrivileged ? ringfence_trampoline_privileged
                                         : ringfence_trampoline_deprivileged;
}

const TrampolineRegions& TrampolineTable(Flavour flavour) {
  return flavour == Flavour::kPrivileged ? ringfence_trampoline_privileged_info
                                         : ringfence_trampoline_deprivileged_info;
}

std::optional<CallProgress> RebuildCaller(const TrampolineRegions& regions, uint64_t offset,
                                          CallPage& page, platform::ArchState* state) {
  if (offset >= regions.end) return std::nullopt;
  const uint32_t progress = page.state.exchange(CallPage::kIdle, std::memory_order_acq_rel);
  state->rip = state->rcx;
  if (offset >= regions.direct && offset < regions.common) {
    state->r11 = RingThreeFlags(state->rflags);
    if (offset >= regions.direct_rsp_lost && offset < regions.direct_rsp_back) {
      state->rsp = page.saved_rsp.load(std::memory_order_relaxed);
    }
  }
  state->rflags = RingThreeFlags(state->r11);
  // A privileged stub that was about to resume: its call was answered by way of an exit.
  if (offset >= regions.exited) return CallProgress::kServed;
  if (offset < regions.posted) {
    if (offset >= regions.rax_saved) state->rax = page.number.load(std::memory_order_relaxed);
    return CallProgress::kNotServed;
  }
  if (offset >= regions.result && offset < regions.punted) {
    if (offset >= regions.rsp_lost && offset < regions.rsp_back) {
      state->rsp = page.saved_rsp.load(std::memory_order_relaxed);
    }
    return CallProgress::kServed;
  }
  if (progress == CallPage::kDone) {
    state->rax = page.rax.load(std::memory_order_relaxed);
    return CallProgress::kServed;
  }
  if (offset < regions.exit) state->rax = page.number.load(std::memory_order_relaxed);
  return CallProgress::kNotServed;
}

}  // namespace ringfence::kvm
