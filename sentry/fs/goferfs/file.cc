#include "sentry/fs/goferfs/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

class GoferFile : public File {
 public:
  GoferFile(std::shared_ptr<GoferRegular> inode, GoferFileDescriptors descriptors, uint32_t flags)
      : File(flags), inode_(std::move(inode)), descriptors_(std::move(descriptors)) {}

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    if (offset != nullptr) {
      if (*offset < 0) return Errno::kINVAL;
      return ReadAt(ctx, io, *offset);
    }
    absl::MutexLock lock(&offset_mutex_);
    const size_t n = TRY(ReadAt(ctx, io, offset_));
    offset_ += static_cast<int64_t>(n);
    return n;
  }
  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    if (descriptors_.write == nullptr) return Errno::kROFS;
    const bool append = (flags() & O_APPEND) != 0 || ctx.append;
    if (offset != nullptr) {
      if (*offset < 0) return Errno::kINVAL;
      int64_t at = *offset;
      return append ? WriteAtEnd(ctx, io, &at) : WriteAt(ctx, io, at);
    }
    absl::MutexLock lock(&offset_mutex_);
    if (append) return WriteAtEnd(ctx, io, &offset_);
    const size_t n = TRY(WriteAt(ctx, io, offset_));
    offset_ += static_cast<int64_t>(n);
    return n;
  }
  Result<int64_t> Seek(const CallContext& ctx, int64_t offset, int whence) override {
    absl::MutexLock lock(&offset_mutex_);
    const int64_t position = TRY(Place(ctx, offset, whence));
    if (position < 0) return Errno::kINVAL;
    offset_ = position;
    return position;
  }
  Result<void> Truncate(const CallContext& ctx, uint64_t size) override;
  Result<void> Allocate(const CallContext& ctx, int mode, int64_t offset, int64_t length) override;
  Result<void> Sync(const CallContext& ctx, bool data_only) override;
  Result<MappableRef> GetMappable(const CallContext& ctx, bool shared_write) override {
    std::string name = dentry() == nullptr ? "" : Vfs::AbsolutePathOf(dentry());
    if (!shared_write) return inode_->GetMappable(ctx, descriptors_.read, std::move(name));
    if (descriptors_.write == nullptr) return Errno::kACCES;
    return inode_->GetWritableMappable(descriptors_.write, std::move(name));
  }

 private:
  Result<GoferRegular::Descriptor> Reader(const CallContext& ctx) {
    if (descriptors_.read != nullptr) return descriptors_.read;
    // SEEK_END of a file that is open for writing alone.
    const WriteHandleRef& write = descriptors_.write;
    if (write != nullptr) return GoferRegular::Descriptor(write, &write->fd());
    return inode_->Acquire(ctx);
  }
  Result<size_t> ReadAt(const CallContext& ctx, UserIo& io, int64_t offset);
  Result<size_t> WriteAt(const CallContext& ctx, UserIo& io, int64_t offset, int extra_flags = 0);
  // *position: where the next write goes.
  Result<size_t> WriteAtEnd(const CallContext& ctx, UserIo& io,
                            int64_t* position) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  Result<int64_t> Place(const CallContext& ctx, int64_t offset, int whence)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(offset_mutex_);

  const std::shared_ptr<GoferRegular> inode_;
  const GoferFileDescriptors descriptors_;
};

// Reads and writes that find all in the host's page cache may run on a service thread; those that
// would wait for the disk, or on a file system without RWF_NOWAIT, may not.
Result<size_t> OnTaskIfNeeded(const CallContext& ctx, Result<size_t> moved) {
  if (!moved.ok() && (moved.error() == Errno::kAGAIN || moved.error() == Errno::kOPNOTSUPP)) {
    TRY(ctx.RequireBlocking());
  }
  return moved;
}

Result<size_t> GoferFile::ReadAt(const CallContext& ctx, UserIo& io, int64_t offset) {
  if (io.remaining() == 0) return size_t{0};
  const GoferRegular::Descriptor fd = TRY(Reader(ctx));
  const int flags = ctx.may_block ? 0 : RWF_NOWAIT;
  return OnTaskIfNeeded(ctx,
                        io.Direct(io.remaining(), Access::kWrite,
                                  [&](absl::Span<const struct iovec> vectors) -> Result<size_t> {
                                    ssize_t n;
                                    do {
                                      n = preadv2(fd->get(), vectors.data(),
                                                  static_cast<int>(vectors.size()), offset, flags);
                                    } while (n < 0 && errno == EINTR);
                                    if (n < 0) return LastHostErrno();
                                    return static_cast<size_t>(n);
                                  }));
}

