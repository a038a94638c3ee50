// Messages: send(2), recv(2), and what travels with them.
#include <limits>
#include <new>

#include "sentry/net/unix/unix_socket.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21, kCapSysResource = 24;

// Who sends, where it has not said so itself: the real ids.
SenderIds RealIds(const CallContext& ctx) { return {ctx.tgid, ctx.creds->ruid, ctx.creds->rgid}; }

}  // namespace

Result<size_t> UnixSocket::Send(const CallContext& ctx, SendRequest& request) {
  return type() == kStream ? SendStream(ctx, request) : SendDatagram(ctx, request);
}

size_t UnixSocket::SendUnit() {
  if (type() != kStream) return std::numeric_limits<size_t>::max();
  return std::clamp<size_t>(options().send_buffer() / 2 - 64, 1, 64 * 1024);
}

// Makes a message of the next `size` bytes of `io`, charged to this socket.
Result<UnixSocket::Message> UnixSocket::Build(const CallContext& ctx, const SendRequest& request,
                                              UserIo& io, size_t size, UnixSocket& receiver) {
  Message message;
  const uint64_t cost = size + kOverhead;
  TRY(family_->Reserve(cost));
  sent_.fetch_add(cost, std::memory_order_acq_rel);
  message.charge = Charge(Self(), cost);
  message.bytes.reset(new (std::nothrow) std::byte[size]);
  if (message.bytes == nullptr) return Errno::kNOBUFS;
  message.size = size;
  if (size != 0 && TRY(io.Read(message.bytes.get(), size)) < size) return Errno::kFAULT;
  const bool privileged =
      ctx.creds->HasCapability(kCapSysResource) || ctx.creds->HasCapability(kCapSysAdmin);
  message.files = TRY(family_->in_flight().Add(
      request.files, privileged ? InFlight::kMaxFiles : InFlight::kMaxFiles / 4));
  if (request.ids.has_value()) {
    message.ids = request.ids;
  } else if (options().pass_credentials() || receiver.options().pass_credentials() ||
             receiver.ino.load(std::memory_order_relaxed) == 0) {
    message.ids = RealIds(ctx);
  }
  message.from = name();
  return message;
}

// What a socket says before it takes a message (sock_alloc_send_pskb).
Result<void> UnixSocket::CheckMaySend() {
  if (const int32_t error = TakeError(); error != 0) return static_cast<Errno>(error);
  {
    absl::MutexLock lock(&mutex_);
    if ((ended_ & kNoWrites) != 0) return Errno::kPIPE;
  }
  if (!HasRoom()) return Errno::kAGAIN;
  return Ok();
}

Result<size_t> UnixSocket::SendStream(const CallContext& ctx, SendRequest& request) {
  if (request.urgent && request.io->remaining() == 0) return Errno::kOPNOTSUPP;
  UnixSocketRef peer;
  {
    absl::MutexLock lock(&mutex_);
    if (request.to != nullptr) {
      return state_ == State::kConnected ? Errno::kISCONN : Errno::kOPNOTSUPP;
    }
    if (state_ != State::kConnected || peer_ == nullptr) return Errno::kNOTCONN;
    if ((ended_ & kNoWrites) != 0) return Errno::kPIPE;
    peer = peer_;
  }
  if (request.io->remaining() == 0) return size_t{0};
  TRY(CheckMaySend());
  UserIo io = *request.io;
  // The byte out of band is a message of its own, the last.
  const bool urgent = request.urgent && io.remaining() == 1;
  const uint64_t rest = io.remaining() - (request.urgent && !urgent ? 1 : 0);
  const size_t size = std::min<uint64_t>(rest, SendUnit());
  TRY(peer->DeliverStream(TRY(Build(ctx, request, io, size, *peer)), urgent));
  *request.io = io;
  request.files.clear();
  peer->wait_queue().Notify(urgent ? kEventIn | kEventPri : kEventIn);
  return size;
}

Result<void> UnixSocket::DeliverStream(Message message, bool urgent) {
  absl::MutexLock lock(&mutex_);
  if (dead_ || (ended_ & kNoReads) != 0) return Errno::kPIPE;
  queued_bytes_ += message.size;
  queue_.push_back(std::move(message));
  if (urgent) urgent_ = &queue_.back();
  return Ok();
}

Result<UnixSocketRef> UnixSocket::Destination(const CallContext& ctx, const SendRequest& request) {
  if (request.to != nullptr && type() == kDatagram) {
    return Find(ctx, request.base != nullptr ? *request.base : PathBase{}, *request.to);
  }
  absl::MutexLock lock(&mutex_);
  if (peer_ == nullptr || (streaming() && state_ != State::kConnected)) return Errno::kNOTCONN;
  return peer_;
}

