// Signal frames: what a handler finds on its stack and what rt_sigreturn(2) reads back.
//
// Layout exactly as Linux for the arch (arch/x86_64/signal_frame.cc): debuggers, unwinders and
// language runtimes look into it. Pure functions over guest memory; the kernel decides which
// signal is delivered and applies mask and alternative stack changes.
#ifndef RINGFENCE_SENTRY_ARCH_SIGNAL_FRAME_H_
#define RINGFENCE_SENTRY_ARCH_SIGNAL_FRAME_H_

#include <cstdint>

#include "platform/api/arch_state.h"
#include "platform/base/result.h"
#include "sentry/base/signal.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

// The last fault of the task, for sigcontext (trapno, err, cr2).
struct TrapInfo {
  uint64_t number = 0;
  uint64_t error_code = 0;
  uint64_t address = 0;
};

struct SignalFrameRequest {
  SigAction action;  // handler is a function
  SigInfo info;
  SigSet saved_mask;     // what rt_sigreturn restores
  SigAltStack altstack;  // of the task; used when action.flags has SA_ONSTACK and it is enabled
  TrapInfo trap;
};

// Writes the frame and sets `state` so that the handler runs: rip, rsp, rdi, rsi, rdx, rax,
// rflags (DF, TF, RF cleared). `fpu` is saved into the frame and reset to its initial state.
// EFAULT: the frame does not fit (the kernel then forces SIGSEGV); state and fpu are unchanged.
Result<void> BuildSignalFrame(MemoryManager& mm, platform::ArchState& state,
                              platform::FpuState& fpu, const SignalFrameRequest& request);

struct RestoredSignalFrame {
  SigSet mask;           // SIGKILL and SIGSTOP are already removed
  SigAltStack altstack;  // to be set as by sigaltstack(2), errors ignored
};

// rt_sigreturn: state.rsp is the stack pointer at the call. Restores registers and FPU state,
// sanitised. state.orig_rax becomes -1 (no restart). EFAULT or EINVAL: the kernel forces SIGSEGV.
Result<RestoredSignalFrame> RestoreSignalFrame(MemoryManager& mm, platform::ArchState& state,
                                               platform::FpuState& fpu);

// Bytes of stack that the largest frame needs: AT_MINSIGSTKSZ.
uint64_t MinSignalStackSize();

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_ARCH_SIGNAL_FRAME_H_
