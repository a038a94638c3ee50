// Life, readiness and options of a unix socket.
#include "sentry/net/unix/unix_socket.h"

#include <linux/net.h>  // SS_*
#include <sys/socket.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_format.h"
#include "sentry/base/bytes.h"

namespace ringfence::sentry {
namespace {

constexpr EventMask kAllEvents = kEventIn | kEventOut | kEventErr | kEventHup | kEventRdHup;

SenderIds EffectiveIds(const CallContext& ctx) {
  return {ctx.tgid, ctx.creds->euid, ctx.creds->egid};
}

}  // namespace

UnixSocketRef UnixSocket::Make(UnixDomainRef domain, int type) {
  auto socket = std::make_shared<UnixSocket>(std::move(domain), type);
  socket->family_->Register(socket.get(), socket);
  return socket;
}

std::pair<UnixSocketRef, UnixSocketRef> UnixSocket::MakePair(const CallContext& ctx,
                                                             const UnixDomainRef& domain,
                                                             int type) {
  UnixSocketRef a = Make(domain, type), b = Make(domain, type);
  for (const auto& [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    absl::MutexLock lock(&one->mutex_);
    one->peer_ = other;
    one->peer_ids_ = EffectiveIds(ctx);
    one->state_ = State::kConnected;
  }
  return {std::move(a), std::move(b)};
}

UnixSocket::UnixSocket(UnixDomainRef domain, int type)
    : Socket(AF_UNIX, type, 0), family_(std::move(domain)) {}

UnixSocket::~UnixSocket() { family_->Unregister(this); }  // one that was never released

void UnixSocket::Release() {
  family_->Unregister(this);  // no longer in /proc/net/unix, though messages may refer to it
  // Dropped after the lock, in this order.
  std::deque<UnixSocketRef> embryos;
  UnixSocketRef peer;
  std::deque<Message> messages;
  Waiting waiting;
  UnixNameRef name;
  {
    absl::MutexLock lock(&mutex_);
    dead_ = true;
    ended_ = kNoReads | kNoWrites;
    state_ = State::kIdle;
    peer = std::move(peer_);
    messages.swap(queue_);
    urgent_ = nullptr;
    queued_bytes_ = 0;
    embryos.swap(embryos_);
    waiting.swap(waiting_);
    name = name_;
  }
  if (name != nullptr && name->place != nullptr) {
    family_->RemoveInode(name->place->inode().get(), this);
  } else if (name != nullptr) {
    family_->RemoveAbstract(name->address.name, this);
  }
  if (peer != nullptr && streaming()) peer->PeerEnded(!messages.empty());
  for (const UnixSocketRef& embryo : embryos) {
    UnixSocketRef client;
    {
      absl::MutexLock lock(&embryo->mutex_);
      client = embryo->peer_;
    }
    if (client != nullptr) client->PeerEnded(true);
    embryo->Release();
  }
  NotifyWaiting(waiting);
  messages.clear();
  family_->in_flight().Closed(nullptr);
}

void UnixSocket::DescriptorClosed(File* file) {
  // Whether it is the last one is not known here; the collector finds out.
  family_->in_flight().Closed(file);
}

// The other end of a connection has gone; `reset`: without having read everything.
void UnixSocket::PeerEnded(bool reset) {
  {
    absl::MutexLock lock(&mutex_);
    ended_ = kNoReads | kNoWrites;
    if (reset) error_.store(ECONNRESET);
  }
  wait_queue().Notify(kAllEvents);
}

Result<void> UnixSocket::ShutDown(Shutdown how) {
  const auto mine = static_cast<uint8_t>(how);
  UnixSocketRef peer;
  {
    absl::MutexLock lock(&mutex_);
    ended_ |= mine;
    if (streaming()) peer = peer_;
  }
  if (peer != nullptr) {
    uint8_t theirs = 0;
    if ((mine & kNoReads) != 0) theirs |= kNoWrites;
    if ((mine & kNoWrites) != 0) theirs |= kNoReads;
    {
      absl::MutexLock lock(&peer->mutex_);
      peer->ended_ |= theirs;
    }
    peer->wait_queue().Notify(kAllEvents);
  }
  wait_queue().Notify(kAllEvents);
  return Ok();
}

bool UnixSocket::HasRoom() const {
  return sent_.load(std::memory_order_acquire) < options().send_buffer();
}

bool UnixSocket::Writable() const {
  return sent_.load(std::memory_order_acquire) * 4 <= options().send_buffer();
}

void UnixSocket::Uncharge(uint64_t bytes) {
  family_->Unreserve(bytes);
  sent_.fetch_sub(bytes, std::memory_order_acq_rel);
  if (Writable()) wait_queue().Notify(kEventOut);
}

// Packets of a connected pair are bounded by their sender alone, as on Linux.
bool UnixSocket::FullLocked(const UnixSocket* sender) const {
  return sender != this && peer_.get() != sender && queue_.size() > UnixDomain::kDatagramQueue;
}

bool UnixSocket::CheckFull(const UnixSocketRef& sender) {
  absl::MutexLock lock(&mutex_);
  if (dead_ || !FullLocked(sender.get())) return false;
  waiting_[sender.get()] = sender;
  return true;
}

void UnixSocket::NotifyWaiting(const Waiting& waiting) {
  for (const auto& [socket, ref] : waiting) {
    if (const UnixSocketRef found = ref.lock()) found->wait_queue().Notify(kEventOut);
  }
}

EventMask UnixSocket::Poll() {
  EventMask events = 0;
  UnixSocketRef packets_to;  // whose queue limits us
  bool listens;
  {
    absl::MutexLock lock(&mutex_);
    listens = state_ == State::kListening;
    if (error_.load() != 0) events |= kEventErr;
    if (ended_ == (kNoReads | kNoWrites)) events |= kEventHup;
    if ((ended_ & kNoReads) != 0) events |= kEventRdHup | kEventIn;
    if (!queue_.empty() || !embryos_.empty()) events |= kEventIn;
    if (urgent_ != nullptr) events |= kEventPri;
    if (streaming() && (state_ == State::kIdle || state_ == State::kConnecting)) {
      events |= kEventHup;
    }
    if (type() != kStream) packets_to = peer_;
  }
  const bool full = packets_to != nullptr && packets_to->CheckFull(Self());
  if (!listens && !full && Writable()) events |= kEventOut;
  return events;
}

Result<std::string> UnixSocket::GetOption(int name) {
  if (name != SO_PEERCRED) return Errno::kNOPROTOOPT;
  absl::MutexLock lock(&mutex_);
  return BytesOf(peer_ids_.value_or(SenderIds{0, ~0u, ~0u}));
}

bool UnixSocket::listening() {
  absl::MutexLock lock(&mutex_);
  return state_ == State::kListening;
}

Result<int32_t> UnixSocket::BytesToRead() {
  absl::MutexLock lock(&mutex_);
  if (state_ == State::kListening) return Errno::kINVAL;
  size_t bytes = queued_bytes_;
  if (!streaming()) bytes = queue_.empty() ? 0 : queue_.front().left();
  return static_cast<int32_t>(std::min<size_t>(bytes, std::numeric_limits<int32_t>::max()));
}

Result<int32_t> UnixSocket::BytesToSend() {
  return static_cast<int32_t>(
      std::min<uint64_t>(sent_.load(), std::numeric_limits<int32_t>::max()));
}

bool UnixSocket::AtMark() {
  absl::MutexLock lock(&mutex_);
  if (type() != kStream || queue_.empty()) return false;
  if (&queue_.front() == urgent_) return true;
  if (queue_.front().left() != 0) return false;
  return urgent_ == nullptr || (queue_.size() > 1 && &queue_[1] == urgent_);
}

std::string UnixSocket::Describe() {
  absl::MutexLock lock(&mutex_);
  const bool listens = state_ == State::kListening, connected = state_ == State::kConnected;
  const bool open = ino.load() != 0;
  const int shown = open ? (connected ? SS_CONNECTED : SS_UNCONNECTED)
                         : (connected ? SS_CONNECTING : SS_DISCONNECTING);
  std::string text = absl::StrFormat("%016x: %08X %08X %08X %04X %02X %5d", 0, 2, 0,
                                     listens ? __SO_ACCEPTCON : 0, type(), shown, ino.load());
  if (name_ != nullptr) {
    std::string path = name_->encoded.substr(2);
    if (name_->place != nullptr) path.pop_back();
    std::replace(path.begin(), path.end(), '\0', '@');
    text += ' ' + path;
  }
  return text + '\n';
}

void UnixSocket::VisitFiles(absl::FunctionRef<void(const FileRef&)> visit) {
  absl::MutexLock lock(&mutex_);
  for (const Message& message : queue_) {
    for (const FileRef& file : message.files.files()) visit(file);
  }
  for (const UnixSocketRef& embryo : embryos_) embryo->VisitFiles(visit);
}

void UnixSocket::TakeFiles(std::vector<FlyingFiles>* taken) {
  absl::MutexLock lock(&mutex_);
  for (Message& message : queue_) {
    if (!message.files.empty()) taken->push_back(std::exchange(message.files, FlyingFiles()));
  }
  for (const UnixSocketRef& embryo : embryos_) embryo->TakeFiles(taken);
}

}  // namespace ringfence::sentry
