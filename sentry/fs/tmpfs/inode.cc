#include "sentry/fs/tmpfs/inode.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMaxLinks = 65000;
constexpr size_t kMaxXattrBytes = 64 * 1024;  // of one inode, names and values

Result<void> CheckXattrName(uint32_t type, std::string_view name) {
  if (!name.starts_with("user.")) return Errno::kOPNOTSUPP;
  if (name.size() <= 5 || name.size() > 255) return Errno::kRANGE;
  // xattr(7): only where permission bits mean access to contents.
  if (type != S_IFREG && type != S_IFDIR) return Errno::kPERM;
  return Ok();
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

TmpfsInode::~TmpfsInode() { state_->inodes.fetch_sub(1, std::memory_order_relaxed); }

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
  unnamed_ = false;
  ++attributes_.nlink;
  attributes_.ctime = TmpfsNow();
  return Ok();
}

void TmpfsInode::DropLink() {
  absl::MutexLock lock(&mutex_);
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
  if (!CheckXattrName(type_, name).ok()) {
    return name.starts_with("user.") ? Errno::kNODATA : Errno::kOPNOTSUPP;
  }
  absl::MutexLock lock(&mutex_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Errno::kNODATA;
  return it->second;
}

Result<void> TmpfsInode::SetXattr(const CallContext&, std::string_view name, std::string_view value,
                                  int flags) {
  TRY(CheckXattrName(type_, name));
  absl::MutexLock lock(&mutex_);
  size_t bytes = name.size() + value.size();
  for (const auto& [other, contents] : xattrs_) {
    if (other != name) bytes += other.size() + contents.size();
  }
  const bool exists = xattrs_.find(name) != xattrs_.end();
  if (exists && (flags & XATTR_CREATE) != 0) return Errno::kEXIST;
  if (!exists && (flags & XATTR_REPLACE) != 0) return Errno::kNODATA;
  if (bytes > kMaxXattrBytes) return Errno::kNOSPC;
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
  TRY(CheckXattrName(type_, name));
  absl::MutexLock lock(&mutex_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Errno::kNODATA;
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
