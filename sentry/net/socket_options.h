// SocketOptions: the options of level SOL_SOCKET that every family keeps alike (socket(7)).
//
// Many of them change nothing for sockets without a network; Linux accepts and tells them again,
// and so do we. Threads: any.
#ifndef RINGFENCE_SENTRY_NET_SOCKET_OPTIONS_H_
#define RINGFENCE_SENTRY_NET_SOCKET_OPTIONS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"
#include "sentry/base/call_context.h"

namespace ringfence::sentry {

class SocketOptions {
 public:
  // net.core.wmem_max and rmem_max; what setsockopt says is doubled, as on Linux.
  static constexpr uint32_t kMaxBuffer = 212992, kMinSendBuffer = 4608, kMinReceiveBuffer = 2304;

  // setsockopt(2). EINVAL (too short), EDOM, EPERM, EACCES, ENOPROTOOPT.
  Result<void> Set(const CallContext& ctx, int name, std::string_view value);
  // getsockopt(2): the whole value. ENOPROTOOPT for what is not kept here.
  Result<std::string> Get(int name) const;

  uint32_t send_buffer() const { return send_buffer_.load(std::memory_order_relaxed); }
  bool pass_credentials() const;
  bool urgent_in_line() const;  // SO_OOBINLINE
  // SO_PEEK_OFF: where MSG_PEEK begins; -1: at the front, always. Moved by what is peeked at, and
  // back by what is taken; the caller sees to it that one thread at a time does.
  int32_t peek_offset() const { return peek_offset_.load(std::memory_order_relaxed); }
  void PeekedAt(uint64_t bytes);
  void TookAway(uint64_t bytes);
  // SO_RCVTIMEO, SO_SNDTIMEO in ns; 0: none.
  int64_t receive_timeout_ns() const { return receive_timeout_.load(std::memory_order_relaxed); }
  int64_t send_timeout_ns() const { return send_timeout_.load(std::memory_order_relaxed); }
  uint32_t receive_low_water() const { return low_water_.load(std::memory_order_relaxed); }
  // What a socket takes over from the one that accepted it.
  void InheritFrom(const SocketOptions& listener);

 private:
  Result<void> SetLinger(std::string_view value);

  std::atomic<uint64_t> flags_{0};  // bit n: option n is on
  std::atomic<uint32_t> send_buffer_{kMaxBuffer}, receive_buffer_{kMaxBuffer}, low_water_{1};
  std::atomic<int32_t> priority_{0}, mark_{0}, peek_offset_{-1};
  std::atomic<int64_t> receive_timeout_{0}, send_timeout_{0};
  mutable absl::Mutex mutex_;
  int32_t linger_on_ ABSL_GUARDED_BY(mutex_) = 0, linger_s_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_NET_SOCKET_OPTIONS_H_
