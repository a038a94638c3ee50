#include "sentry/vfs/inode.h"

#include <sys/stat.h>

#include <atomic>

#include "absl/base/attributes.h"
#include "absl/synchronization/mutex.h"

namespace ringfence::sentry {
namespace {

// What a change of a directory gives on a file system that offers none.
Errno Unchangeable(const Inode& inode) {
  return inode.type() == S_IFDIR ? Errno::kPERM : Errno::kNOTDIR;
}

}  // namespace

uint64_t AllocateDeviceId() {
  // Minor numbers of major 0, as Linux gives to file systems without a device. The layout of
  // dev_t in stat(2): minor bits 0-7 and 20 up.
  static std::atomic<uint64_t> next{32};
  const uint64_t minor = next.fetch_add(1, std::memory_order_relaxed);
  return (minor & 0xff) | ((minor & ~uint64_t{0xff}) << 12);
}

// Few files are ever locked: one mutex for the pointers of all.
ABSL_CONST_INIT absl::Mutex locks_mutex(absl::kConstInit);

FileLocksRef Inode::Locks() {
  absl::MutexLock lock(&locks_mutex);
  if (locks_ == nullptr) locks_ = std::make_shared<FileLocks>();
  has_locks_.store(true, std::memory_order_release);
  return locks_;
}

FileLocksRef Inode::FindLocks() {
  if (!has_locks_.load(std::memory_order_acquire)) return nullptr;
  absl::MutexLock lock(&locks_mutex);
  return locks_;
}

FileSystem::FileSystem() : device_id_(AllocateDeviceId()) {}

Result<void> Inode::SetAttr(const CallContext&, const SetAttrRequest&) { return Errno::kPERM; }

Result<InodeRef> Inode::Lookup(const CallContext&, std::string_view) { return Errno::kNOTDIR; }

Result<InodeRef> Inode::Create(const CallContext&, std::string_view, uint32_t, uint64_t) {
  return Unchangeable(*this);
}

Result<InodeRef> Inode::CreateTemporary(const CallContext&, uint32_t) { return Errno::kOPNOTSUPP; }

Result<InodeRef> Inode::Mkdir(const CallContext&, std::string_view, uint32_t) {
  return Unchangeable(*this);
}

Result<InodeRef> Inode::Symlink(const CallContext&, std::string_view, std::string_view) {
  return Unchangeable(*this);
}

Result<void> Inode::Link(const CallContext&, std::string_view, Inode&) {
  return Unchangeable(*this);
}

Result<void> Inode::Unlink(const CallContext&, std::string_view, Inode&) {
  return Unchangeable(*this);
}

Result<void> Inode::Rmdir(const CallContext&, std::string_view, Inode&) {
  return Unchangeable(*this);
}

Result<void> Inode::Rename(const CallContext&, std::string_view, Inode&, Inode&, std::string_view,
                           Inode*, uint32_t) {
  return Unchangeable(*this);
}

Result<std::string> Inode::ReadLink(const CallContext&) { return Errno::kINVAL; }

Result<std::optional<DentryRef>> Inode::MagicLink(const CallContext&) {
  return std::optional<DentryRef>();
}

Result<std::string> Inode::GetXattr(const CallContext&, std::string_view) {
  return Errno::kOPNOTSUPP;
}

Result<void> Inode::SetXattr(const CallContext&, std::string_view, std::string_view, int) {
  return Errno::kOPNOTSUPP;
}

Result<std::vector<std::string>> Inode::ListXattr(const CallContext&) { return Errno::kOPNOTSUPP; }

Result<void> Inode::RemoveXattr(const CallContext&, std::string_view) { return Errno::kOPNOTSUPP; }

}  // namespace ringfence::sentry
