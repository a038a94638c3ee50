// The lock commands of fcntl(2) (F_SETLK and its kin), arguments (fd, command, struct flock*).
#ifndef RINGFENCE_SENTRY_SYSCALLS_RECORD_LOCK_H_
#define RINGFENCE_SENTRY_SYSCALLS_RECORD_LOCK_H_

#include <cstdint>

#include "sentry/syscalls/syscall_context.h"

namespace ringfence::sentry {

// Who owns the lock: the process (its descriptor table), or the open file description.
enum class LockKind : uint8_t { kProcess, kOpenFile };

Result<int64_t> GetRecordLock(SyscallContext& ctx, LockKind kind);
// EAGAIN, or with `wait` blocks until the lock is free.
Result<int64_t> SetRecordLock(SyscallContext& ctx, LockKind kind, bool wait);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_RECORD_LOCK_H_
