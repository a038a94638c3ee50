// Descriptor donation: file descriptors travel from the gofer to the sentry over a socket of their
// own (SOCK_SEQPACKET, SCM_RIGHTS, unix(7)), because gRPC carries bytes only.
//
// A message is the 8 bytes of a donation id, chosen by the receiver and told to the sender in the
// RPC, and exactly one descriptor. The sender sends it before it answers the RPC, so whoever has
// the answer finds the message in the socket: the receiver never waits and needs no thread. Calls
// run concurrently, so messages come in any order; Take keeps those of other calls for them.
//
// The two sides do not trust each other: whatever was not asked for (a stray or duplicate id, more
// than one descriptor, a message of another size) is closed at once.
#ifndef RINGFENCE_GOFER_WIRE_FD_CHANNEL_H_
#define RINGFENCE_GOFER_WIRE_FD_CHANNEL_H_

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

// A connected pair for one channel: {receiver's end, sender's end}, both close-on-exec.
Result<std::pair<UniqueFd, UniqueFd>> MakeFdChannel();

// The gofer's end. Threads: any.
class FdSender {
 public:
  explicit FdSender(UniqueFd socket) : socket_(std::move(socket)) {}

  // Sends a duplicate of `fd`, which stays the caller's. Waits up to a second for a receiver that
  // does not read. EPIPE: the receiver is gone. EMFILE: too many descriptors in flight.
  Result<void> Send(uint64_t id, int fd);

  int socket() const { return socket_.get(); }

 private:
  UniqueFd socket_;
};

// The sentry's end. Threads: any.
class FdReceiver {
 public:
  explicit FdReceiver(UniqueFd socket) : socket_(std::move(socket)) {}

  // A new id to send along with a call; ends with Take or Abandon.
  uint64_t Begin();

  // The descriptor for `id`, after the call was answered with success. EMFILE: it did not fit into
  // this process's table (MSG_CTRUNC). EIO: the sender did not send it. It is close-on-exec.
  Result<UniqueFd> Take(uint64_t id);

  // The call failed: a descriptor that comes for `id` is closed.
  void Abandon(uint64_t id);

 private:
  // One message into pending_; false when there is none or the sender is gone.
  bool ReceiveOneLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Pending {
    bool arrived = false;
    Errno error{};
    UniqueFd fd;
  };

  const UniqueFd socket_;
  absl::Mutex mutex_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::unordered_map<uint64_t, Pending> pending_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_WIRE_FD_CHANNEL_H_
