// Open files of the lower tree.
#include <fcntl.h>
#include <unistd.h>

#include "sentry/fs/overlay/inode.h"

namespace ringfence::sentry {
namespace {

// A file opened for reading: the lower file's until it is copied up, then the upper one's. The
// offset is kept here, since the two have one each.
class ReadOnlyFile : public File {
 public:
  ReadOnlyFile(std::shared_ptr<OverlayInode> inode, FileRef lower, uint32_t flags)
      : File(flags), inode_(std::move(inode)), lower_(std::move(lower)), now_(lower_.get()) {}

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    File& file = *TRY(Now(ctx));
    if (offset != nullptr) return file.Read(ctx, io, offset);
    absl::MutexLock lock(&offset_mutex_);
    const size_t n = TRY(file.Read(ctx, io, &offset_));
    offset_ += static_cast<int64_t>(n);
    return n;
  }
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kBADF;
  }
  Result<int64_t> Seek(const CallContext& ctx, int64_t offset, int whence) override {
    File& file = *TRY(Now(ctx));
    absl::MutexLock lock(&offset_mutex_);
    if (whence == SEEK_CUR) {
      whence = SEEK_SET;
      if (__builtin_add_overflow(offset, offset_, &offset)) return Errno::kINVAL;
    }
    offset_ = TRY(file.Seek(ctx, offset, whence));
    return offset_;
  }
  Result<void> Sync(const CallContext& ctx, bool data_only) override {
    return TRY(Now(ctx))->Sync(ctx, data_only);
  }
  Result<int64_t> Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                        uint64_t arg) override {
    return TRY(Now(ctx))->Ioctl(ctx, mm, command, arg);
  }
  Result<MappableRef> GetMappable(const CallContext& ctx, bool shared_write) override {
    File& file = *TRY(Now(ctx));
    {
      absl::MutexLock lock(&mutex_);
      if (file.dentry() == nullptr) file.SetDentry(dentry());  // names the mapping
    }
    return file.GetMappable(ctx, shared_write);
  }

 private:
  Result<File*> Now(const CallContext& ctx) {
    File* const now = now_.load(std::memory_order_acquire);
    if (now != lower_.get() || inode_->upper() == nullptr) return now;
    FileRef opened = TRY(inode_->upper()->Open(ctx, flags()));
    absl::MutexLock lock(&mutex_);
    if (upper_ == nullptr) {
      upper_ = std::move(opened);
      now_.store(upper_.get(), std::memory_order_release);
    }
    return upper_.get();
  }

  const std::shared_ptr<OverlayInode> inode_;
  const FileRef lower_;
  std::atomic<File*> now_;
  absl::Mutex mutex_;  // leaf
  FileRef upper_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Result<FileRef> OpenLowerRegular(const CallContext& ctx, std::shared_ptr<OverlayInode> inode,
                                 uint32_t flags) {
  FileRef lower = TRY(inode->lower()->Open(ctx, flags));
  return FileRef(std::make_shared<ReadOnlyFile>(std::move(inode), std::move(lower), flags));
}

}  // namespace ringfence::sentry
