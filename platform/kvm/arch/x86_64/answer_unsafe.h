// Answers a posted call by one store of 16 bytes.
//
// Result and state in two stores would be two changes of hands of the line: the guest, who looks at
// it all the time, takes it back in between. Processors with AVX do aligned stores of 16 bytes as
// one (SDM vol. 3, 9.1.1, "Guaranteed Atomic Operations"); elsewhere the halves become visible in
// some order, and a guest that sees the state first may take a wrong result, so those get two.
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_ANSWER_UNSAFE_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_ANSWER_UNSAFE_H_

#include <emmintrin.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "platform/kvm/call_page.h"

namespace ringfence::kvm {

// ThreadSanitizer would take the store for a plain one.
__attribute__((no_sanitize("thread"))) inline void Answer(CallPage& page, int64_t result,
                                                          bool whole_stores) {
  static_assert(offsetof(CallPage, state) % 16 == 0);
  static_assert(offsetof(CallPage, trapped) == offsetof(CallPage, state) + 4);
  static_assert(offsetof(CallPage, rax) == offsetof(CallPage, state) + 8);
  if (!whole_stores) {
    page.rax.store(static_cast<uint64_t>(result), std::memory_order_relaxed);
    page.state.store(CallPage::kDone, std::memory_order_release);
    return;
  }
  // Everything before comes before it for the compiler, too; the processor keeps stores in order.
  std::atomic_signal_fence(std::memory_order_release);
  // SAFETY: the three fields are the 16 aligned bytes at `state` (asserted above); `trapped` has
  // been read and is the stub's to write again.
  _mm_store_si128(reinterpret_cast<__m128i*>(&page.state), _mm_set_epi64x(result, CallPage::kDone));
  std::atomic_signal_fence(std::memory_order_release);
}

// Does the processor store 16 bytes as one?
inline bool HasWholeStores() { return __builtin_cpu_supports("avx") != 0; }

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_ANSWER_UNSAFE_H_
