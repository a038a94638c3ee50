// Regular files of tmpfs.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sentry/fs/tmpfs/inode.h"
#include "sentry/vfs/permission.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kAllSeals =
    F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
constexpr uint32_t kWriteSeals = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

class TmpfsFile : public File {
 public:
  TmpfsFile(std::shared_ptr<TmpfsRegular> inode, uint32_t flags)
      : File(flags), inode_(std::move(inode)) {}

  Result<size_t> Read(const CallContext&, UserIo& io, const int64_t* offset) override {
    if ((flags() & O_NOATIME) == 0) inode_->TouchAccess();
    if (offset != nullptr) {
      if (*offset < 0) return Errno::kINVAL;
      return inode_->Read(io, static_cast<uint64_t>(*offset));
    }
    absl::MutexLock lock(&offset_mutex_);
    const size_t n = TRY(inode_->Read(io, static_cast<uint64_t>(offset_)));
    offset_ += static_cast<int64_t>(n);
    return n;
  }

  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    if (offset != nullptr && *offset < 0) return Errno::kINVAL;
    const bool append = (flags() & O_APPEND) != 0 || ctx.append;
    uint64_t end = 0;
    if (offset != nullptr) {
      const auto at = static_cast<uint64_t>(*offset);
      return inode_->Write(ctx, io, append ? nullptr : &at, &end);
    }
    absl::MutexLock lock(&offset_mutex_);
    const auto at = static_cast<uint64_t>(offset_);
    const size_t n = TRY(inode_->Write(ctx, io, append ? nullptr : &at, &end));
    offset_ = static_cast<int64_t>(end);
    return n;
  }

  Result<int64_t> Seek(const CallContext&, int64_t offset, int whence) override {
    absl::MutexLock lock(&offset_mutex_);
    const int64_t position = TRY(Place(offset, whence));
    if (position < 0) return Errno::kINVAL;
    offset_ = position;
    return position;
  }

  Result<void> Truncate(const CallContext& ctx, uint64_t size) override {
    SetAttrRequest request;
    request.size = size;
    const Attributes now = TRY(inode_->GetAttr(ctx));
    const uint32_t mode = ModeAfterWrite(*ctx.creds, now.mode);
    if (mode != now.mode) request.mode = mode & 07777;
    return inode_->SetAttr(ctx, request);
  }
  Result<void> Allocate(const CallContext&, int mode, int64_t offset, int64_t length) override {
    return inode_->Allocate(mode, offset, length);
  }
  Result<void> Sync(const CallContext&, bool) override { return Ok(); }

  Result<MappableRef> GetMappable(const CallContext&, bool shared_write) override {
    if (shared_write && (inode_->seals() & kWriteSeals) != 0) return Errno::kPERM;
    inode_->pages()->SetName(dentry() == nullptr ? AnonymousName() : Vfs::AbsolutePathOf(dentry()));
    return MappableRef(inode_->pages());
  }
  Result<int64_t> Fcntl(const CallContext&, uint32_t command, uint64_t arg) override {
    if (command == F_GET_SEALS) return int64_t{inode_->seals()};
    if (command != F_ADD_SEALS) return Errno::kINVAL;
    if (!writable()) return Errno::kPERM;
    TRY(inode_->AddSeals(static_cast<uint32_t>(arg)));
    return int64_t{0};
  }

 private:
  Result<int64_t> Place(int64_t offset, int whence) ABSL_EXCLUSIVE_LOCKS_REQUIRED(offset_mutex_) {
    int64_t base = 0;
    switch (whence) {
      case SEEK_SET:
        break;
      case SEEK_CUR:
        base = offset_;
        break;
      case SEEK_END:
        base = static_cast<int64_t>(inode_->pages()->size());
        break;
      case SEEK_DATA:
      case SEEK_HOLE: {
        if (offset < 0) return Errno::kNXIO;
        const auto from = static_cast<uint64_t>(offset);
        return static_cast<int64_t>(TRY(whence == SEEK_DATA ? inode_->pages()->NextData(from)
                                                            : inode_->pages()->NextHole(from)));
      }
      default:
        return Errno::kINVAL;
    }
    int64_t position;
    if (__builtin_add_overflow(base, offset, &position)) return Errno::kINVAL;
    return position;
  }

  const std::shared_ptr<TmpfsRegular> inode_;
};

}  // namespace

