#include "sentry/fs/tmpfs/inode.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMaxLinks = 65000;
constexpr size_t kMaxXattrBytes = 128 * 1024;  // of one inode, as XattrSpace counts

// Who may use them is the business of the VFS.
Result<void> CheckXattrName(std::string_view name) {
  const size_t prefix = name.starts_with("user.") ? 5 : name.starts_with("trusted.") ? 8 : 0;
  if (prefix == 0) return Errno::kOPNOTSUPP;
  if (name.size() == prefix) return Errno::kINVAL;
  return Ok();
}

// As Linux counts the room of one (simple_xattr_space).
uint64_t XattrSpace(std::string_view name, std::string_view value) {
  return 40 + name.size() + 1 + value.size();
}

}  // namespace

Timespec TmpfsNow() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return Timespec{now.tv_sec, now.tv_nsec};
}

TmpfsInode::TmpfsInode(const Init& init)
    : Inode(init.fs),
      state_(init.state),
      type_(init.mode & S_IFMT),
      ino_(state_->next_ino.fetch_add(1, std::memory_order_relaxed)) {
  absl::MutexLock lock(&mutex_);
  attributes_.dev = state_->device_id;
  attributes_.ino = ino_;
  attributes_.mode = init.mode;
  attributes_.uid = init.uid;
  attributes_.gid = init.gid;
  attributes_.nlink = init.nlink;
  attributes_.rdev = init.rdev;
  attributes_.atime = attributes_.mtime = attributes_.ctime = attributes_.btime = TmpfsNow();
}

TmpfsInode::~TmpfsInode() {
  absl::MutexLock lock(&mutex_);
  state_->UnchargeInode(TmpfsState::kInodeBytes + xattr_bytes_);
}

uint64_t TmpfsState::inode_bytes_limit() const {
  return max_inodes > ~uint64_t{0} / kInodeBytes ? ~uint64_t{0} : max_inodes * kInodeBytes;
}

