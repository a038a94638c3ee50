// What the socket calls share: sockets and addresses as arguments, waiting with the timeouts of a
// socket (socket(7)).
#ifndef RINGFENCE_SENTRY_SYSCALLS_SOCKET_CALL_H_
#define RINGFENCE_SENTRY_SYSCALLS_SOCKET_CALL_H_

#include <memory>
#include <utility>

#include "sentry/net/socket_file.h"
#include "sentry/syscalls/file_io.h"
#include "sentry/syscalls/syscall_context.h"

namespace ringfence::sentry {

// Keeps the file alive that the socket belongs to.
struct SocketArg {
  FileRef file;
  Socket* socket = nullptr;
};
// The socket of descriptor argument `arg`: EBADF, ENOTSOCK.
Result<SocketArg> LoadSocket(SyscallContext& ctx, int arg);

// An address of `length` bytes: EINVAL, EFAULT.
Result<SocketAddress> LoadAddress(SyscallContext& ctx, VirtAddr addr, uint32_t length);
// Stores as much as the caller has room for, and how long the address is: EINVAL, EFAULT.
Result<void> StoreAddress(SyscallContext& ctx, VirtAddr addr, VirtAddr length_addr,
                          const SocketAddress& address);

// Where relative paths in addresses start.
PathBase BaseOf(SyscallContext& ctx);

// Tries until it does not answer EAGAIN; `timeout_ns` 0: for ever. EAGAIN when the time is over or
// when the call does not wait; EINTR instead of a restart when there is a timeout.
template <typename F>
auto WaitForSocket(SyscallContext& ctx, Socket& socket, EventMask events, bool no_wait,
                   int64_t timeout_ns, F&& attempt) -> decltype(attempt()) {
  if (no_wait) return attempt();
  const Deadline deadline = timeout_ns == 0 ? Deadline::Never() : Deadline::After(timeout_ns);
  auto result = BlockUntil(ctx.task(), ctx.call(), &socket.wait_queue(), events, deadline,
                           std::forward<F>(attempt));
  if (result.ok() || timeout_ns == 0) return result;
  if (result.error() == Errno::kTIMEDOUT) return Errno::kAGAIN;
  if (result.error() == Errno::kRESTARTSYS) return Errno::kINTR;
  return result;
}

// Sends all of request.io unless the socket does not wait; raises SIGPIPE where `pipe_signal`.
struct SendMode {
  bool no_wait = false;
  bool pipe_signal = true;
};
Result<int64_t> SendAll(SyscallContext& ctx, Socket& socket, SendRequest& request,
                        const SendMode& mode);

// Receives until there is as much as the caller wants: at least one byte, from a stream all with
// `wait_all` (MSG_WAITALL), else SO_RCVLOWAT. request.no_wait: does not wait.
Result<int64_t> ReceiveEnough(SyscallContext& ctx, Socket& socket, const ReceiveRequest& request,
                              bool wait_all, Received* received);

// read(2) and write(2) of a socket.
Result<int64_t> ReadSocket(SyscallContext& ctx, SocketFile& file, UserIo& io,
                           const IoOptions& options);
Result<int64_t> WriteSocket(SyscallContext& ctx, SocketFile& file, UserIo& io,
                            const IoOptions& options);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_SOCKET_CALL_H_
