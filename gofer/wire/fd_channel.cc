#include "gofer/wire/fd_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>
#include <vector>

namespace ringfence::gofer {
namespace {

constexpr int kSendTimeoutMs = 1000;
// Room for more descriptors than a message may carry, so that a sender that sends more is seen.
constexpr size_t kMaxReceivedFds = 4;

Result<void> WaitWritable(int socket) {
  pollfd waiting = {.fd = socket, .events = POLLOUT, .revents = 0};
  const int ready = poll(&waiting, 1, kSendTimeoutMs);
  if (ready < 0 && errno != EINTR) return LastHostErrno();
  if (ready == 0) return Errno::kIO;
  return Ok();
}

std::vector<UniqueFd> CollectFds(msghdr* message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> MakeFdChannel() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return LastHostErrno();
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

Result<void> FdSender::Send(uint64_t id, int fd) {
  iovec body = {.iov_base = &id, .iov_len = sizeof(id)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &body;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  while (sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EAGAIN) {
      TRY(WaitWritable(socket_.get()));
    } else if (errno == ETOOMANYREFS) {
      return Errno::kMFILE;
    } else if (errno != EINTR) {
      return LastHostErrno();
    }
  }
  return Ok();
}

uint64_t FdReceiver::Begin() {
  absl::MutexLock lock(&mutex_);
  const uint64_t id = next_id_++;
  pending_[id];
  return id;
}

bool FdReceiver::ReceiveOneLocked() {
  // One byte more than a message, so that a longer one is not taken for a valid one.
  char bytes[sizeof(uint64_t) + 1];
  iovec body = {.iov_base = bytes, .iov_len = sizeof(bytes)};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxReceivedFds * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &body;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size;
  do {
    size = recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return false;

  std::vector<UniqueFd> fds = CollectFds(&message);
  uint64_t id;
  if (size != sizeof(id)) return true;
  std::memcpy(&id, bytes, sizeof(id));
  const auto found = pending_.find(id);
  if (found == pending_.end() || found->second.arrived) return true;
  Pending& pending = found->second;
  pending.arrived = true;
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    pending.error = fds.size() < kMaxReceivedFds ? Errno::kMFILE : Errno::kIO;
  } else if (fds.size() != 1) {
    pending.error = Errno::kIO;
  } else {
    pending.fd = std::move(fds[0]);
  }
  return true;
}

Result<UniqueFd> FdReceiver::Take(uint64_t id) {
  absl::MutexLock lock(&mutex_);
  const auto found = pending_.find(id);
  if (found == pending_.end()) return Errno::kIO;
  while (!found->second.arrived && ReceiveOneLocked()) {
  }
  Pending pending = std::move(found->second);
  pending_.erase(found);
  if (!pending.arrived) return Errno::kIO;
  if (pending.error != Errno{}) return pending.error;
  return std::move(pending.fd);
}

void FdReceiver::Abandon(uint64_t id) {
  absl::MutexLock lock(&mutex_);
  pending_.erase(id);
}

}  // namespace ringfence::gofer
