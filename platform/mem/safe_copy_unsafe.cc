#include <signal.h>

#include <mutex>

#include "platform/base/check.h"
#include "platform/mem/safe_copy.h"
#include "platform/mem/safe_copy_arch_unsafe.h"

namespace ringfence::platform {
namespace {

// Written once by InstallSafeCopyHandler before the handlers are live.
struct sigaction previous_segv;
struct sigaction previous_bus;

// Lets the fault take its course: with the default action the instruction faults again and the
// kernel ends the process with a core dump that shows the real place.
void Chain(int signal, siginfo_t* info, void* context) {
  const struct sigaction& previous = signal == SIGBUS ? previous_bus : previous_segv;
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
    ::signal(signal, SIG_DFL);
    if (info->si_code <= 0) raise(signal);  // sent by kill(2): nothing will fault again
  } else {
    previous.sa_handler(signal);
  }
}

void OnFault(int signal, siginfo_t* info, void* context) {
  // SAFETY: si_code > 0 says that the kernel raised it for the instruction in `context`.
  if (info->si_code > 0 && RecoverFault(context)) return;
  Chain(signal, info, context);
}

void Install(int signal, struct sigaction* previous) {
  struct sigaction action {};
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  Check(sigaction(signal, &action, previous) == 0, "sigaction for safe copies");
}

}  // namespace

void InstallSafeCopyHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    Install(SIGSEGV, &previous_segv);
    Install(SIGBUS, &previous_bus);
  });
}

size_t SafeCopy(void* dst, const void* src, size_t n) {
  return n - ringfence_safe_copy(dst, src, n);
}

size_t SafeZero(void* dst, size_t n) { return n - ringfence_safe_zero(dst, n); }

Result<uint32_t> SafeLoad32(const void* src) {
  uint32_t value = 0;
  if (ringfence_safe_load32(src, &value) != 0) return Errno::kFAULT;
  return value;
}

Result<void> SafeStore32(void* dst, uint32_t value) {
  if (ringfence_safe_store32(dst, value) != 0) return Errno::kFAULT;
  return Ok();
}

Result<uint32_t> SafeCompareExchange32(void* dst, uint32_t expected, uint32_t desired) {
  uint32_t found = expected;
  if (ringfence_safe_cas32(dst, &found, desired) != 0) return Errno::kFAULT;
  return found;
}

}  // namespace ringfence::platform
