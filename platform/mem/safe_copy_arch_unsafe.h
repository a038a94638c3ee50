// The architecture's part of safe_copy.h: routines that may fault, and the recovery. Private to
// platform/mem; implemented in arch/<arch>/.
#ifndef RINGFENCE_PLATFORM_MEM_SAFE_COPY_ARCH_UNSAFE_H_
#define RINGFENCE_PLATFORM_MEM_SAFE_COPY_ARCH_UNSAFE_H_

#include <cstddef>
#include <cstdint>

namespace ringfence::platform {

extern "C" {
// Return the number of bytes NOT copied or zeroed.
size_t ringfence_safe_copy(void* dst, const void* src, size_t n);
size_t ringfence_safe_zero(void* dst, size_t n);
// Return 0, or 1 after a fault. `found` is sentry memory.
int ringfence_safe_load32(const void* src, uint32_t* found);
int ringfence_safe_store32(void* dst, uint32_t value);
// *found holds the expected value on entry, the value found on return.
int ringfence_safe_cas32(void* dst, uint32_t* found, uint32_t desired);
}

// Called by the signal handler with its ucontext_t. If the interrupted instruction is one of the
// routines' accesses, makes the routine return its failure and returns true.
bool RecoverFault(void* ucontext);

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_SAFE_COPY_ARCH_UNSAFE_H_
