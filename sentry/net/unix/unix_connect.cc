// Names and connections: bind(2), listen(2), connect(2), accept(2).
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>

#include "sentry/net/unix/unix_socket.h"

namespace ringfence::sentry {
namespace {

SenderIds EffectiveIds(const CallContext& ctx) {
  return {ctx.tgid, ctx.creds->euid, ctx.creds->egid};
}

UnixNameRef ToName(UnixAddress address, DentryRef place) {
  auto name = std::make_shared<UnixName>();
  name->encoded = EncodeUnixAddress(address);
  name->address = std::move(address);
  name->place = std::move(place);
  return name;
}

}  // namespace

UnixNameRef UnixSocket::name() const {
  absl::MutexLock lock(&mutex_);
  return name_;
}

Result<SocketAddress> UnixSocket::Name() {
  const UnixNameRef bound = name();
  return bound == nullptr ? EncodeUnixAddress({}) : bound->encoded;
}

Result<SocketAddress> UnixSocket::PeerName() {
  UnixSocketRef peer;
  {
    absl::MutexLock lock(&mutex_);
    peer = peer_;
  }
  if (peer == nullptr) return Errno::kNOTCONN;
  return peer->Name();
}

Result<UnixNameRef> UnixSocket::MakeName(const CallContext& ctx, const PathBase& base,
                                         const UnixAddress& address) {
  switch (address.kind) {
    case UnixAddress::Kind::kPath: {
      Result<DentryRef> made = Vfs::MakeSocket(ctx, base, address.name, 0777);
      if (!made.ok()) return made.error() == Errno::kEXIST ? Errno::kADDRINUSE : made.error();
      family_->AddInode((*made)->inode().get(), Self());
      return ToName(address, *made);
    }
    case UnixAddress::Kind::kAbstract:
      TRY(family_->AddAbstract(address.name, Self()));
      return ToName(address, nullptr);
    case UnixAddress::Kind::kUnnamed:
      break;
  }
  const std::string name = TRY(family_->AddAutomatic(Self()));
  return ToName({UnixAddress::Kind::kAbstract, name}, nullptr);
}

Result<void> UnixSocket::Bind(const CallContext& ctx, const PathBase& base,
                              const SocketAddress& address) {
  const UnixAddress parsed = TRY(ParseUnixAddress(address));
  absl::MutexLock bind_lock(&bind_mutex_);
  if (name() != nullptr) {
    // A socket that has a name keeps it when asked for any.
    return parsed.kind == UnixAddress::Kind::kUnnamed ? Ok() : Result<void>(Errno::kINVAL);
  }
  UnixNameRef made = TRY(MakeName(ctx, base, parsed));
  absl::MutexLock lock(&mutex_);
  name_ = std::move(made);
  return Ok();
}

// A socket that wants credentials gets a name, so that it can be answered.
Result<void> UnixSocket::BindAutomatically() {
  if (!options().pass_credentials() || name() != nullptr) return Ok();
  return Bind({}, {}, EncodeUnixAddress({}));
}

Result<void> UnixSocket::Listen(const CallContext& ctx, int backlog) {
  if (!streaming()) return Errno::kOPNOTSUPP;
  Waiting waiting;
  {
    absl::MutexLock lock(&mutex_);
    if (name_ == nullptr) return Errno::kINVAL;
    if (state_ != State::kIdle && state_ != State::kListening) return Errno::kINVAL;
    state_ = State::kListening;
    backlog_ = std::min<uint32_t>(static_cast<uint32_t>(backlog), UnixDomain::kMaxBacklog);
    peer_ids_ = EffectiveIds(ctx);
    waiting.swap(waiting_);
  }
  NotifyWaiting(waiting);
  return Ok();
}

Result<SocketRef> UnixSocket::Accept(const CallContext&, bool no_wait) {
  if (!streaming()) return Errno::kOPNOTSUPP;
  UnixSocketRef embryo;
  Waiting waiting;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ != State::kListening) return Errno::kINVAL;
    if (embryos_.empty()) {
      // As on Linux, one that would not wait is not told of the end.
      return (ended_ & kNoReads) != 0 && !no_wait ? Errno::kINVAL : Errno::kAGAIN;
    }
    embryo = std::move(embryos_.front());
    embryos_.pop_front();
    waiting.swap(waiting_);
  }
  NotifyWaiting(waiting);
  embryo->options().InheritFrom(options());
  return SocketRef(std::move(embryo));
}

Result<UnixSocketRef> UnixSocket::Find(const CallContext& ctx, const PathBase& base,
                                       const SocketAddress& address) {
  const UnixAddress parsed = TRY(ParseUnixAddress(address));
  UnixSocketRef found;
  switch (parsed.kind) {
    case UnixAddress::Kind::kUnnamed:
      return Errno::kINVAL;
    case UnixAddress::Kind::kAbstract:
      found = family_->FindAbstract(parsed.name);
      break;
    case UnixAddress::Kind::kPath: {
      const DentryRef place = TRY(Vfs::Resolve(ctx, base, parsed.name));
      TRY(Vfs::CheckAccess(ctx, place, 2));
      if (place->inode()->type() == S_IFSOCK) found = family_->FindInode(place->inode().get());
      break;
    }
  }
  if (found == nullptr) return Errno::kCONNREFUSED;
  if (found->type() != type()) return Errno::kPROTOTYPE;
  return found;
}

