// UnixSocket: AF_UNIX sockets: stream, datagram, sequenced packets (unix(7)).
//
// A message lies in the queue of its receiver and is charged to its sender until it is read: that
// is what SO_SNDBUF bounds. Nobody holds the mutexes of two sockets, but a listener's and those of
// the connections it has not accepted yet.
//
// Connected sockets refer to each other; Release of one ends its side, and what it owned goes.
//
// Lock order: bind_mutex_, InFlight::mutex_, mutex_ (a listener's before its embryos'),
// UnixDomain::mutex_, WaitQueue. Guest memory is copied out with mutex_ held. Messages are dropped
// and queues notified without mutex_.
#ifndef RINGFENCE_SENTRY_NET_UNIX_UNIX_SOCKET_H_
#define RINGFENCE_SENTRY_NET_UNIX_UNIX_SOCKET_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "sentry/net/socket.h"
#include "sentry/net/unix/domain.h"
#include "sentry/net/unix/unix_address.h"

namespace ringfence::sentry {

class UnixSocket final : public Socket {
 public:
  // A message's cost besides its bytes, about what Linux counts for a small one.
  static constexpr uint64_t kOverhead = 512;

  // `type`: SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
  static UnixSocketRef Make(UnixDomainRef domain, int type);
  // socketpair(2).
  static std::pair<UnixSocketRef, UnixSocketRef> MakePair(const CallContext& ctx,
                                                          const UnixDomainRef& domain, int type);
  UnixSocket(UnixDomainRef domain, int type);  // use Make
  ~UnixSocket() override;

  Result<void> Bind(const CallContext& ctx, const PathBase& base,
                    const SocketAddress& address) override;
  Result<void> Listen(const CallContext& ctx, int backlog) override;
  Result<SocketRef> Accept(const CallContext& ctx, bool no_wait) override;
  Result<void> Connect(const CallContext& ctx, const PathBase& base,
                       const SocketAddress& address) override;
  Result<void> ShutDown(Shutdown how) override;
  Result<SocketAddress> Name() override;
  Result<SocketAddress> PeerName() override;
  Result<size_t> Send(const CallContext& ctx, SendRequest& request) override;
  size_t SendUnit() override;
  Result<size_t> Receive(const CallContext& ctx, const ReceiveRequest& request,
                         Received* received) override;
  EventMask Poll() override;
  Result<std::string> GetOption(int name) override;
  bool listening() override;
  int32_t TakeError() override { return error_.exchange(0); }
  Result<int32_t> BytesToRead() override;
  Result<int32_t> BytesToSend() override;
  bool AtMark() override;
  void Release() override;
  void DescriptorClosed(File* file) override;
  UnixSocket* AsUnix() override { return this; }

  // Its line of /proc/net/unix.
  std::string Describe();

  // For InFlight: the files of all messages that are received through this socket.
  void VisitFiles(absl::FunctionRef<void(const FileRef&)> visit);
  void TakeFiles(std::vector<FlyingFiles>* taken);

 private:
  enum class State : uint8_t { kIdle, kConnecting, kConnected, kListening };
  static constexpr uint8_t kNoReads = 1, kNoWrites = 2;

