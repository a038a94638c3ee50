// How seccomp(2) names this machine's calls, for tests of filters.
#ifndef RINGFENCE_PLATFORM_SECCOMP_ARCH_X86_64_AUDIT_ARCH_H_
#define RINGFENCE_PLATFORM_SECCOMP_ARCH_X86_64_AUDIT_ARCH_H_

#include <linux/audit.h>

#include <cstdint>

namespace ringfence::seccomp {

inline constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
inline constexpr uint32_t kOtherArch = AUDIT_ARCH_I386;
// x32 calls come under the same architecture, with this bit in their number.
inline constexpr int kForeignCalls = 0x40000000;

}  // namespace ringfence::seccomp

#endif  // RINGFENCE_PLATFORM_SECCOMP_ARCH_X86_64_AUDIT_ARCH_H_
