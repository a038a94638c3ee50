// Socket: what a family of sockets implements (socket(2), socket(7)); SocketFile is its open file.
//
// Nothing here blocks: EAGAIN, and wait_queue() tells when to ask again, with the bits of poll(2).
// The system call layer waits, knows about MSG_DONTWAIT and timeouts, and raises SIGPIPE.
//
// Threads: any. Lifetime: shared; Release() ends a socket when its last descriptor has gone.
#ifndef RINGFENCE_SENTRY_NET_SOCKET_H_
#define RINGFENCE_SENTRY_NET_SOCKET_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/mm/user_io.h"
#include "sentry/net/socket_options.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class UnixSocket;

// struct sockaddr as bytes, as long as the caller said.
using SocketAddress = std::string;
inline constexpr size_t kMaxAddress = 128;  // sizeof(struct sockaddr_storage)

// struct ucred (unix(7)).
struct SenderIds {
  int32_t pid = 0;
  uint32_t uid = 65534, gid = 65534;  // the overflow ids: nobody said
  friend bool operator==(const SenderIds&, const SenderIds&) = default;
};

struct SendRequest {
  UserIo* io = nullptr;
  const SocketAddress* to = nullptr;  // null: the peer
  const PathBase* base = nullptr;     // where relative paths in `to` start
  // SCM_RIGHTS; taken by the first Send that succeeds.
  std::vector<FileRef> files;
  std::optional<SenderIds> ids;  // SCM_CREDENTIALS, checked
  bool urgent = false;           // MSG_OOB: the last byte is out of band
};

struct ReceiveRequest {
  UserIo* io = nullptr;
  bool peek = false;      // MSG_PEEK
  bool truncate = false;  // MSG_TRUNC: the result is the length of the whole datagram
  bool no_wait = false;   // the caller will not try again
  bool urgent = false;    // MSG_OOB: the byte out of band
};

// What came with the bytes. A second Receive into the same one does not mix senders: it gives 0.
struct Received {
  std::optional<SocketAddress> from;  // the sender's name; "" when it has none
  std::vector<FileRef> files;
  std::optional<SenderIds> ids;  // when the receiver has SO_PASSCRED
  bool truncated = false;        // the datagram was longer
  bool urgent = false;           // it is the byte out of band
};

enum class Shutdown : uint8_t { kRead = 1, kWrite = 2, kBoth = 3 };

class Socket : public std::enable_shared_from_this<Socket> {
 public:
  // `type`: SOCK_STREAM and so on.
  Socket(int domain, int type, int protocol) : domain_(domain), type_(type), protocol_(protocol) {}
  virtual ~Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int domain() const { return domain_; }
  int type() const { return type_; }
  int protocol() const { return protocol_; }
  SocketOptions& options() { return options_; }
  const SocketOptions& options() const { return options_; }

  virtual Result<void> Bind(const CallContext& ctx, const PathBase& base,
                            const SocketAddress& address) = 0;
  virtual Result<void> Listen(const CallContext& ctx, int backlog) = 0;
  // `no_wait`: the caller will not try again.
  virtual Result<std::shared_ptr<Socket>> Accept(const CallContext& ctx, bool no_wait) = 0;
  virtual Result<void> Connect(const CallContext& ctx, const PathBase& base,
                               const SocketAddress& address) = 0;
  virtual Result<void> ShutDown(Shutdown how) = 0;
  virtual Result<SocketAddress> Name() = 0;
  virtual Result<SocketAddress> PeerName() = 0;

  // Bytes moved: for streams maybe less than all. EAGAIN has no effect. EPIPE: see RaisesPipe.
  virtual Result<size_t> Send(const CallContext& ctx, SendRequest& request) = 0;
  // At most this many bytes are certain to be taken by one Send that takes any.
  virtual size_t SendUnit() = 0;
  virtual Result<size_t> Receive(const CallContext& ctx, const ReceiveRequest& request,
                                 Received* received) = 0;
  // Does EPIPE come with SIGPIPE?
  virtual bool RaisesPipe() const { return type_ == 1; }

  virtual EventMask Poll() = 0;
  WaitQueue& wait_queue() { return queue_; }
  // Options that only the family knows, after those of SocketOptions. ENOPROTOOPT.
  virtual Result<std::string> GetOption(int name) = 0;
  virtual bool listening() = 0;
  // SO_ERROR: tells and forgets.
  virtual int32_t TakeError() = 0;
  // SIOCINQ and SIOCOUTQ: bytes. EINVAL.
  virtual Result<int32_t> BytesToRead() = 0;
  virtual Result<int32_t> BytesToSend() = 0;
  // SIOCATMARK: is a byte out of band what would be read next, or has one been that was there?
  virtual bool AtMark() { return false; }

  virtual void Release() = 0;
  // A descriptor of `file`, which is this socket's, is being closed; the closer holds one
  // reference to it, and there may be others.
  virtual void DescriptorClosed(File* file) { (void)file; }
  // Of its file, for /proc/net; 0 while it has none.
  std::atomic<uint64_t> ino{0};
  virtual UnixSocket* AsUnix() { return nullptr; }

 private:
  const int domain_, type_, protocol_;
  SocketOptions options_;
  WaitQueue queue_;
};
using SocketRef = std::shared_ptr<Socket>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_NET_SOCKET_H_
