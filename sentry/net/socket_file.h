// SocketFile: the open file of a socket (socket(7)), and its inode on sockfs.
#ifndef RINGFENCE_SENTRY_NET_SOCKET_FILE_H_
#define RINGFENCE_SENTRY_NET_SOCKET_FILE_H_

#include <memory>
#include <string>

#include "sentry/net/socket.h"

namespace ringfence::sentry {

class SocketFile final : public File {
 public:
  // Owned by ctx's user. `flags`: O_NONBLOCK or 0.
  static std::shared_ptr<SocketFile> Make(const CallContext& ctx, SocketRef socket, uint32_t flags);
  SocketFile(SocketRef socket, InodeRef inode, uint64_t ino, uint32_t flags);
  ~SocketFile() override;

  Socket& socket() const { return *socket_; }
  const SocketRef& socket_ref() const { return socket_; }
  uint64_t ino() const { return ino_; }

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<int64_t> Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                        uint64_t arg) override;
  EventMask Poll() override { return socket_->Poll(); }
  WaitQueue* wait_queue() override { return &socket_->wait_queue(); }
  void Flush(uint64_t owner) override;
  InodeRef inode() const override { return inode_; }
  Result<Attributes> GetAttr(const CallContext& ctx) override { return inode_->GetAttr(ctx); }
  Result<void> Allocate(const CallContext&, int, int64_t, int64_t) override {
    return Errno::kSPIPE;
  }
  std::string AnonymousName() const override;
  SocketFile* AsSocket() override { return this; }

 private:
  const SocketRef socket_;
  const InodeRef inode_;
  const uint64_t ino_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_NET_SOCKET_FILE_H_