Result<void> UnixSocket::Connect(const CallContext& ctx, const PathBase& base,
                                 const SocketAddress& address) {
  sa_family_t family = AF_UNSPEC;
  if (address.size() < sizeof(family)) return Errno::kINVAL;
  std::memcpy(&family, address.data(), sizeof(family));
  if (!streaming() && family == AF_UNSPEC) return Disconnect();
  const UnixSocketRef target = TRY(Find(ctx, base, address));
  TRY(BindAutomatically());
  return streaming() ? ConnectStream(ctx, target) : ConnectDatagram(target);
}

// Puts a connection into the queue of this listener. EAGAIN: it is full; `from` is told when it is
// no longer. Returns who listens.
Result<SenderIds> UnixSocket::Enqueue(const UnixSocketRef& embryo, const UnixSocketRef& from) {
  absl::MutexLock lock(&mutex_);
  if (dead_ || state_ != State::kListening || (ended_ & kNoReads) != 0) {
    return Errno::kCONNREFUSED;
  }
  if (embryos_.size() > backlog_) {
    waiting_[from.get()] = from;
    return Errno::kAGAIN;
  }
  {
    absl::MutexLock embryo_lock(&embryo->mutex_);
    embryo->name_ = name_;
  }
  embryos_.push_back(embryo);
  return *peer_ids_;
}

Result<void> UnixSocket::ConnectStream(const CallContext& ctx, const UnixSocketRef& target) {
  if (target.get() == this) return Errno::kINVAL;
  {
    // Nobody else connects it meanwhile.
    absl::MutexLock lock(&mutex_);
    if (state_ == State::kConnected) return Errno::kISCONN;
    if (state_ != State::kIdle) return Errno::kINVAL;
    state_ = State::kConnecting;
  }
  const UnixSocketRef embryo = Make(family_, type());
  {
    absl::MutexLock lock(&embryo->mutex_);
    embryo->state_ = State::kConnected;
    embryo->peer_ = Self();
    embryo->peer_ids_ = EffectiveIds(ctx);
  }
  {
    // Before the connection can be accepted: its other end may send at once.
    absl::MutexLock lock(&mutex_);
    peer_ = embryo;
  }
  const Result<SenderIds> listener = target->Enqueue(embryo, Self());
  UnixSocketRef dropped;
  {
    absl::MutexLock lock(&mutex_);
    state_ = listener.ok() ? State::kConnected : State::kIdle;
    if (listener.ok()) {
      peer_ids_ = *listener;
    } else {
      dropped = std::move(peer_);
    }
  }
  if (!listener.ok()) {
    absl::MutexLock lock(&embryo->mutex_);
    embryo->peer_ = nullptr;
    return listener.error();
  }
  target->wait_queue().Notify(kEventIn);
  wait_queue().Notify(kEventOut);
  return Ok();
}

Result<void> UnixSocket::ConnectDatagram(const UnixSocketRef& target) {
  {
    absl::MutexLock lock(&target->mutex_);
    if (target->dead_) return Errno::kCONNREFUSED;
    if (target->peer_ != nullptr && target->peer_.get() != this) return Errno::kPERM;
  }
  UnixSocketRef old;
  {
    absl::MutexLock lock(&mutex_);
    old = std::exchange(peer_, target);
    state_ = State::kConnected;
  }
  if (old != nullptr && old != target) LostDatagramPeer(old);
  wait_queue().Notify(kEventOut);
  return Ok();
}

Result<void> UnixSocket::Disconnect() {
  UnixSocketRef old;
  {
    absl::MutexLock lock(&mutex_);
    old = std::move(peer_);
    state_ = State::kIdle;
  }
  if (old != nullptr) LostDatagramPeer(old);
  return Ok();
}

// What had come from anybody is lost, and a peer that was connected to us is told.
void UnixSocket::LostDatagramPeer(const UnixSocketRef& old_peer) {
  std::deque<Message> messages;
  Waiting waiting;
  {
    absl::MutexLock lock(&mutex_);
    if (queue_.empty()) return;
    messages.swap(queue_);
    queued_bytes_ = 0;
    waiting.swap(waiting_);
  }
  NotifyWaiting(waiting);
  bool told = false;
  {
    absl::MutexLock lock(&old_peer->mutex_);
    told = !old_peer->dead_ && old_peer->peer_.get() == this;
  }
  if (!told) return;
  old_peer->error_.store(ECONNRESET);
  old_peer->wait_queue().Notify(kEventErr | kEventIn);
}

}  // namespace ringfence::sentry
