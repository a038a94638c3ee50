// What the kernel has to know of an architecture's call convention and exceptions, as pure
// functions over the registers. arch/<arch>/arch_call.cc implements them.
#ifndef RINGFENCE_SENTRY_KERNEL_ARCH_CALL_H_
#define RINGFENCE_SENTRY_KERNEL_ARCH_CALL_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "platform/api/arch_state.h"
#include "platform/api/platform.h"
#include "sentry/arch/signal_frame.h"
#include "sentry/base/signal.h"

namespace ringfence::sentry {

uint64_t ProgramCounter(const platform::ArchState& state);
void SetProgramCounter(platform::ArchState& state, uint64_t address);
uint64_t StackPointer(const platform::ArchState& state);

platform::SyscallRequest CallOf(const platform::ArchState& state);
void SetCallResult(platform::ArchState& state, int64_t result);
// No call is being served: there is nothing to restart.
void LeaveCall(platform::ArchState& state);
// Back to the call instruction: the same call once more, or restart_syscall(2) instead.
void RepeatCall(platform::ArchState& state);
void RepeatAsRestartSyscall(platform::ArchState& state);

// Numbers of the calls that tell a task who it is; none of them has arguments.
struct IdentityCalls {
  uint64_t getpid, gettid, getppid, getpgrp, getuid, geteuid, getgid, getegid;
};
extern const IdentityCalls kIdentityCalls;

// Registers of a new task that returns 0 from the parent's call.
platform::ArchState ChildState(const platform::ArchState& parent, uint64_t stack,
                               std::optional<uint64_t> tls);

// Signal of an exception of user code and what the frame says of it. `byte_before` is what is just
// before the instruction pointer (0: not needed or not readable), `fpu` the state for numeric
// exceptions (else null).
struct ExceptionSignal {
  SigInfo info;
  TrapInfo trap;
};
ExceptionSignal SignalOf(const platform::ExceptionExit& exception, const platform::ArchState& state,
                         uint8_t byte_before, const platform::FpuState* fpu);
bool NeedsByteBefore(const platform::ExceptionExit& exception);
bool NeedsFpuState(const platform::ExceptionExit& exception);

// The frame's description of a page fault.
TrapInfo TrapOf(const platform::FaultExit& fault);

// Is it what a rewritten call site raises where its SYSCALL was (MemoryManager::IsCallTail)?
bool IsCallTailException(const platform::ExceptionExit& exception);
// Makes of it the state right after that SYSCALL.
void EnterCallAtTail(platform::ArchState& state);

// A call made by jumping to a fixed address (the vsyscall page): its number, if `address` is one.
std::optional<uint64_t> FixedAddressCall(VirtAddr address);
// Returns from it with `result`; `return_address` was read from the stack.
void ReturnFromFixedAddressCall(platform::ArchState& state, int64_t result,
                                uint64_t return_address);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_ARCH_CALL_H_