Result<size_t> GoferFile::WriteAt(const CallContext& ctx, UserIo& io, int64_t offset,
                                  int extra_flags) {
  size_t count = io.remaining();
  if (count == 0) return size_t{0};
  const auto at = static_cast<uint64_t>(offset);
  if (at >= ctx.file_size_limit) return Errno::kFBIG;
  count = std::min<uint64_t>(count, ctx.file_size_limit - at);
  int flags = extra_flags | (ctx.may_block ? 0 : RWF_NOWAIT);
  if ((this->flags() & O_SYNC) == O_SYNC) {
    flags |= RWF_SYNC;
  } else if ((this->flags() & O_DSYNC) != 0) {
    flags |= RWF_DSYNC;
  }
  const int fd = descriptors_.write->fd().get();
  return OnTaskIfNeeded(ctx,
                        io.Direct(count, Access::kRead,
                                  [&](absl::Span<const struct iovec> vectors) -> Result<size_t> {
                                    ssize_t n;
                                    do {
                                      n = pwritev2(fd, vectors.data(),
                                                   static_cast<int>(vectors.size()), offset, flags);
                                    } while (n < 0 && errno == EINTR);
                                    if (n < 0) return LastHostErrno();
                                    return static_cast<size_t>(n);
                                  }));
}

Result<size_t> GoferFile::WriteAtEnd(const CallContext& ctx, UserIo& io, int64_t* position) {
  absl::Mutex& mutex = inode_->append_mutex();
  if (!mutex.TryLock()) {
    TRY(ctx.RequireBlocking());
    mutex.Lock();
  }
  struct stat now;
  Result<size_t> written = Errno::kIO;
  if (fstat(descriptors_.write->fd().get(), &now) == 0) {
    // The host finds the end itself: others may write there, too.
    written = WriteAt(ctx, io, now.st_size, RWF_APPEND);
    if (written.ok()) *position = now.st_size + static_cast<int64_t>(*written);
  }
  mutex.Unlock();
  return written;
}

Result<void> GoferFile::Truncate(const CallContext& ctx, uint64_t size) {
  if (descriptors_.write == nullptr) return Errno::kINVAL;
  TRY(ctx.RequireBlocking());
  if (size > INT64_MAX) return Errno::kINVAL;
  if (ftruncate(descriptors_.write->fd().get(), static_cast<off_t>(size)) != 0) {
    return LastHostErrno();
  }
  return Ok();
}

Result<void> GoferFile::Allocate(const CallContext& ctx, int mode, int64_t offset, int64_t length) {
  if (descriptors_.write == nullptr) return Errno::kBADF;
  TRY(ctx.RequireBlocking());
  if (fallocate(descriptors_.write->fd().get(), mode, offset, length) != 0) return LastHostErrno();
  return Ok();
}

Result<void> GoferFile::Sync(const CallContext& ctx, bool data_only) {
  // What nobody here can have written is as it is on the disk.
  if (!inode_->in_writable_tree()) return Ok();
  TRY(ctx.RequireBlocking());
  const GoferRegular::Descriptor fd = TRY(Reader(ctx));
  if ((data_only ? fdatasync(fd->get()) : fsync(fd->get())) != 0) return LastHostErrno();
  return Ok();
}

Result<int64_t> GoferFile::Place(const CallContext& ctx, int64_t offset, int whence) {
  int64_t base = 0;
  switch (whence) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      base = offset_;
      break;
    case SEEK_END:
    case SEEK_DATA:
    case SEEK_HOLE: {
      const GoferRegular::Descriptor fd = TRY(Reader(ctx));
      // The descriptor's own offset is nobody's: every read and write names its place.
      const off_t position = lseek(fd->get(), offset, whence);
      if (position < 0) return LastHostErrno();
      return int64_t{position};
    }
    default:
      return Errno::kINVAL;
  }
  int64_t position;
  if (__builtin_add_overflow(base, offset, &position)) return Errno::kINVAL;
  return position;
}

}  // namespace

FileRef NewGoferFile(std::shared_ptr<GoferRegular> inode, GoferFileDescriptors descriptors,
                     uint32_t flags) {
  return std::make_shared<GoferFile>(std::move(inode), std::move(descriptors), flags);
}

}  // namespace ringfence::sentry
