#include "sentry/vfs/file.h"

#include <fcntl.h>

#include "sentry/vfs/inode.h"
#include "sentry/vfs/vfs.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {
// What fcntl(F_SETFL) may change; all else is ignored as Linux does.
constexpr uint32_t kSettableFlags = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
}  // namespace

File::~File() {
  Watches::OnClose(*this);
  absl::MutexLock lock(&locks_mutex_);
  if (locks_ == nullptr) return;
  locks_->UnlockWhole(this);
  locks_->UnlockAll(reinterpret_cast<uint64_t>(this));
}

FileLocksRef File::locks() {
  absl::MutexLock lock(&locks_mutex_);
  if (locks_ == nullptr) {
    const InodeRef node = inode();
    if (node != nullptr) locks_ = node->Locks();
  }
  return locks_;
}

void File::Flush(uint64_t owner) {
  const InodeRef node = inode();
  const FileLocksRef found = node == nullptr ? nullptr : node->FindLocks();
  if (found != nullptr) found->UnlockAll(owner);
}

Result<int64_t> File::Seek(const CallContext&, int64_t, int) { return Errno::kSPIPE; }

Result<void> File::ReadDir(const CallContext&, EmitFn) { return Errno::kNOTDIR; }

Result<Attributes> File::GetAttr(const CallContext& ctx) {
  InodeRef node = inode();
  if (node == nullptr) return Errno::kBADF;
  return node->GetAttr(ctx);
}

Result<void> File::Truncate(const CallContext&, uint64_t) { return Errno::kINVAL; }
Result<void> File::Allocate(const CallContext&, int, int64_t, int64_t) { return Errno::kNODEV; }
Result<void> File::Sync(const CallContext&, bool) { return Errno::kINVAL; }

Result<int64_t> File::Fcntl(const CallContext&, uint32_t, uint64_t) { return Errno::kINVAL; }

Result<int64_t> File::Ioctl(const CallContext&, MemoryManager&, uint32_t, uint64_t) {
  return Errno::kNOTTY;
}

Result<MappableRef> File::GetMappable(const CallContext&, bool) { return Errno::kNODEV; }

Result<std::string> File::PeerPath() { return Errno::kNOTTY; }

EventMask File::Poll() { return kEventIn | kEventOut; }

void File::SetStatusFlags(uint32_t flags) {
  uint32_t old = flags_.load(std::memory_order_relaxed);
  while (!flags_.compare_exchange_weak(old, (old & ~kSettableFlags) | (flags & kSettableFlags))) {
  }
}

bool File::nonblocking() const { return (flags() & O_NONBLOCK) != 0; }

bool File::readable() const {
  const uint32_t mode = flags() & O_ACCMODE;
  return (flags() & O_PATH) == 0 && (mode == O_RDONLY || mode == O_RDWR);
}

bool File::writable() const {
  const uint32_t mode = flags() & O_ACCMODE;
  return (flags() & O_PATH) == 0 && (mode == O_WRONLY || mode == O_RDWR);
}

InodeRef File::inode() const { return dentry_ == nullptr ? nullptr : dentry_->inode(); }

}  // namespace ringfence::sentry
