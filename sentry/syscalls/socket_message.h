// struct msghdr and control messages, between guest memory and the sockets (sendmsg(2), cmsg(3)).
#ifndef RINGFENCE_SENTRY_SYSCALLS_SOCKET_MESSAGE_H_
#define RINGFENCE_SENTRY_SYSCALLS_SOCKET_MESSAGE_H_

#include <cstdint>
#include <vector>

#include "sentry/net/socket.h"
#include "sentry/syscalls/syscall_context.h"

namespace ringfence::sentry {

// struct msghdr of the kernel ABI.
struct GuestMessageHeader {
  uint64_t name;
  uint32_t name_length;
  uint32_t pad;
  uint64_t vectors;
  uint64_t vector_count;
  uint64_t control;
  uint64_t control_length;
  uint32_t flags;
  uint32_t pad2;
};
static_assert(sizeof(GuestMessageHeader) == 56);

struct GuestMultiMessage {  // struct mmsghdr
  GuestMessageHeader header;
  uint32_t length;
  uint32_t pad;
};
static_assert(sizeof(GuestMultiMessage) == 64);

// The buffers of a message: EMSGSIZE for more than UIO_MAXIOV, EINVAL, EFAULT.
Result<std::vector<UserIo::Segment>> MessageSegments(SyscallContext& ctx,
                                                     const GuestMessageHeader& header);

// Reads control messages into `request`: EINVAL, ENOBUFS, EBADF, EPERM (credentials of others).
Result<void> LoadControl(SyscallContext& ctx, const GuestMessageHeader& header,
                         SendRequest* request);

// Writes what was received behind header.control and counts it in header.control_length; files get
// descriptors. What does not fit sets MSG_CTRUNC in header.flags and is dropped.
Result<void> StoreControl(SyscallContext& ctx, Received& received, bool cloexec,
                          GuestMessageHeader* header);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_SOCKET_MESSAGE_H_
