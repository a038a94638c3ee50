// DirectoryFile: an open directory. Positions 0 and 1 are "." and ".."; file systems supply the
// entries from kFirstEntry on, at positions of their choice that stay valid while the directory
// changes (getdents64(2), telldir(3)).
#ifndef RINGFENCE_SENTRY_VFS_DIRECTORY_FILE_H_
#define RINGFENCE_SENTRY_VFS_DIRECTORY_FILE_H_

#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class DirectoryFile : public File {
 public:
  static constexpr int64_t kFirstEntry = 2;

  using File::File;
  Result<size_t> Read(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kISDIR;
  }
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kBADF;
  }
  Result<int64_t> Seek(const CallContext& ctx, int64_t offset, int whence) override;
  Result<void> ReadDir(const CallContext& ctx, EmitFn emit) override;
  Result<void> Sync(const CallContext&, bool) override { return Ok(); }

 protected:
  // Called before anything is emitted: file systems that have to ask somebody for the entries do it
  // here, so that a service thread is sent away before and not after the dots.
  virtual Result<void> Prepare(const CallContext& ctx) {
    (void)ctx;
    return Ok();
  }
  // Emits entries from `position` (>= kFirstEntry) on, until emit returns false.
  virtual Result<void> ReadEntries(const CallContext& ctx, int64_t position, EmitFn emit) = 0;

 private:
  Result<bool> EmitDots(const CallContext& ctx, EmitFn emit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(offset_mutex_);
};

// DT_* of a mode.
inline uint8_t DirentType(uint32_t mode) { return static_cast<uint8_t>((mode >> 12) & 15); }

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_DIRECTORY_FILE_H_