Result<size_t> UnixSocket::SendDatagram(const CallContext& ctx, SendRequest& request) {
  if (streaming()) {
    if (const int32_t error = TakeError(); error != 0) return static_cast<Errno>(error);
  } else if (request.urgent) {
    return Errno::kOPNOTSUPP;
  }
  const UnixSocketRef target = TRY(Destination(ctx, request));
  if (request.urgent) return Errno::kOPNOTSUPP;
  TRY(BindAutomatically());
  const uint64_t size = request.io->remaining();
  if (size + 32 > options().send_buffer()) return Errno::kMSGSIZE;
  TRY(CheckMaySend());
  UserIo io = *request.io;
  Message message = TRY(Build(ctx, request, io, size, *target));
  const Delivery delivery = TRY(target->DeliverDatagram(&message, Self()));
  if (delivery == Delivery::kDead) {
    if (streaming()) return Errno::kPIPE;
    bool was_peer = false;
    {
      absl::MutexLock lock(&mutex_);
      was_peer = peer_ == target;
      if (was_peer) {
        peer_ = nullptr;
        state_ = State::kIdle;
      }
    }
    if (was_peer) LostDatagramPeer(target);
    return Errno::kCONNREFUSED;
  }
  *request.io = io;
  request.files.clear();
  target->wait_queue().Notify(kEventIn);
  return size;
}

// EPERM: the receiver has another peer; EPIPE: it reads no more; EAGAIN: its queue is full.
Result<UnixSocket::Delivery> UnixSocket::DeliverDatagram(Message* message,
                                                         const UnixSocketRef& sender) {
  absl::MutexLock lock(&mutex_);
  if (dead_) return Delivery::kDead;
  if (peer_ != nullptr && peer_ != sender) return Errno::kPERM;
  if ((ended_ & kNoReads) != 0) return Errno::kPIPE;
  if (FullLocked(sender.get())) {
    waiting_[sender.get()] = sender;
    return Errno::kAGAIN;
  }
  queued_bytes_ += message->size;
  queue_.push_back(std::move(*message));
  return Delivery::kDone;
}

Result<size_t> UnixSocket::Receive(const CallContext&, const ReceiveRequest& request,
                                   Received* received) {
  return type() == kStream ? ReceiveStream(request, received) : ReceiveDatagram(request, received);
}

bool UnixSocket::Accompany(const Message& message, bool first, Received* received) {
  if (options().pass_credentials()) {
    const SenderIds ids = message.ids.value_or(SenderIds{});
    if (received->ids.has_value() && *received->ids != ids) return false;
    received->ids = ids;
  }
  if (first && !received->from.has_value()) {
    received->from = message.from == nullptr ? SocketAddress() : message.from->encoded;
  }
  return true;
}

// Goes past a message: for good, or to the next one while only peeking.
void UnixSocket::PassLocked(bool peek, size_t* next, Taken* taken) {
  if (peek) {
    ++*next;
    return;
  }
  if (&queue_.front() == urgent_) urgent_ = nullptr;
  queued_bytes_ -= queue_.front().left();
  taken->messages.push_back(std::move(queue_.front()));
  queue_.pop_front();
}

// Moves `next` to the message that is read next, as manage_oob() of Linux: a read that has moved
// something stops at the byte out of band, one that begins there leaves it out, unless it is in
// line. False: there is none.
bool UnixSocket::NextToReadLocked(bool peek, bool moved, size_t* next, Taken* taken) {
  while (*next < queue_.size()) {
    const Message& message = queue_[*next];
    const bool urgent = &message == urgent_;
    if (message.left() == 0) {
      if (moved && (urgent_ == nullptr || urgent)) return false;
    } else {
      if (!urgent) return true;
      if (moved) return false;
      const bool in_line = options().urgent_in_line();
      if (!peek) urgent_ = nullptr;
      if (in_line) return true;
    }
    PassLocked(peek, next, taken);
  }
  return false;
}

Result<size_t> UnixSocket::ReadStreamLocked(const ReceiveRequest& request, Received* received,
                                            Taken* taken) {
  size_t moved = 0;
  size_t next = 0;  // of the queue, while only peeking
  uint64_t skip = request.peek ? static_cast<uint64_t>(std::max(options().peek_offset(), 0)) : 0;
  bool found = false;
  while (NextToReadLocked(request.peek, moved != 0, &next, taken)) {
    Message& message = queue_[next];
    if (skip >= message.left()) {
      skip -= message.left();
      ++next;
      continue;
    }
    if (!Accompany(message, moved == 0, received)) break;
    found = true;
    const size_t want = std::min<uint64_t>(message.left() - skip, request.io->remaining());
    const Result<size_t> put =
        want == 0 ? size_t{0} : request.io->Write(message.data() + skip, want);
    if (!put.ok() && moved == 0) return put;
    const size_t got = put.value_or(0);
    skip = 0;
    moved += got;
    const bool with_files = !message.files.empty();
    if (with_files && got == want && !request.peek) {
      taken->files = std::exchange(message.files, FlyingFiles());
    }
    if (request.peek) {
      received->files = message.files.files();
      ++next;
    } else {
      message.taken += got;
      queued_bytes_ -= got;
      if (message.left() == 0) PassLocked(false, &next, taken);
    }
    if (got < want || with_files || request.io->remaining() == 0) break;
  }
  if (request.peek) {
    options().PeekedAt(moved);
  } else {
    options().TookAway(moved);
  }
  if (!found) return Errno::kAGAIN;
  return moved;
}