TmpfsRegular::TmpfsRegular(const Init& init)
    : TmpfsInode(init),
      seals_(F_SEAL_SEAL),
      pages_(std::make_shared<AnonymousPages>(
          state_->memory,
          AnonymousPages::Options{"", state_->device_id, ino_, 0, state_->quota, false})) {}

Result<FileRef> TmpfsRegular::Open(const CallContext&, uint32_t flags) {
  return FileRef(std::make_shared<TmpfsFile>(
      std::static_pointer_cast<TmpfsRegular>(shared_from_this()), flags));
}

void TmpfsRegular::FillSize(Attributes* attributes) {
  attributes->size = pages_->size();
  attributes->blocks = pages_->allocated_pages() * 8;
}

Result<void> TmpfsRegular::Resize(uint64_t size) {
  absl::MutexLock lock(&write_mutex_);
  const uint64_t now = pages_->size();
  if (size < now && (seals() & F_SEAL_SHRINK) != 0) return Errno::kPERM;
  if (size > now && (seals() & F_SEAL_GROW) != 0) return Errno::kPERM;
  return pages_->Truncate(size);
}

Result<size_t> TmpfsRegular::Read(UserIo& io, uint64_t offset) {
  return pages_->Read(offset, io, io.remaining());
}

Result<size_t> TmpfsRegular::Write(const CallContext& ctx, UserIo& io, const uint64_t* offset,
                                   uint64_t* end) {
  absl::MutexLock lock(&write_mutex_);
  if ((seals() & kWriteSeals) != 0) return Errno::kPERM;
  const uint64_t size = pages_->size();
  const uint64_t at = offset == nullptr ? size : *offset;
  uint64_t n = io.remaining();
  if ((seals() & F_SEAL_GROW) != 0) {
    if (at >= size) return n == 0 ? Result<size_t>(size_t{0}) : Errno::kPERM;
    n = std::min(n, size - at);
  }
  *end = at;
  if (n == 0) return size_t{0};
  if (at >= ctx.file_size_limit) return Errno::kFBIG;
  n = std::min(n, ctx.file_size_limit - at);
  const size_t done = TRY(pages_->Write(at, io, n));
  *end = at + done;
  absl::MutexLock attributes_lock(&mutex_);
  attributes_.mode = ModeAfterWrite(*ctx.creds, attributes_.mode);
  TouchModifyLocked();
  return done;
}

Result<void> TmpfsRegular::Allocate(int mode, int64_t offset, int64_t length) {
  if (offset < 0 || length <= 0) return Errno::kINVAL;
  if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) != 0) return Errno::kOPNOTSUPP;
  const auto start = static_cast<uint64_t>(offset);
  const auto bytes = static_cast<uint64_t>(length);
  if (start + bytes > AnonymousPages::kMaxSize) return Errno::kFBIG;
  absl::MutexLock lock(&write_mutex_);
  if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) {
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0) return Errno::kOPNOTSUPP;
    if ((seals() & kWriteSeals) != 0) return Errno::kPERM;
    TRY(pages_->PunchHole(start, bytes));
  } else {
    const bool keep = (mode & FALLOC_FL_KEEP_SIZE) != 0;
    if (!keep && start + bytes > pages_->size() && (seals() & F_SEAL_GROW) != 0) {
      return Errno::kPERM;
    }
    TRY(pages_->Allocate(start, bytes,
                         keep ? AnonymousPages::KeepSize::kYes : AnonymousPages::KeepSize::kNo));
  }
  absl::MutexLock attributes_lock(&mutex_);
  TouchModifyLocked();
  return Ok();
}

Result<void> TmpfsRegular::AddSeals(uint32_t seals) {
  if ((seals & ~kAllSeals) != 0) return Errno::kINVAL;
  absl::MutexLock lock(&write_mutex_);
  const uint32_t now = this->seals();
  if ((now & F_SEAL_SEAL) != 0) return Errno::kPERM;
  if ((seals & F_SEAL_WRITE) != 0 && (now & F_SEAL_WRITE) == 0 && pages_->HasMappings()) {
    return Errno::kBUSY;
  }
  seals_.store(now | seals, std::memory_order_release);
  return Ok();
}

}  // namespace ringfence::sentry
