// What the calls about scheduling share: whom a caller may change, and nice values.
#ifndef RINGFENCE_SENTRY_SYSCALLS_SYS_PRIORITY_H_
#define RINGFENCE_SENTRY_SYSCALLS_SYS_PRIORITY_H_

#include <cstdint>

#include "sentry/syscalls/syscall_context.h"

namespace ringfence::sentry {

inline constexpr int kCapSysNice = 23;

// The caller is the target's user, or has CAP_SYS_NICE.
bool MaySchedule(SyscallContext& ctx, const Task& target);

// A nice value from -20 to 19: EPERM for somebody else's thread, EACCES for a better one than
// RLIMIT_NICE allows.
Result<void> SetNice(SyscallContext& ctx, Task& target, int32_t nice);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_SYS_PRIORITY_H_
