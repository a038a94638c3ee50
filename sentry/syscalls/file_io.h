// Blocking reads and writes over File, which never blocks: the one place that turns EAGAIN into
// waiting (read(2), write(2), pipe(7)).
#ifndef RINGFENCE_SENTRY_SYSCALLS_FILE_IO_H_
#define RINGFENCE_SENTRY_SYSCALLS_FILE_IO_H_

#include <cstdint>
#include <vector>

#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/syscall_context.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

inline constexpr uint64_t kMaxRwCount = 0x7ffff000;  // MAX_RW_COUNT

// EFAULT when [addr, addr + length) leaves the user range (access_ok).
Result<void> CheckUserRange(VirtAddr addr, uint64_t length);

// The segments of the iovec array of arguments `arg` and `arg` + 1: EINVAL, EFAULT; the total is
// cut to MAX_RW_COUNT.
Result<std::vector<UserIo::Segment>> LoadSegments(SyscallContext& ctx, int arg);

// The same of `count` elements at `vectors`.
Result<std::vector<UserIo::Segment>> SegmentsOf(SyscallContext& ctx, GuestIn<GuestIovec> vectors,
                                                uint64_t count);

// EPIPE with its signal, SIGPIPE.
Errno RaisePipe(SyscallContext& ctx);
// EFBIG with its signal, SIGXFSZ, where a limit of the process is the reason (setrlimit(2)).
Errno FinishTooBig(SyscallContext& ctx);

struct IoOptions {
  const int64_t* offset = nullptr;  // null = the file's own
  bool no_wait = false;             // RWF_NOWAIT: EAGAIN instead of anything that takes long
  bool append = false;              // RWF_APPEND
};

// Reads once something is there; writes everything unless the file cannot take it. Check the
// access mode (EBADF), block unless the file is O_NONBLOCK, raise SIGPIPE with EPIPE.
Result<int64_t> ReadFile(SyscallContext& ctx, File& file, UserIo& io, const IoOptions& options);
Result<int64_t> WriteFile(SyscallContext& ctx, File& file, UserIo& io, const IoOptions& options);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_FILE_IO_H_
