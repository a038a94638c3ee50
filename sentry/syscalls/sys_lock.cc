// File locks: F_SETLK and its kin of fcntl(2), flock(2).
#include <fcntl.h>
#include <sys/file.h>

#include <limits>

#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/record_lock.h"
#include "sentry/vfs/file_locks.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kEndOfFile = std::numeric_limits<int64_t>::max();

struct GuestFlock {
  int16_t type, whence;
  int32_t pad;
  int64_t start, length;
  int32_t pid, pad2;
};
static_assert(sizeof(GuestFlock) == 32);

// The range that `lock` names; EINVAL before the start, EOVERFLOW behind the end.
Result<RecordRange> RangeOf(SyscallContext& ctx, File& file, const GuestFlock& lock) {
  int64_t base = 0;
  if (lock.whence == SEEK_CUR) {
    base = TRY(file.Seek(ctx.call(), 0, SEEK_CUR));
  } else if (lock.whence == SEEK_END) {
    base = static_cast<int64_t>(TRY(file.GetAttr(ctx.call())).size);
  } else if (lock.whence != SEEK_SET) {
    return Errno::kINVAL;
  }
  int64_t start, end = kEndOfFile;
  if (__builtin_add_overflow(base, lock.start, &start)) return Errno::kOVERFLOW;
  if (start < 0) return Errno::kINVAL;
  if (lock.length > 0) {
    if (__builtin_add_overflow(start, lock.length - 1, &end)) return Errno::kOVERFLOW;
  } else if (lock.length < 0) {
    end = start - 1;
    if (__builtin_add_overflow(start, lock.length, &start) || start < 0) return Errno::kINVAL;
  }
  return RecordRange{start, end};
}

// An owner number: those of descriptor tables are small, a File's is its address.
RecordLock LockOf(SyscallContext& ctx, LockKind kind, const FileRef& file, RecordRange range,
                  bool exclusive) {
  if (kind == LockKind::kOpenFile) {
    return {reinterpret_cast<uint64_t>(file.get()), -1, exclusive, range};
  }
  return {ctx.fds().owner_id(), ctx.task().tgid(), exclusive, range};
}

Result<GuestFlock> LoadLock(SyscallContext& ctx, LockKind kind) {
  const GuestFlock lock = TRY(ctx.In<GuestFlock>(2).Load(ctx.mm()));
  if (kind == LockKind::kOpenFile && lock.pid != 0) return Errno::kINVAL;
  return lock;
}

}  // namespace

Result<int64_t> GetRecordLock(SyscallContext& ctx, LockKind kind) {
  const FileRef file = TRY(ctx.FileArg(0));
  GuestFlock lock = TRY(LoadLock(ctx, kind));
  if (lock.type != F_RDLCK && lock.type != F_WRLCK) return Errno::kINVAL;
  const RecordRange range = TRY(RangeOf(ctx, *file, lock));
  const FileLocksRef locks = file->locks();
  if (locks == nullptr) return Errno::kINVAL;
  const std::optional<RecordLock> found =
      locks->FindConflict(LockOf(ctx, kind, file, range, lock.type == F_WRLCK));
  if (!found.has_value()) {
    lock.type = F_UNLCK;
  } else {
    lock.type = found->exclusive ? F_WRLCK : F_RDLCK;
    lock.whence = SEEK_SET;
    lock.start = found->range.start;
    lock.length = found->range.end == kEndOfFile ? 0 : found->range.end - found->range.start + 1;
    lock.pid = found->pid;
  }
  return Done(ctx.Out<GuestFlock>(2).Store(ctx.mm(), lock));
}

Result<int64_t> SetRecordLock(SyscallContext& ctx, LockKind kind, bool wait) {
  const FileRef file = TRY(ctx.FileArg(0));
  const GuestFlock lock = TRY(LoadLock(ctx, kind));
  const RecordRange range = TRY(RangeOf(ctx, *file, lock));
  if (lock.type != F_RDLCK && lock.type != F_WRLCK && lock.type != F_UNLCK) return Errno::kINVAL;
  if (lock.type == F_RDLCK && !file->readable()) return Errno::kBADF;
  if (lock.type == F_WRLCK && !file->writable()) return Errno::kBADF;
  const FileLocksRef locks = file->locks();
  if (locks == nullptr) return Errno::kINVAL;
  const RecordLock wanted = LockOf(ctx, kind, file, range, lock.type == F_WRLCK);
  if (lock.type == F_UNLCK) return Done(locks->Unlock(wanted));
  const auto attempt = [&]() -> Result<int64_t> {
    TRY(locks->Lock(wanted));
    return int64_t{0};
  };
  const Result<int64_t> result = !wait ? attempt()
                                       : BlockUntil(ctx.task(), ctx.call(), &locks->queue(),
                                                    kEventIn, Deadline::Never(), attempt);
  // Closed meanwhile by another thread: its flush has not seen this lock.
  if (result.ok() && ctx.fds().Get(ctx.FdArg(0)).value_or(nullptr) != file) {
    if (kind == LockKind::kProcess) (void)locks->Unlock(wanted);
    return Errno::kBADF;
  }
  return result;
}

Result<int64_t> SysFlock(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  const int operation = ctx.Int(1) & ~LOCK_NB;
  if (operation != LOCK_SH && operation != LOCK_EX && operation != LOCK_UN) return Errno::kINVAL;
  const FileLocksRef locks = file->locks();
  if (locks == nullptr) return Errno::kINVAL;
  if (operation == LOCK_UN) {
    locks->UnlockWhole(file.get());
    return int64_t{0};
  }
  const auto attempt = [&]() -> Result<int64_t> {
    TRY(locks->LockWhole(file.get(), operation == LOCK_EX));
    return int64_t{0};
  };
  if ((ctx.Int(1) & LOCK_NB) != 0) return attempt();
  return BlockUntil(ctx.task(), ctx.call(), &locks->queue(), kEventIn, Deadline::Never(), attempt);
}

}  // namespace ringfence::sentry
