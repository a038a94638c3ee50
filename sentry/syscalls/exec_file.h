// Opening a program for execve(2), as system calls, boot and the kernel's interpreter look-up do.
#ifndef RINGFENCE_SENTRY_SYSCALLS_EXEC_FILE_H_
#define RINGFENCE_SENTRY_SYSCALLS_EXEC_FILE_H_

#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

// EACCES unless `dentry` is a regular file the caller may execute (reading is not required).
Result<FileRef> OpenProgram(const CallContext& ctx, const DentryRef& dentry);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_EXEC_FILE_H_
