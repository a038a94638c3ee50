#include "sentry/fs/tty/tty_inode.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include <charconv>

#include "absl/strings/str_cat.h"
#include "sentry/fs/tty/tty_file.h"
#include "sentry/vfs/directory_file.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kRootIno = 1, kPtmxIno = 2, kFirstTerminalIno = 3;
constexpr uint32_t kTtyMode = 0620;

Timespec Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return {now.tv_sec, now.tv_nsec};
}

Attributes NewAttributes(Devpts* fs, uint64_t ino, uint32_t mode) {
  Attributes attributes;
  attributes.dev = fs->device_id();
  attributes.ino = ino;
  attributes.mode = mode;
  attributes.blksize = 1024;
  attributes.atime = attributes.mtime = attributes.ctime = attributes.btime = Now();
  return attributes;
}

Attributes TtyAttributes(Devpts* fs, uint32_t index, const Credentials& owner) {
  Attributes attributes = NewAttributes(fs, kFirstTerminalIno + index, S_IFCHR | kTtyMode);
  attributes.uid = owner.fsuid;
  attributes.gid = Devpts::kTtyGroup;
  attributes.rdev = Devpts::DeviceOf(index);
  return attributes;
}

Attributes PtmxAttributes(Devpts* fs) {
  Attributes attributes = NewAttributes(fs, kPtmxIno, S_IFCHR);
  attributes.rdev = makedev(5, 2);
  return attributes;
}

Attributes RootAttributes(Devpts* fs) {
  Attributes attributes = NewAttributes(fs, kRootIno, S_IFDIR | 0755);
  attributes.nlink = 2;
  return attributes;
}

class PtmxInode final : public DevptsInode {
 public:
  explicit PtmxInode(Devpts* fs) : DevptsInode(fs, PtmxAttributes(fs)) {}
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override {
    return devpts().OpenPtmx(ctx, flags);
  }
};

class DevptsDirectoryFile final : public DirectoryFile {
 public:
  DevptsDirectoryFile(std::shared_ptr<Devpts> fs, uint32_t flags)
      : DirectoryFile(flags), fs_(std::move(fs)) {}

 protected:
  Result<void> ReadEntries(const CallContext&, int64_t position, EmitFn emit) override {
    const uint8_t type = DirentType(S_IFCHR);
    if (position == kFirstEntry && !emit({kPtmxIno, kFirstEntry + 1, type, "ptmx"})) return Ok();
    for (const uint32_t index : fs_->Indexes()) {
      const int64_t at = kFirstEntry + 1 + index;
      if (at < position) continue;
      if (!emit({kFirstTerminalIno + index, at + 1, type, absl::StrCat(index)})) break;
    }
    return Ok();
  }

 private:
  const std::shared_ptr<Devpts> fs_;
};

class RootInode final : public DevptsInode {
 public:
  explicit RootInode(Devpts* fs)
      : DevptsInode(fs, RootAttributes(fs)), ptmx_(std::make_shared<PtmxInode>(fs)) {}
  Result<FileRef> Open(const CallContext&, uint32_t flags) override {
    return FileRef(std::make_shared<DevptsDirectoryFile>(devpts().shared_from_this(), flags));
  }
  Result<InodeRef> Lookup(const CallContext&, std::string_view name) override {
    if (name == "ptmx") return InodeRef(ptmx_);
    uint32_t index;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool canonical = error == std::errc() && absl::StrCat(index) == name;
    std::shared_ptr<TtyInode> found = canonical ? devpts().Find(index) : nullptr;
    if (found == nullptr) return Errno::kNOENT;
    return InodeRef(std::move(found));
  }
  // Names come with terminals only.
  Result<InodeRef> Create(const CallContext&, std::string_view, uint32_t, uint64_t) override {
    return Errno::kPERM;
  }
  Result<InodeRef> Mkdir(const CallContext&, std::string_view, uint32_t) override {
    return Errno::kPERM;
  }
  Result<InodeRef> Symlink(const CallContext&, std::string_view, std::string_view) override {
    return Errno::kPERM;
  }

 private:
  const InodeRef ptmx_;
};

}  // namespace

Result<Attributes> DevptsInode::GetAttr(const CallContext&) {
  absl::MutexLock lock(&mutex_);
  return attributes_;
}

Result<void> DevptsInode::SetAttr(const CallContext&, const SetAttrRequest& request) {
  if (request.size) return Errno::kINVAL;
  absl::MutexLock lock(&mutex_);
  Attributes& a = attributes_;
  if (request.mode) a.mode = (a.mode & S_IFMT) | (*request.mode & 07777);
  if (request.uid) a.uid = *request.uid;
  if (request.gid) a.gid = *request.gid;
  a.ctime = Now();
  if (request.atime) a.atime = *request.atime;
  if (request.mtime) a.mtime = *request.mtime;
  if (request.atime_now) a.atime = a.ctime;
  if (request.mtime_now) a.mtime = a.ctime;
  return Ok();
}

uint32_t DevptsInode::type() const {
  absl::MutexLock lock(&mutex_);
  return attributes_.mode & S_IFMT;
}

TtyInode::TtyInode(Devpts* fs, TerminalRef terminal, const Credentials& owner)
    : DevptsInode(fs, TtyAttributes(fs, terminal->index(), owner)),
      terminal_(std::move(terminal)) {}

Result<FileRef> TtyInode::Open(const CallContext& ctx, uint32_t flags) {
  return TtyFile::Open(ctx, terminal_, flags);
}

InodeRef MakeDevptsRoot(Devpts* fs) { return std::make_shared<RootInode>(fs); }

}  // namespace ringfence::sentry
