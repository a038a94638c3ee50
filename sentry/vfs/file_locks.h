// FileLocks: the advisory locks of one file: record locks of processes and of open file
// descriptions (fcntl(2), "Advisory record locking"), and flock(2) locks, which know nothing of
// each other. The inode has it from the first lock on.
//
// Nothing here blocks: EAGAIN, and queue() says when to try again. Threads: any.
#ifndef RINGFENCE_SENTRY_VFS_FILE_LOCKS_H_
#define RINGFENCE_SENTRY_VFS_FILE_LOCKS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"
#include "sentry/base/wait_queue.h"

namespace ringfence::sentry {

struct RecordRange {
  int64_t start, end;  // both included; end INT64_MAX: to the end of the file, however long
};

struct RecordLock {
  uint64_t owner;  // a descriptor table's number, or the address of a File
  int32_t pid;     // what F_GETLK says; -1 for an open file description
  bool exclusive;
  RecordRange range;
};

class FileLocks {
 public:
  // No guest gets more locks on one file than this: ENOLCK.
  static constexpr size_t kMaxLocks = 16384;

  // A lock of somebody else that stands in the way of `wanted`.
  std::optional<RecordLock> FindConflict(const RecordLock& wanted) const;
  // Replaces what the owner has in the range. EAGAIN, ENOLCK.
  Result<void> Lock(const RecordLock& wanted);
  Result<void> Unlock(const RecordLock& range);  // ENOLCK when it would split one too many
  void UnlockAll(uint64_t owner);

  // flock(2), by open file. EAGAIN: a lock that the file had is lost then, as on Linux.
  Result<void> LockWhole(const void* file, bool exclusive);
  void UnlockWhole(const void* file);

  // kEventIn when locks have gone.
  WaitQueue& queue() { return queue_; }

 private:
  struct WholeLock {
    const void* file;
    bool exclusive;
  };
  const RecordLock* FindConflictLocked(const RecordLock& wanted) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  Result<void> CutOutLocked(const RecordLock& hole) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddLocked(RecordLock lock) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::vector<RecordLock> records_ ABSL_GUARDED_BY(mutex_);
  std::vector<WholeLock> wholes_ ABSL_GUARDED_BY(mutex_);
  WaitQueue queue_;
};
using FileLocksRef = std::shared_ptr<FileLocks>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_FILE_LOCKS_H_
