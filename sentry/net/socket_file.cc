#include "sentry/net/socket_file.h"

#include <asm/ioctls.h>
#include <asm/sockios.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "sentry/mm/guest_ptr.h"

namespace ringfence::sentry {
namespace {

class SockFs : public FileSystem {
 public:
  std::string_view type() const override { return "sockfs"; }
  InodeRef root() override { return nullptr; }
  Result<FsAttributes> StatFs(const CallContext&) override {
    FsAttributes attributes;
    attributes.type = 0x534f434b;  // SOCKFS_MAGIC
    return attributes;
  }
  static SockFs& Get() {
    static SockFs* const fs = new SockFs;
    return *fs;
  }
};

class SocketInode : public Inode {
 public:
  SocketInode(const Credentials& creds, uint64_t ino) : Inode(&SockFs::Get()) {
    attributes_.dev = fs()->device_id();
    attributes_.ino = ino;
    attributes_.mode = S_IFSOCK | 0777;
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
    if (request.mode) attributes_.mode = S_IFSOCK | (*request.mode & 07777);
    if (request.uid) attributes_.uid = *request.uid;
    if (request.gid) attributes_.gid = *request.gid;
    return Ok();
  }
  uint32_t type() const override { return S_IFSOCK; }
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kNXIO; }

 private:
  absl::Mutex mutex_;
  Attributes attributes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<SocketFile> SocketFile::Make(const CallContext& ctx, SocketRef socket,
                                             uint32_t flags) {
  static std::atomic<uint64_t> next_ino{1};
  const uint64_t ino = next_ino.fetch_add(1, std::memory_order_relaxed);
  socket->ino.store(ino, std::memory_order_relaxed);
  auto inode = std::make_shared<SocketInode>(*ctx.creds, ino);
  return std::make_shared<SocketFile>(std::move(socket), std::move(inode), ino, flags);
}

SocketFile::SocketFile(SocketRef socket, InodeRef inode, uint64_t ino, uint32_t flags)
    : File(O_RDWR | (flags & O_NONBLOCK)),
      socket_(std::move(socket)),
      inode_(std::move(inode)),
      ino_(ino) {}

SocketFile::~SocketFile() { socket_->Release(); }

void SocketFile::Flush(uint64_t owner) {
  File::Flush(owner);
  socket_->DescriptorClosed(this);
}

std::string SocketFile::AnonymousName() const { return "socket:[" + std::to_string(ino_) + "]"; }

Result<size_t> SocketFile::Read(const CallContext& ctx, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  if (io.remaining() == 0) return size_t{0};
  Received received;  // what is not bytes is dropped
  return socket_->Receive(ctx, {.io = &io, .no_wait = nonblocking()}, &received);
}

Result<size_t> SocketFile::Write(const CallContext& ctx, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  SendRequest request;
  request.io = &io;
  return socket_->Send(ctx, request);
}

Result<int64_t> SocketFile::Ioctl(const CallContext&, MemoryManager& mm, uint32_t command,
                                  uint64_t arg) {
  int32_t bytes;
  switch (command) {
    case FIONREAD:  // SIOCINQ
      bytes = TRY(socket_->BytesToRead());
      break;
    case TIOCOUTQ:  // SIOCOUTQ
      bytes = TRY(socket_->BytesToSend());
      break;
    case SIOCATMARK:
      bytes = socket_->AtMark() ? 1 : 0;
      break;
    default:
      return Errno::kNOTTY;
  }
  TRY(GuestOut<int32_t>(arg).Store(mm, bytes));
  return int64_t{0};
}

}  // namespace ringfence::sentry
