// The SYSCALL trampoline of trampoline.S: where it is, and what a register set found inside it
// means. SYSCALL loads RIP from LSTAR, RCX from the next RIP and R11 from RFLAGS (SDM vol. 2,
// SYSCALL); ring 0 is entered on hardware, not on hosts of the deprivileged kind.
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_TRAMPOLINE_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_TRAMPOLINE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "platform/api/arch_state.h"
#include "platform/base/addr.h"
#include "platform/kvm/call_page.h"
#include "platform/mem/address_space.h"

namespace ringfence::kvm {

enum class Flavour { kPrivileged, kDeprivileged };

// Code page; the data page follows, then the page of answers, then the counts of waiters. They are
// at the same address for all vCPUs and spaces, in the part of the page tables that each vCPU has
// for itself (AddressSpace::AddRoot). One frame of code serves all, a data frame exactly one
// (space, vCPU) pair, a frame of answers one vCPU, a frame of counts one space.
inline constexpr VirtAddr kTrampolineCode = platform::kOwnRootBase;
inline constexpr VirtAddr kTrampolineData{kTrampolineCode.value() + kPageSize};
inline constexpr VirtAddr kTrampolineAnswers{ANSWER_PAGE};
static_assert(ANSWER_PAGE == kTrampolineData.value() + kPageSize);
inline constexpr VirtAddr kTrampolineWaiters{WAITERS_PAGE};
static_assert(WAITERS_PAGE == ANSWER_PAGE + kPageSize);

// Offsets of instructions in the code page, in this order except for the last four. The call's own
// result, an answer of the page or a service thread's, is in rax from `result` on.
struct TrampolineRegions {
  uint32_t direct;           // where call sites enter; r11 is not yet set
  uint32_t direct_rsp_lost;  // rsp is in CallPage::saved_rsp from here
  uint32_t direct_rsp_back;  // and back from here
  uint32_t common;           // r11 is set from here
  uint32_t rax_saved;        // rax is in CallPage::number from here, and nowhere else
  uint32_t futex;            // reads the program's memory from here: a fault is the call's, which
  uint32_t futex_end;        // goes to the sentry, to here; equal where there is no such part
  uint32_t posted;           // first instruction after the call was posted
  uint32_t result;           // rax holds the result from here
  uint32_t rsp_lost;         // rsp is in CallPage::saved_rsp from here
  uint32_t rsp_back;         // and back from here; equal to rsp_lost where there is no such part
  uint32_t punted;           // rax must be fetched again from here
  uint32_t exit;             // the OUT; every register is the caller's, as SYSCALL left it
  uint32_t exited;           // after the OUT; a privileged stub resumes here
  uint32_t end;
};

// Kernel memory: 4096 bytes of position-independent code and its table.
const std::byte* TrampolineImage(Flavour flavour);
const TrampolineRegions& TrampolineTable(Flavour flavour);

enum class CallProgress {
  kNotServed,  // as if SYSCALL had just been executed: report it
  kServed,     // the call has its result; the caller continues behind SYSCALL
};

// For a vCPU that was stopped with RIP at `offset` of the code page while no service thread has a
// hand on `page`: rebuilds the caller's registers in `state` and leaves `page` idle. nullopt:
// RIP is outside of the stub's code (beyond `end`); only a stray jump gets there, and the registers
// are what they are.
//
// Nothing is assumed about registers or page: a guest may jump to any offset (in the deprivileged
// flavour) and thereby makes at most a call of its own.
std::optional<CallProgress> RebuildCaller(const TrampolineRegions& regions, uint64_t offset,
                                          CallPage& page, platform::ArchState* state);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_TRAMPOLINE_H_