  // What a message costs its sender; given back when it is destroyed.
  class Charge {
   public:
    Charge() = default;
    Charge(UnixSocketRef sender, uint64_t bytes) : sender_(std::move(sender)), bytes_(bytes) {}
    Charge(Charge&& other) noexcept = default;
    Charge& operator=(Charge&& other) noexcept {
      std::swap(sender_, other.sender_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Charge() {
      if (sender_ != nullptr) sender_->Uncharge(bytes_);
    }

   private:
    UnixSocketRef sender_;
    uint64_t bytes_ = 0;
  };

  struct Message {
    std::unique_ptr<std::byte[]> bytes;
    size_t size = 0, taken = 0;
    std::optional<SenderIds> ids;
    FlyingFiles files;
    UnixNameRef from;
    Charge charge;
    const std::byte* data() const { return bytes.get() + taken; }
    size_t left() const { return size - taken; }
  };

  UnixSocketRef Self() { return std::static_pointer_cast<UnixSocket>(shared_from_this()); }
  bool streaming() const { return type() != kDatagram; }  // has connections
  static constexpr int kStream = 1, kDatagram = 2;

  // unix_connect.cc
  Result<UnixNameRef> MakeName(const CallContext& ctx, const PathBase& base,
                               const UnixAddress& address);
  Result<void> BindAutomatically();
  Result<UnixSocketRef> Find(const CallContext& ctx, const PathBase& base,
                             const SocketAddress& address);
  Result<void> ConnectStream(const CallContext& ctx, const UnixSocketRef& target);
  Result<SenderIds> Enqueue(const UnixSocketRef& embryo, const UnixSocketRef& from);
  Result<void> ConnectDatagram(const UnixSocketRef& target);
  Result<void> Disconnect();
  void PeerEnded(bool reset);
  void LostDatagramPeer(const UnixSocketRef& old_peer);

  // unix_transfer.cc
  Result<size_t> SendStream(const CallContext& ctx, SendRequest& request);
  Result<size_t> SendDatagram(const CallContext& ctx, SendRequest& request);
  Result<UnixSocketRef> Destination(const CallContext& ctx, const SendRequest& request);
  Result<void> CheckMaySend();
  Result<Message> Build(const CallContext& ctx, const SendRequest& request, UserIo& io, size_t size,
                        UnixSocket& receiver);
  // EPIPE: the receiver reads no more.
  Result<void> DeliverStream(Message message, bool urgent);
  enum class Delivery : uint8_t { kDone, kDead };
  Result<Delivery> DeliverDatagram(Message* message, const UnixSocketRef& sender);
  Result<size_t> ReceiveStream(const ReceiveRequest& request, Received* received);
  Result<size_t> ReceiveDatagram(const ReceiveRequest& request, Received* received);
  // What leaves the queue and is dropped, or taken, without the lock.
  struct Taken {
    std::vector<Message> messages;
    FlyingFiles files;
  };
  // EAGAIN: there is nothing to read.
  Result<size_t> ReadStreamLocked(const ReceiveRequest& request, Received* received, Taken* taken)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<size_t> ReadUrgentLocked(const ReceiveRequest& request, Received* received)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool NextToReadLocked(bool peek, bool moved, size_t* next, Taken* taken)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PassLocked(bool peek, size_t* next, Taken* taken) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<size_t> ReadStream(const ReceiveRequest& request, Received* received, Taken* taken);
  Message* ToPeekAtLocked(uint64_t* offset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // EAGAIN: nothing past the offset of SO_PEEK_OFF.
  Result<size_t> PeekDatagramLocked(const ReceiveRequest& request, Received* received)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What comes with the bytes of a message. False: it is from somebody else than the bytes before.
  bool Accompany(const Message& message, bool first, Received* received);

  UnixNameRef name() const;
  // Less than what SO_SNDBUF allows is on its way.
  bool HasRoom() const;
  bool Writable() const;  // and much less: as poll says
  void Uncharge(uint64_t bytes);
  // Is the queue too long for `sender`? Then it is told when that changes.
  bool CheckFull(const UnixSocketRef& sender);
  bool FullLocked(const UnixSocket* sender) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  using Waiting = std::map<UnixSocket*, std::weak_ptr<UnixSocket>>;
  static void NotifyWaiting(const Waiting& waiting);

  const UnixDomainRef family_;
  std::atomic<uint64_t> sent_{0};  // charged to this socket
  std::atomic<int32_t> error_{0};

  absl::Mutex bind_mutex_;  // one bind at a time
  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kIdle;
  bool dead_ ABSL_GUARDED_BY(mutex_) = false;
  uint8_t ended_ ABSL_GUARDED_BY(mutex_) = 0;  // kNoReads, kNoWrites
  UnixNameRef name_ ABSL_GUARDED_BY(mutex_);
  UnixSocketRef peer_ ABSL_GUARDED_BY(mutex_);
  std::optional<SenderIds> peer_ids_ ABSL_GUARDED_BY(mutex_);  // a listener's: its own
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The byte out of band, until it is taken or passed, or the next one comes. In queue_, where one
  // that was taken stays, empty: reading stops there.
  Message* urgent_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::deque<UnixSocketRef> embryos_ ABSL_GUARDED_BY(mutex_);  // connected, not accepted
  size_t backlog_ ABSL_GUARDED_BY(mutex_) = 0;
  Waiting waiting_ ABSL_GUARDED_BY(mutex_);  // senders and connectors that found it full
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_NET_UNIX_UNIX_SOCKET_H_
