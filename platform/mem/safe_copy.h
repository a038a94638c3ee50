// Fault-recovering copies: the only way the sentry touches memory that a guest or a host file can
// take away. A SIGSEGV or SIGBUS during one of these calls ends the call, not the process.
//
// InstallSafeCopyHandler() must have run once in the process; it chains to the previous handlers
// for faults that are not ours. Threads: any; async-signal-safe.
#ifndef RINGFENCE_PLATFORM_MEM_SAFE_COPY_H_
#define RINGFENCE_PLATFORM_MEM_SAFE_COPY_H_

#include <cstddef>
#include <cstdint>

#include "platform/base/result.h"

namespace ringfence::platform {

void InstallSafeCopyHandler();

// Copies n bytes; returns how many were copied before the first fault (n when all were).
size_t SafeCopy(void* dst, const void* src, size_t n);
size_t SafeZero(void* dst, size_t n);

// Aligned 32-bit atomics on guest memory, for futex words. EFAULT on a fault.
Result<uint32_t> SafeLoad32(const void* src);
Result<void> SafeStore32(void* dst, uint32_t value);
// Returns the value found; the exchange happened if it equals `expected`.
Result<uint32_t> SafeCompareExchange32(void* dst, uint32_t expected, uint32_t desired);

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_SAFE_COPY_H_