Result<void> TmpfsState::ChargeInode(uint64_t bytes) {
  const uint64_t limit = inode_bytes_limit();
  uint64_t used = inode_bytes.load(std::memory_order_relaxed);
  do {
    if (used > limit || bytes > limit - used) return Errno::kNOSPC;
  } while (!inode_bytes.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  return Ok();
}

Result<Attributes> TmpfsInode::GetAttr(const CallContext&) {
  Attributes attributes;
  {
    absl::MutexLock lock(&mutex_);
    attributes = attributes_;
  }
  FillSize(&attributes);
  return attributes;
}

Result<void> TmpfsInode::SetAttr(const CallContext&, const SetAttrRequest& request) {
  if (request.size) TRY(Resize(*request.size));
  absl::MutexLock lock(&mutex_);
  if (request.mode) attributes_.mode = type_ | (*request.mode & 07777);
  if (request.uid) attributes_.uid = *request.uid;
  if (request.gid) attributes_.gid = *request.gid;
  const Timespec now = TmpfsNow();
  if (request.size || request.mtime_now) attributes_.mtime = now;
  if (request.atime_now) attributes_.atime = now;
  if (request.atime) attributes_.atime = *request.atime;
  if (request.mtime) attributes_.mtime = *request.mtime;
  attributes_.ctime = now;
  return Ok();
}

Result<void> TmpfsInode::AddLink() {
  absl::MutexLock lock(&mutex_);
  if (attributes_.nlink == 0 && !unnamed_) return Errno::kNOENT;
  if (attributes_.nlink >= kMaxLinks) return Errno::kMLINK;
  // The first name of an unnamed file was paid for with the inode.
  if (attributes_.nlink != 0) TRY(state_->ChargeInode(TmpfsState::kInodeBytes));
  unnamed_ = false;
  ++attributes_.nlink;
  attributes_.ctime = TmpfsNow();
  return Ok();
}

void TmpfsInode::DropLink() {
  absl::MutexLock lock(&mutex_);
  if (type_ != S_IFDIR && attributes_.nlink > 1) state_->UnchargeInode(TmpfsState::kInodeBytes);
  // A directory loses its own "." with its name.
  attributes_.nlink = type_ == S_IFDIR ? 0 : attributes_.nlink - 1;
  attributes_.ctime = TmpfsNow();
}

void TmpfsInode::TouchAccess() {
  absl::MutexLock lock(&mutex_);
  const auto older = [](const Timespec& a, const Timespec& b) {
    return a.sec < b.sec || (a.sec == b.sec && a.nsec <= b.nsec);
  };
  const Timespec& seen = attributes_.atime;
  if (older(seen, attributes_.mtime) || older(seen, attributes_.ctime)) {
    attributes_.atime = TmpfsNow();
  }
}

void TmpfsInode::TouchChange() {
  absl::MutexLock lock(&mutex_);
  attributes_.ctime = TmpfsNow();
}

void TmpfsInode::TouchModifyLocked() { attributes_.mtime = attributes_.ctime = TmpfsNow(); }

Result<std::string> TmpfsInode::GetXattr(const CallContext&, std::string_view name) {
  TRY(CheckXattrName(name));
  absl::MutexLock lock(&mutex_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Errno::kNODATA;
  return it->second;
}

Result<void> TmpfsInode::SetXattr(const CallContext&, std::string_view name, std::string_view value,
                                  int flags) {
  TRY(CheckXattrName(name));
  absl::MutexLock lock(&mutex_);
  const auto known = xattrs_.find(name);
  const bool exists = known != xattrs_.end();
  if (exists && (flags & XATTR_CREATE) != 0) return Errno::kEXIST;
  if (!exists && (flags & XATTR_REPLACE) != 0) return Errno::kNODATA;
  const uint64_t before = exists ? XattrSpace(name, known->second) : 0;
  const uint64_t after = XattrSpace(name, value);
  if (xattr_bytes_ - before + after > kMaxXattrBytes) return Errno::kNOSPC;
  // As on Linux, both are there for a moment.
  TRY(state_->ChargeInode(after));
  state_->UnchargeInode(before);
  xattr_bytes_ += after - before;
  xattrs_.insert_or_assign(std::string(name), std::string(value));
  attributes_.ctime = TmpfsNow();
  return Ok();
}

Result<std::vector<std::string>> TmpfsInode::ListXattr(const CallContext&) {
  std::vector<std::string> names;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, value] : xattrs_) names.push_back(name);
  return names;
}

Result<void> TmpfsInode::RemoveXattr(const CallContext&, std::string_view name) {
  TRY(CheckXattrName(name));
  absl::MutexLock lock(&mutex_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Errno::kNODATA;
  const uint64_t bytes = XattrSpace(name, it->second);
  state_->UnchargeInode(bytes);
  xattr_bytes_ -= bytes;
  xattrs_.erase(it);
  attributes_.ctime = TmpfsNow();
  return Ok();
}

Result<std::string> TmpfsSymlink::ReadLink(const CallContext&) {
  TouchAccess();
  return target_;
}

std::shared_ptr<Pipe> TmpfsSpecial::PipeForOpen() {
  absl::MutexLock lock(&mutex_);
  if (pipe_ == nullptr) pipe_ = std::make_shared<Pipe>();
  return pipe_;
}

Result<FileRef> TmpfsSpecial::Open(const CallContext& ctx, uint32_t flags) {
  if (type_ == S_IFIFO) {
    // An end that is opened, and given up because the open has to wait, is seen by the other side.
    const bool may_wait = (flags & O_NONBLOCK) == 0 && (flags & O_ACCMODE) != O_RDWR;
    if (may_wait) TRY(ctx.RequireBlocking());
    return OpenFifo(PipeForOpen(), flags);
  }
  if (type_ == S_IFSOCK || state_->devices == nullptr) return Errno::kNXIO;
  return state_->devices->Open(ctx, type_, rdev_, flags);
}

}  // namespace ringfence::sentry
