// FdTable: descriptors of a task (files_struct). CLONE_FILES shares it.
//
// Threads: any. Files are flushed and dropped after the table's lock has been given back.
#ifndef RINGFENCE_SENTRY_VFS_FD_TABLE_H_
#define RINGFENCE_SENTRY_VFS_FD_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

// A descriptor number as a guest passed it; any value.
enum class Fd : int32_t {};
constexpr int32_t ToInt(Fd fd) { return static_cast<int32_t>(fd); }

class FdTable {
 public:
  FdTable();
  ~FdTable();  // closes everything
  std::shared_ptr<FdTable> Clone() const;

  Result<FileRef> Get(Fd fd) const;  // EBADF
  // As Get, EBADF for O_PATH descriptors too.
  Result<FileRef> GetUsable(Fd fd) const;
  // Lowest free number >= minimum and < limit (RLIMIT_NOFILE). EMFILE; EINVAL if minimum >= limit.
  Result<Fd> Install(FileRef file, bool cloexec, uint32_t limit, uint32_t minimum = 0);
  // dup2/dup3: what was there is closed. EBADF when fd >= limit.
  Result<void> InstallAt(Fd fd, FileRef file, bool cloexec, uint32_t limit);
  Result<void> Close(Fd fd);  // EBADF
  void CloseRange(uint32_t first, uint32_t last, bool only_set_cloexec);
  void CloseOnExec();
  Result<bool> GetCloexec(Fd fd) const;
  Result<void> SetCloexec(Fd fd, bool cloexec);
  std::vector<Fd> List() const;
  uint64_t owner_id() const { return owner_id_; }  // for File::Flush

 private:
  struct Entry {
    FileRef file;
    bool cloexec = false;
  };
  Entry* FindLocked(Fd fd) ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  const Entry* FindLocked(Fd fd) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  FileRef TakeLocked(uint32_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  uint32_t first_free_ ABSL_GUARDED_BY(mutex_) = 0;  // every number below is in use
  uint64_t owner_id_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_FD_TABLE_H_
