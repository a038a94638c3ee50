#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sentry/fs/goferfs/inode.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

class GoferFile : public File {
 public:
  GoferFile(std::shared_ptr<GoferRegular> inode, uint32_t flags)
      : File(flags), inode_(std::move(inode)) {}

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
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kROFS;
  }
  Result<int64_t> Seek(const CallContext& ctx, int64_t offset, int whence) override {
    absl::MutexLock lock(&offset_mutex_);
    const int64_t position = TRY(Place(ctx, offset, whence));
    if (position < 0) return Errno::kINVAL;
    offset_ = position;
    return position;
  }
  Result<void> Sync(const CallContext&, bool) override { return Ok(); }
  Result<MappableRef> GetMappable(const CallContext& ctx, bool shared_write) override {
    if (shared_write) return Errno::kACCES;
    return inode_->GetMappable(ctx, dentry() == nullptr ? "" : Vfs::AbsolutePathOf(dentry()));
  }

 private:
  Result<size_t> ReadAt(const CallContext& ctx, UserIo& io, int64_t offset);
  Result<int64_t> Place(const CallContext& ctx, int64_t offset, int whence)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(offset_mutex_);

  const std::shared_ptr<GoferRegular> inode_;
};

// Reads that find all in the host's page cache may run on a service thread; those that would wait
// for the disk, or on a file system without RWF_NOWAIT, may not.
Result<size_t> GoferFile::ReadAt(const CallContext& ctx, UserIo& io, int64_t offset) {
  if (io.remaining() == 0) return size_t{0};
  GoferRegular::Descriptor fd = TRY(inode_->Acquire(ctx));
  const int flags = ctx.may_block ? 0 : RWF_NOWAIT;
  Result<size_t> moved = io.Direct(io.remaining(), Access::kWrite,
                                   [&](absl::Span<const struct iovec> vectors) -> Result<size_t> {
                                     ssize_t n;
                                     do {
                                       n = preadv2(fd->get(), vectors.data(),
                                                   static_cast<int>(vectors.size()), offset, flags);
                                     } while (n < 0 && errno == EINTR);
                                     if (n < 0) return LastHostErrno();
                                     return static_cast<size_t>(n);
                                   });
  if (!moved.ok() && (moved.error() == Errno::kAGAIN || moved.error() == Errno::kOPNOTSUPP)) {
    TRY(ctx.RequireBlocking());
  }
  return moved;
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
      GoferRegular::Descriptor fd = TRY(inode_->Acquire(ctx));
      // The descriptor's own offset is nobody's: every read names its place.
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

GoferRegular::~GoferRegular() {
  Descriptor dropped;  // closed after the lock
  absl::MutexLock lock(&state_->mutex);
  if (descriptor_ == nullptr) return;
  state_->with_descriptor.erase(position_);
  dropped = std::move(descriptor_);
}

Result<FileRef> GoferRegular::Open(const CallContext& ctx, uint32_t flags) {
  if ((flags & O_ACCMODE) != O_RDONLY) return Errno::kROFS;
  // Now, so that what the host refuses is refused by open(2).
  TRY(Acquire(ctx));
  return FileRef(std::make_shared<GoferFile>(
      std::static_pointer_cast<GoferRegular>(shared_from_this()), flags));
}

Result<GoferRegular::Descriptor> GoferRegular::Acquire(const CallContext& ctx) {
  {
    absl::MutexLock lock(&state_->mutex);
    if (descriptor_ != nullptr) {
      auto& list = state_->with_descriptor;
      list.splice(list.begin(), list, position_);
      return descriptor_;
    }
  }
  TRY(ctx.RequireBlocking());
  gofer::OpenedFile opened = TRY(OpenOnHost(ctx));
  Descriptor descriptor = std::make_shared<const UniqueFd>(std::move(opened.fd));
  Keep(descriptor);
  return descriptor;
}

// One call also where there is no node yet: the way from the directory's is short.
Result<gofer::OpenedFile> GoferRegular::OpenOnHost(const CallContext& ctx) {
  if (NodeHandleRef node = KnownNode()) return state_->client().Open(node->id(), {}, O_RDONLY);
  NodeHandleRef directory = TRY(place()->directory->EnsureNode(ctx));
  const std::string_view name = place()->name;
  gofer::OpenedFile opened = TRY(state_->client().Open(
      directory->id(), std::span<const std::string_view>(&name, 1), O_RDONLY));
  if (!IsSame(opened.attr)) return Errno::kSTALE;
  return opened;
}

void GoferRegular::Keep(Descriptor descriptor) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  std::vector<Descriptor> dropped;  // closed after the lock
  absl::MutexLock lock(&state_->mutex);
  if (descriptor_ != nullptr) return;
  auto& list = state_->with_descriptor;
  while (list.size() >= state_->options.max_idle_descriptors && !list.empty()) {
    GoferRegular* oldest = list.back();
    list.pop_back();
    dropped.push_back(std::move(oldest->descriptor_));
  }
  descriptor_ = std::move(descriptor);
  position_ = list.insert(list.begin(), this);
}

Result<MappableRef> GoferRegular::GetMappable(const CallContext& ctx, std::string name) {
  if (state_->options.chunks == nullptr) return Errno::kNODEV;
  Descriptor fd = TRY(Acquire(ctx));
  absl::MutexLock lock(&mutex_);
  if (pages_ == nullptr) {
    pages_ = std::make_shared<FdPages>(state_->options.chunks, false, device_, attr_.ino);
  }
  return pages_->Use(std::move(fd), std::move(name));
}

}  // namespace ringfence::sentry
