#include "sentry/net/socket_options.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "sentry/base/bytes.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapNetAdmin = 12;
constexpr int kNoCheck = 11, kTimeoNewReceive = 66, kTimeoNewSend = 67;
constexpr int64_t kSecond = 1'000'000'000;

template <typename T>
Result<T> Load(std::string_view value) {
  if (value.size() < sizeof(T)) return Errno::kINVAL;
  T loaded;
  std::memcpy(&loaded, value.data(), sizeof(T));
  return loaded;
}

// Options that are on or off, and no more.
constexpr uint64_t Bit(int name) { return uint64_t{1} << name; }
constexpr uint64_t kSwitches =
    Bit(SO_DEBUG) | Bit(SO_REUSEADDR) | Bit(SO_DONTROUTE) | Bit(SO_BROADCAST) | Bit(SO_KEEPALIVE) |
    Bit(SO_OOBINLINE) | Bit(kNoCheck) | Bit(SO_REUSEPORT) | Bit(SO_PASSCRED) | Bit(SO_TIMESTAMP) |
    Bit(SO_TIMESTAMPNS) | Bit(SO_PASSSEC) | Bit(SO_RXQ_OVFL);

bool IsSwitch(int name) { return name > 0 && name < 64 && (kSwitches & Bit(name)) != 0; }

// Doubled, because half is meant for bookkeeping (socket(7)).
uint32_t BufferSize(int32_t wanted, uint32_t minimum, bool force) {
  const uint32_t limit =
      force ? std::numeric_limits<int32_t>::max() / 2 : SocketOptions::kMaxBuffer;
  // A negative number is a large one.
  return std::max(std::min(static_cast<uint32_t>(wanted), limit) * 2, minimum);
}

// ns; 0 for none. A negative time is one that has passed at once: 1 ns stands for it.
Result<int64_t> LoadTimeout(std::string_view value) {
  const auto time = TRY(Load<timeval>(value));
  if (time.tv_usec < 0 || time.tv_usec >= 1'000'000) return Errno::kDOM;
  if (time.tv_sec < 0) return int64_t{1};
  if (time.tv_sec > std::numeric_limits<int64_t>::max() / kSecond - 1) return int64_t{0};
  return time.tv_sec * kSecond + time.tv_usec * 1000;
}

std::string StoreTimeout(int64_t ns) { return BytesOf(timeval{ns / kSecond, ns % kSecond / 1000}); }

}  // namespace

bool SocketOptions::pass_credentials() const {
  return (flags_.load(std::memory_order_relaxed) & Bit(SO_PASSCRED)) != 0;
}

bool SocketOptions::urgent_in_line() const {
  return (flags_.load(std::memory_order_relaxed) & Bit(SO_OOBINLINE)) != 0;
}

void SocketOptions::PeekedAt(uint64_t bytes) {
  const int32_t offset = peek_offset();
  if (offset < 0) return;
  const uint64_t moved = static_cast<uint64_t>(offset) + bytes;
  peek_offset_.store(
      static_cast<int32_t>(std::min<uint64_t>(moved, std::numeric_limits<int32_t>::max())));
}

void SocketOptions::TookAway(uint64_t bytes) {
  const int32_t offset = peek_offset();
  if (offset < 0) return;
  peek_offset_.store(
      offset - static_cast<int32_t>(std::min<uint64_t>(bytes, static_cast<uint64_t>(offset))));
}

void SocketOptions::InheritFrom(const SocketOptions& listener) {
  flags_.fetch_or(listener.flags_.load(std::memory_order_relaxed) & Bit(SO_PASSCRED));
}

Result<void> SocketOptions::SetLinger(std::string_view value) {
  const auto wanted = TRY(Load<linger>(value));
  absl::MutexLock lock(&mutex_);
  linger_on_ = wanted.l_onoff != 0 ? 1 : 0;
  if (linger_on_ != 0) linger_s_ = wanted.l_linger;
  return Ok();
}

Result<void> SocketOptions::Set(const CallContext& ctx, int name, std::string_view value) {
  const int32_t number = TRY(Load<int32_t>(value));
  const bool admin = ctx.creds->HasCapability(kCapNetAdmin);
  if (IsSwitch(name)) {
    if (name == SO_DEBUG && number != 0 && !admin) return Errno::kACCES;
    if (number != 0) {
      flags_.fetch_or(Bit(name));
    } else {
      flags_.fetch_and(~Bit(name));
    }
    return Ok();
  }
  switch (name) {
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
      if (!admin) return Errno::kPERM;
      [[fallthrough]];
    case SO_SNDBUF:
    case SO_RCVBUF: {
      const bool send = name == SO_SNDBUF || name == SO_SNDBUFFORCE;
      const bool force = name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE;
      (send ? send_buffer_ : receive_buffer_)
          .store(BufferSize(number, send ? kMinSendBuffer : kMinReceiveBuffer, force));
      return Ok();
    }
    case SO_RCVLOWAT:
      low_water_.store(number < 0    ? std::numeric_limits<int32_t>::max()
                       : number == 0 ? 1
                                     : static_cast<uint32_t>(number));
      return Ok();
    case SO_RCVTIMEO:
    case kTimeoNewReceive:
      receive_timeout_.store(TRY(LoadTimeout(value)));
      return Ok();
    case SO_SNDTIMEO:
    case kTimeoNewSend:
      send_timeout_.store(TRY(LoadTimeout(value)));
      return Ok();
    case SO_LINGER:
      return SetLinger(value);
    case SO_PEEK_OFF:
      peek_offset_.store(number);
      return Ok();
    case SO_PRIORITY:
      if ((number < 0 || number > 6) && !admin) return Errno::kPERM;
      priority_.store(number);
      return Ok();
    case SO_MARK:
      if (!admin) return Errno::kPERM;
      mark_.store(number);
      return Ok();
    default:
      return Errno::kNOPROTOOPT;
  }
}

Result<std::string> SocketOptions::Get(int name) const {
  if (IsSwitch(name)) {
    return BytesOf<int32_t>((flags_.load(std::memory_order_relaxed) & Bit(name)) != 0 ? 1 : 0);
  }
  switch (name) {
    case SO_SNDBUF:
      return BytesOf<uint32_t>(send_buffer());
    case SO_RCVBUF:
      return BytesOf<uint32_t>(receive_buffer_.load(std::memory_order_relaxed));
    case SO_RCVLOWAT:
      return BytesOf<uint32_t>(receive_low_water());
    case SO_SNDLOWAT:
      return BytesOf<int32_t>(1);
    case SO_RCVTIMEO:
    case kTimeoNewReceive:
      return StoreTimeout(receive_timeout_ns());
    case SO_SNDTIMEO:
    case kTimeoNewSend:
      return StoreTimeout(send_timeout_ns());
    case SO_LINGER: {
      absl::MutexLock lock(&mutex_);
      return BytesOf(linger{linger_on_, linger_s_});
    }
    case SO_PEEK_OFF:
      return BytesOf<int32_t>(peek_offset());
    case SO_PRIORITY:
      return BytesOf<int32_t>(priority_.load(std::memory_order_relaxed));
    case SO_MARK:
      return BytesOf<int32_t>(mark_.load(std::memory_order_relaxed));
    default:
      return Errno::kNOPROTOOPT;
  }
}

}  // namespace ringfence::sentry
