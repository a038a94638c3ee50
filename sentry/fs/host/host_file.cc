#include "sentry/fs/host/host_file.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "sentry/fs/host/description.h"
#include "sentry/fs/host/tty_unsafe.h"
#include "sentry/mm/guest_ptr.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {
namespace {

using DescriptionRef = std::shared_ptr<HostDescription>;

// Where the inodes of host descriptors live; they are in no tree.
class HostFs : public FileSystem {
 public:
  std::string_view type() const override { return "hostfs"; }
  InodeRef root() override { return nullptr; }
  Result<FsAttributes> StatFs(const CallContext&) override { return FsAttributes{}; }
  static HostFs& Get() {
    static HostFs* const fs = new HostFs;
    return *fs;
  }
};

Timespec FromHost(const timespec& t) { return Timespec{t.tv_sec, t.tv_nsec}; }

class HostInode : public Inode {
 public:
  explicit HostInode(DescriptionRef description)
      : Inode(&HostFs::Get()), description_(std::move(description)) {}
  Result<Attributes> GetAttr(const CallContext&) override {
    struct stat host;
    if (fstat(description_->fd(), &host) != 0) return LastHostErrno();
    Attributes attributes;
    attributes.dev = host.st_dev;
    attributes.ino = host.st_ino;
    attributes.mode = host.st_mode;
    attributes.nlink = host.st_nlink;
    attributes.uid = host.st_uid;
    attributes.gid = host.st_gid;
    attributes.rdev = host.st_rdev;
    attributes.size = static_cast<uint64_t>(host.st_size);
    attributes.blocks = static_cast<uint64_t>(host.st_blocks);
    attributes.blksize = static_cast<uint32_t>(host.st_blksize);
    attributes.atime = FromHost(host.st_atim);
    attributes.mtime = FromHost(host.st_mtim);
    attributes.ctime = attributes.btime = FromHost(host.st_ctim);
    return attributes;
  }
  Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request) override {
    if (!request.size) return Errno::kPERM;
    return Resize(ctx, *request.size);
  }
  Result<void> Resize(const CallContext& ctx, uint64_t size) {
    TRY(ctx.RequireBlocking());
    if (size > INT64_MAX) return Errno::kINVAL;
    if (ftruncate(description_->fd(), static_cast<off_t>(size)) != 0) return LastHostErrno();
    return Ok();
  }
  uint32_t type() const override { return description_->file_type(); }
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  Result<MappableRef> GetMappable(std::string name);

 private:
  const DescriptionRef description_;
  absl::Mutex mutex_;  // a leaf
  std::shared_ptr<FdPages> pages_ ABSL_GUARDED_BY(mutex_);
};

class HostFile : public File {
 public:
  HostFile(DescriptionRef description, std::shared_ptr<HostInode> inode, uint32_t flags)
      : File(flags), description_(std::move(description)), inode_(std::move(inode)) {}

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    TRY(CheckOffset(offset));
    TRY(CheckJob(ctx, JobControl::Use::kRead));
    return description_->Read(ctx, io, offset == nullptr ? -1 : *offset);
  }
  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    TRY(CheckOffset(offset));
    TRY(CheckJob(ctx, JobControl::Use::kWrite));
    return description_->Write(ctx, io, offset == nullptr ? -1 : *offset);
  }
  Result<int64_t> Seek(const CallContext&, int64_t offset, int whence) override {
    // A host terminal answers lseek with 0; the sandbox says what a terminal says on Linux.
    if (description_->kind() == HostDescription::Kind::kTerminal) return Errno::kSPIPE;
    const off_t position = lseek(description_->fd(), offset, whence);
    if (position < 0) return LastHostErrno();
    return int64_t{position};
  }
  Result<void> Truncate(const CallContext& ctx, uint64_t size) override {
    return inode_->Resize(ctx, size);
  }
  Result<void> Allocate(const CallContext& ctx, int mode, int64_t offset, int64_t length) override {
    TRY(ctx.RequireBlocking());
    if (fallocate(description_->fd(), mode, offset, length) != 0) return LastHostErrno();
    return Ok();
  }
  Result<void> Sync(const CallContext& ctx, bool data_only) override {
    TRY(ctx.RequireBlocking());
    const int fd = description_->fd();
    if ((data_only ? fdatasync(fd) : fsync(fd)) != 0) return LastHostErrno();
    return Ok();
  }
  Result<int64_t> Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                        uint64_t arg) override;
  Result<MappableRef> GetMappable(const CallContext&, bool) override {
    return inode_->GetMappable(AnonymousName());
  }
  EventMask Poll() override {
    EventMask ready = description_->Poll();
    if (!readable()) ready &= ~(kEventIn | kEventRdHup);
    return ready;
  }
  WaitQueue* wait_queue() override { return &description_->wait_queue(); }
  InodeRef inode() const override { return inode_; }
  std::string AnonymousName() const override { return description_->name(); }
  bool IsTty() const override { return terminal(); }

 private:
  bool terminal() const { return description_->kind() == HostDescription::Kind::kTerminal; }
  Result<void> CheckOffset(const int64_t* offset) const {
    if (offset == nullptr) return Ok();
    if (description_->kind() != HostDescription::Kind::kRegular) return Errno::kSPIPE;
    return *offset < 0 ? Result<void>(Errno::kINVAL) : Ok();
  }
  Result<void> CheckJob(const CallContext& ctx, JobControl::Use use) const {
    if (!terminal() || description_->job_control() == nullptr) return Ok();
    if (use == JobControl::Use::kWrite && !HostTerminalStopsWriters(description_->fd())) {
      return Ok();
    }
    return description_->job_control()->CheckUse(ctx, use);
  }
  Result<int64_t> TtyIoctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                           uint64_t arg);
  // nullopt: not a command of job control.
  Result<std::optional<int64_t>> JobIoctl(const CallContext& ctx, MemoryManager& mm,
                                          uint32_t command, uint64_t arg);

  const DescriptionRef description_;
  const std::shared_ptr<HostInode> inode_;
};

