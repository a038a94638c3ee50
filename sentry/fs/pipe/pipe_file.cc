// The open ends of pipes and fifos, and the inode that fstat and /proc/PID/fd see.
#include <asm/ioctls.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <atomic>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/mm/guest_ptr.h"

namespace ringfence::sentry {
namespace {

// pipefs: the device that st_dev of pipes names.
class PipeFs : public FileSystem {
 public:
  std::string_view type() const override { return "pipefs"; }
  InodeRef root() override { return nullptr; }
  Result<FsAttributes> StatFs(const CallContext&) override {
    FsAttributes attributes;
    attributes.type = 0x50495045;  // PIPEFS_MAGIC
    return attributes;
  }
  static PipeFs& Get() {
    static PipeFs* const fs = new PipeFs;
    return *fs;
  }
};

class PipeInode : public Inode {
 public:
  PipeInode(const Credentials& creds, std::shared_ptr<Pipe> pipe)
      : Inode(&PipeFs::Get()), pipe_(std::move(pipe)) {
    static std::atomic<uint64_t> next_ino{1};
    attributes_.dev = fs()->device_id();
    attributes_.ino = next_ino.fetch_add(1, std::memory_order_relaxed);
    attributes_.mode = S_IFIFO | 0600;
    attributes_.uid = creds.fsuid;
    attributes_.gid = creds.fsgid;
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    attributes_.atime = attributes_.mtime = attributes_.ctime = Timespec{now.tv_sec, now.tv_nsec};
  }
  Result<Attributes> GetAttr(const CallContext&) override {
    absl::MutexLock lock(&mutex_);
    return attributes_;
  }
  Result<void> SetAttr(const CallContext&, const SetAttrRequest& request) override {
    absl::MutexLock lock(&mutex_);
    if (request.mode) attributes_.mode = S_IFIFO | (*request.mode & 07777);
    if (request.uid) attributes_.uid = *request.uid;
    if (request.gid) attributes_.gid = *request.gid;
    return Ok();
  }
  uint32_t type() const override { return S_IFIFO; }
  Result<FileRef> Open(const CallContext&, uint32_t flags) override;
  uint64_t ino() const { return ino_number(); }

 private:
  uint64_t ino_number() const {
    absl::MutexLock lock(&mutex_);
    return attributes_.ino;
  }
  const std::shared_ptr<Pipe> pipe_;
  mutable absl::Mutex mutex_;
  Attributes attributes_ ABSL_GUARDED_BY(mutex_);
};

class PipeFile : public File {
 public:
  // `inode` is null for fifos, whose dentry has one.
  PipeFile(std::shared_ptr<Pipe> pipe, std::shared_ptr<PipeInode> inode, uint32_t flags)
      : File(flags), pipe_(std::move(pipe)), inode_(std::move(inode)) {
    const Pipe::Ends ends = pipe_->OpenEnd(readable(), writable());
    met_peer_ = ends.readers != 0 && ends.writers != 0;
    opened_reader_generation_ = ends.reader_generation;
    opened_writer_generation_ = ends.writer_generation;
    if (inode_ == nullptr && ends.writers == 0) quiet_generation_ = ends.writer_generation;
  }
  ~PipeFile() override { pipe_->CloseEnd(readable(), writable()); }

  Result<size_t> Read(const CallContext&, UserIo& io, const int64_t* offset) override {
    if (offset != nullptr) return Errno::kSPIPE;
    return pipe_->Read(io, packets());
  }
  Result<size_t> Write(const CallContext&, UserIo& io, const int64_t* offset) override {
    if (offset != nullptr) return Errno::kSPIPE;
    return pipe_->Write(io, packets());
  }
  Result<void> Allocate(const CallContext&, int, int64_t, int64_t) override {
    return Errno::kSPIPE;
  }
  Result<int64_t> Ioctl(const CallContext&, MemoryManager& mm, uint32_t command,
                        uint64_t arg) override {
    if (command != FIONREAD) return Errno::kNOTTY;
    TRY(GuestOut<int32_t>(arg).Store(mm, static_cast<int32_t>(pipe_->available())));
    return int64_t{0};
  }
  Result<int64_t> Fcntl(const CallContext& ctx, uint32_t command, uint64_t arg) override {
    if (command == F_GETPIPE_SZ) return static_cast<int64_t>(pipe_->capacity());
    if (command != F_SETPIPE_SZ) return Errno::kINVAL;
    return static_cast<int64_t>(TRY(pipe_->SetCapacity(ctx, static_cast<uint32_t>(arg))));
  }
  EventMask Poll() override { return pipe_->Poll(readable(), writable(), quiet_generation_); }
  WaitQueue* wait_queue() override { return &pipe_->wait_queue(); }
  InodeRef inode() const override { return inode_ != nullptr ? inode_ : File::inode(); }
  std::string AnonymousName() const override {
    return inode_ == nullptr ? "fifo" : "pipe:[" + std::to_string(inode_->ino()) + "]";
  }
  Result<Attributes> GetAttr(const CallContext& ctx) override {
    return inode_ != nullptr ? inode_->GetAttr(ctx) : File::GetAttr(ctx);
  }

  // Until a peer comes; one that was there at the open counts, although it may be gone by now.
  void SetOpenPending() { pending_.store(!met_peer_, std::memory_order_relaxed); }
  bool OpenPending() override {
    if (!pending_.load(std::memory_order_relaxed)) return false;
    const Pipe::Ends ends = pipe_->ends();
    const bool met = readable()
                         ? ends.writers != 0 || ends.writer_generation != opened_writer_generation_
                         : ends.readers != 0 || ends.reader_generation != opened_reader_generation_;
    if (met) pending_.store(false, std::memory_order_relaxed);
    return !met;
  }
  std::shared_ptr<Pipe> AsPipe() override { return pipe_; }

 private:
  bool packets() const { return (flags() & O_DIRECT) != 0; }
  const std::shared_ptr<Pipe> pipe_;
  const std::shared_ptr<PipeInode> inode_;
  uint64_t opened_reader_generation_ = 0, opened_writer_generation_ = 0;
  uint64_t quiet_generation_ = ~uint64_t{0};
  bool met_peer_ = false;
  std::atomic<bool> pending_{false};
};

Result<FileRef> PipeInode::Open(const CallContext&, uint32_t flags) {
  return FileRef(std::make_shared<PipeFile>(
      pipe_, std::static_pointer_cast<PipeInode>(shared_from_this()), flags & ~O_DIRECT));
}

}  // namespace

PipeEnds MakePipe(const CallContext& ctx, uint32_t flags) {
  auto pipe = std::make_shared<Pipe>();
  auto inode = std::make_shared<PipeInode>(*ctx.creds, pipe);
  flags &= O_NONBLOCK | O_DIRECT;
  return PipeEnds{std::make_shared<PipeFile>(pipe, inode, flags | O_RDONLY),
                  std::make_shared<PipeFile>(pipe, inode, flags | O_WRONLY)};
}

Result<FileRef> OpenFifo(std::shared_ptr<Pipe> pipe, uint32_t flags) {
  const uint32_t mode = flags & O_ACCMODE;
  if (mode == O_ACCMODE) return Errno::kINVAL;
  const bool nonblocking = (flags & O_NONBLOCK) != 0;
  if (mode == O_WRONLY && nonblocking && pipe->ends().readers == 0) return Errno::kNXIO;
  auto file = std::make_shared<PipeFile>(std::move(pipe), nullptr, flags & ~O_DIRECT);
  if (mode != O_RDWR && !nonblocking) file->SetOpenPending();
  return FileRef(std::move(file));
}

}  // namespace ringfence::sentry
