#include "platform/mem/safe_copy_arch_unsafe.h"

#include <ucontext.h>

// Labels of safe_copy_asm.S; only their addresses mean something.
extern "C" {
extern const char ringfence_safe_copy_access[];
extern const char ringfence_safe_copy_landing[];
extern const char ringfence_safe_zero_access[];
extern const char ringfence_safe_zero_landing[];
extern const char ringfence_safe_load32_access[];
extern const char ringfence_safe_store32_access[];
extern const char ringfence_safe_cas32_access[];
extern const char ringfence_safe_fault_landing[];
}

namespace ringfence::platform {
namespace {

struct Recovery {
  const char* access;   // instruction that may fault
  const char* landing;  // where the routine goes on
};

constexpr Recovery kRecoveries[] = {
    {ringfence_safe_copy_access, ringfence_safe_copy_landing},
    {ringfence_safe_zero_access, ringfence_safe_zero_landing},
    {ringfence_safe_load32_access, ringfence_safe_fault_landing},
    {ringfence_safe_store32_access, ringfence_safe_fault_landing},
    {ringfence_safe_cas32_access, ringfence_safe_fault_landing},
};

}  // namespace

bool RecoverFault(void* ucontext) {
  // SAFETY: the kernel hands an SA_SIGINFO handler a ucontext_t and reloads the registers from it.
  auto& rip = static_cast<ucontext_t*>(ucontext)->uc_mcontext.gregs[REG_RIP];
  for (const Recovery& recovery : kRecoveries) {
    if (rip == reinterpret_cast<greg_t>(recovery.access)) {
      rip = reinterpret_cast<greg_t>(recovery.landing);
      return true;
    }
  }
  return false;
}

}  // namespace ringfence::platform
