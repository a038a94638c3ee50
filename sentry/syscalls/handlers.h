// Declarations of all handlers, from the table. One file per family defines them.
#ifndef RINGFENCE_SENTRY_SYSCALLS_HANDLERS_H_
#define RINGFENCE_SENTRY_SYSCALLS_HANDLERS_H_

#include "sentry/syscalls/syscall_context.h"

namespace ringfence::sentry {

#define ROW(number, name, handler, ...) Result<int64_t> handler(SyscallContext& ctx);
#define ABSENT(...)
#include "sentry/syscalls/table.inc"
#undef ROW
#undef ABSENT

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_HANDLERS_H_
