// The x86-64 signal frame as it lies on the stack: struct rt_sigframe of Linux
// (arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h, uapi/asm/ucontext.h).
#ifndef RINGFENCE_SENTRY_ARCH_X86_64_SIGCONTEXT_H_
#define RINGFENCE_SENTRY_ARCH_X86_64_SIGCONTEXT_H_

#include <cstddef>
#include <cstdint>

#include "sentry/base/signal.h"

namespace ringfence::sentry {

inline constexpr uint64_t kUcFpXstate = 1, kUcSigcontextSs = 2, kUcStrictRestoreSs = 4;
inline constexpr uint16_t kUserCs = 0x33, kUserSs = 0x2b;
inline constexpr uint64_t kRedZone = 128;

struct SigContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;
  uint64_t reserved[8];
};
static_assert(sizeof(SigContext) == 256);

struct UContext {
  uint64_t flags;
  uint64_t link;
  SigAltStack stack;
  SigContext mcontext;
  SigSet sigmask;
};
static_assert(sizeof(UContext) == 304);

struct RtSigFrame {
  uint64_t pretcode;
  UContext uc;
  SigInfo info;
};
static_assert(sizeof(RtSigFrame) == 440);
static_assert(offsetof(RtSigFrame, uc) == 8);

// The bytes of the FXSAVE area that software may use (struct _fpx_sw_bytes).
struct FpxSwBytes {
  uint32_t magic1;
  uint32_t extended_size;
  uint64_t xfeatures;
  uint32_t xstate_size;
  uint32_t padding[7];
};
static_assert(sizeof(FpxSwBytes) == 48);

inline constexpr uint32_t kFpXstateMagic1 = 0x46505853, kFpXstateMagic2 = 0x46505845;
inline constexpr size_t kSwBytesOffset = 464;
inline constexpr size_t kXsaveHeaderOffset = 512, kXsaveHeaderSize = 64;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_ARCH_X86_64_SIGCONTEXT_H_