Result<FileRef> HostInode::Open(const CallContext&, uint32_t flags) {
  // The host is not asked to open it again: what the descriptor allows is all there is.
  const int host_flags = fcntl(description_->fd(), F_GETFL);
  if (host_flags < 0) return LastHostErrno();
  const uint32_t have = static_cast<uint32_t>(host_flags) & O_ACCMODE, want = flags & O_ACCMODE;
  if (have != O_RDWR && have != want) return Errno::kACCES;
  return FileRef(std::make_shared<HostFile>(
      description_, std::static_pointer_cast<HostInode>(shared_from_this()), flags));
}

Result<MappableRef> HostInode::GetMappable(std::string name) {
  if (type() != S_IFREG || description_->chunks() == nullptr) return Errno::kNODEV;
  struct stat host;
  const int host_flags = fcntl(description_->fd(), F_GETFL);
  if (host_flags < 0 || fstat(description_->fd(), &host) != 0) return LastHostErrno();
  absl::MutexLock lock(&mutex_);
  if (pages_ == nullptr) {
    const bool writable = (host_flags & O_ACCMODE) == O_RDWR;
    pages_ = std::make_shared<FdPages>(description_->chunks(), writable, host.st_dev, host.st_ino);
  }
  return pages_->Use(std::shared_ptr<const UniqueFd>(description_, &description_->unique_fd()),
                     std::move(name));
}

Result<int64_t> HostFile::Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                                uint64_t arg) {
  if (command == FIONREAD) {
    const int32_t bytes = TRY(HostBytesReadable(description_->fd()));
    TRY(GuestOut<int32_t>(arg).Store(mm, bytes));
    return int64_t{0};
  }
  if (!terminal()) return Errno::kNOTTY;
  std::optional<int64_t> job = TRY(JobIoctl(ctx, mm, command, arg));
  if (job) return *job;
  return TtyIoctl(ctx, mm, command, arg);
}

Result<std::optional<int64_t>> HostFile::JobIoctl(const CallContext& ctx, MemoryManager& mm,
                                                  uint32_t command, uint64_t arg) {
  constexpr std::optional<int64_t> kDone = 0;
  JobControl* job = description_->job_control();
  switch (command) {
    case TIOCGPGRP:
    case TIOCGSID: {
      if (job == nullptr) return Errno::kNOTTY;
      const int32_t id =
          TRY(command == TIOCGPGRP ? job->GetForegroundGroup(ctx) : job->GetSession(ctx));
      TRY(GuestOut<int32_t>(arg).Store(mm, id));
      return kDone;
    }
    case TIOCSPGRP: {
      if (job == nullptr) return Errno::kNOTTY;
      const int32_t pgid = TRY(GuestIn<int32_t>(arg).Load(mm));
      TRY(job->SetForegroundGroup(ctx, pgid));
      return kDone;
    }
    case TIOCSCTTY:
      if (job == nullptr) return Errno::kNOTTY;
      TRY(job->Acquire(ctx, static_cast<int32_t>(arg)));
      return kDone;
    case TIOCNOTTY:
      if (job == nullptr) return Errno::kNOTTY;
      TRY(job->Release(ctx));
      return kDone;
    default:
      return std::optional<int64_t>();
  }
}

Result<int64_t> HostFile::TtyIoctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                                   uint64_t arg) {
  const std::optional<TtyCommand> known = FindTtyCommand(command);
  if (!known) return Errno::kNOTTY;
  if (known->may_wait) TRY(ctx.RequireBlocking());
  TtyBuffer buffer{};
  if (known->argument == TtyArgument::kFromGuest) {
    TRY(mm.CopyIn(buffer.data(), VirtAddr(arg), known->size));
  }
  if (known->changes) TRY(CheckJob(ctx, JobControl::Use::kControl));
  const int64_t done = TRY(HostTtyIoctl(description_->fd(), *known, arg, buffer));
  if (known->argument == TtyArgument::kToGuest) {
    TRY(mm.CopyOut(VirtAddr(arg), buffer.data(), known->size));
  }
  return done;
}

std::string DefaultName(const struct stat& host, bool is_terminal) {
  const std::string number = "[" + std::to_string(host.st_ino) + "]";
  if (is_terminal) return "/dev/tty";
  switch (host.st_mode & S_IFMT) {
    case S_IFIFO:
      return "pipe:" + number;
    case S_IFSOCK:
      return "socket:" + number;
    default:
      return "host:" + number;
  }
}

}  // namespace

Result<FileRef> MakeHostFile(UniqueFd fd, HostFileOptions options) {
  struct stat host;
  if (fstat(fd.get(), &host) != 0) return LastHostErrno();
  const int host_flags = fcntl(fd.get(), F_GETFL);
  if (host_flags < 0) return LastHostErrno();
  const bool is_terminal = S_ISCHR(host.st_mode) && IsHostTerminal(fd.get());
  if (options.name.empty()) options.name = DefaultName(host, is_terminal);
  auto description = std::make_shared<HostDescription>(std::move(fd), std::move(options),
                                                       host.st_mode, is_terminal);
  auto inode = std::make_shared<HostInode>(description);
  constexpr uint32_t kKept = O_ACCMODE | O_APPEND | O_NONBLOCK;
  return FileRef(std::make_shared<HostFile>(std::move(description), std::move(inode),
                                            static_cast<uint32_t>(host_flags) & kKept));
}

}  // namespace ringfence::sentry