Result<size_t> UnixSocket::ReadUrgentLocked(const ReceiveRequest& request, Received* received) {
  if (urgent_ == nullptr || options().urgent_in_line()) return Errno::kINVAL;
  Message& message = *urgent_;
  if (TRY(request.io->Write(message.data(), 1)) == 0) return Errno::kFAULT;
  if (!request.peek) {
    urgent_ = nullptr;
    message.taken += 1;
    queued_bytes_ -= 1;
  }
  received->urgent = true;
  return size_t{1};
}

Result<size_t> UnixSocket::ReadStream(const ReceiveRequest& request, Received* received,
                                      Taken* taken) {
  absl::MutexLock lock(&mutex_);
  if (state_ != State::kConnected) return Errno::kINVAL;
  if (request.urgent) return ReadUrgentLocked(request, received);
  const Result<size_t> read = ReadStreamLocked(request, received, taken);
  if (read.ok() || read.error() != Errno::kAGAIN) return read;
  if (const int32_t error = TakeError(); error != 0) return static_cast<Errno>(error);
  if ((ended_ & kNoReads) != 0) return size_t{0};
  return Errno::kAGAIN;
}

Result<size_t> UnixSocket::ReceiveStream(const ReceiveRequest& request, Received* received) {
  Taken taken;
  Result<size_t> result = ReadStream(request, received, &taken);
  if (!taken.files.empty()) received->files = taken.files.Take();
  return result;
}

// The first message that ends past the offset of SO_PEEK_OFF, which becomes one within it.
UnixSocket::Message* UnixSocket::ToPeekAtLocked(uint64_t* offset) {
  const int32_t set = options().peek_offset();
  *offset = static_cast<uint64_t>(std::max(set, 0));
  for (Message& message : queue_) {
    if (set < 0 || *offset < message.size || (message.size == 0 && *offset == 0)) return &message;
    *offset -= message.size;
  }
  return nullptr;
}

Result<size_t> UnixSocket::PeekDatagramLocked(const ReceiveRequest& request, Received* received) {
  uint64_t offset = 0;
  Message* const message = ToPeekAtLocked(&offset);
  if (message == nullptr) return Errno::kAGAIN;
  Accompany(*message, true, received);
  received->files = message->files.files();
  const size_t size = message->size - offset;
  received->truncated = size > request.io->remaining();
  const size_t want = std::min<uint64_t>(size, request.io->remaining());
  const size_t got = want == 0 ? 0 : TRY(request.io->Write(message->bytes.get() + offset, want));
  if (got < want) return Errno::kFAULT;
  options().PeekedAt(got);
  return request.truncate ? size : got;
}

Result<size_t> UnixSocket::ReceiveDatagram(const ReceiveRequest& request, Received* received) {
  if (request.urgent && !streaming()) return Errno::kOPNOTSUPP;
  Message message;
  Waiting waiting;
  {
    absl::MutexLock lock(&mutex_);
    if (streaming() && state_ != State::kConnected) return Errno::kNOTCONN;
    if (request.urgent) return Errno::kOPNOTSUPP;
    if (const int32_t error = TakeError(); error != 0) return static_cast<Errno>(error);
    if (request.peek && !queue_.empty()) {
      const Result<size_t> peeked = PeekDatagramLocked(request, received);
      if (peeked.ok() || peeked.error() != Errno::kAGAIN) return peeked;
    }
    if (queue_.empty() || request.peek) {
      // As on Linux, one that would not wait is not told of the end of datagrams.
      const bool end = (ended_ & kNoReads) != 0 && (streaming() || !request.no_wait);
      return end ? Result<size_t>(size_t{0}) : Errno::kAGAIN;
    }
    Accompany(queue_.front(), true, received);
    message = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= message.size;
    options().TookAway(message.size);
    if (queue_.size() <= UnixDomain::kDatagramQueue) waiting.swap(waiting_);
  }
  NotifyWaiting(waiting);
  received->files = message.files.Take();
  received->truncated = message.size > request.io->remaining();
  const size_t want = std::min<uint64_t>(message.size, request.io->remaining());
  const size_t got = want == 0 ? 0 : TRY(request.io->Write(message.bytes.get(), want));
  if (got < want) return Errno::kFAULT;
  return request.truncate ? message.size : got;
}

}  // namespace ringfence::sentry
