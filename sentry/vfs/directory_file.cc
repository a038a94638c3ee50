#include "sentry/vfs/directory_file.h"

#include <dirent.h>
#include <unistd.h>

#include "sentry/vfs/inode.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

Result<int64_t> DirectoryFile::Seek(const CallContext&, int64_t offset, int whence) {
  absl::MutexLock lock(&offset_mutex_);
  int64_t position = offset;
  if (whence == SEEK_CUR && __builtin_add_overflow(offset, offset_, &position)) {
    return Errno::kOVERFLOW;
  }
  if ((whence != SEEK_SET && whence != SEEK_CUR) || position < 0) return Errno::kINVAL;
  offset_ = position;
  return position;
}

Result<bool> DirectoryFile::EmitDots(const CallContext& ctx, EmitFn emit) {
  while (offset_ < kFirstEntry) {
    InodeRef shown = inode();
    if (offset_ == 1 && dentry() != nullptr) shown = dentry()->parent()->inode();
    const uint64_t ino = shown == nullptr ? 1 : TRY(shown->GetAttr(ctx)).ino;
    if (!emit(DirEntry{ino, offset_ + 1, DT_DIR, offset_ == 0 ? "." : ".."})) return false;
    ++offset_;
  }
  return true;
}

Result<void> DirectoryFile::ReadDir(const CallContext& ctx, EmitFn emit) {
  // Nothing can be in it any more, and not even the dots are (IS_DEADDIR of Linux).
  if (dentry() != nullptr && dentry()->unlinked()) return Errno::kNOENT;
  absl::MutexLock lock(&offset_mutex_);
  TRY(Prepare(ctx));
  const int64_t start = offset_;
  if (!TRY(EmitDots(ctx, emit))) return Ok();
  int64_t position = offset_;
  auto advance = [&](const DirEntry& entry) {
    if (!emit(entry)) return false;
    position = entry.next_offset;
    return true;
  };
  Result<void> done = ReadEntries(ctx, position, advance);
  // What was emitted before an error counts; the error comes back on the next call.
  if (!done.ok() && position == start) return done;
  offset_ = position;
  return Ok();
}

}  // namespace ringfence::sentry
