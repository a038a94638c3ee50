#include "sentry/syscalls/socket_call.h"

#include <sys/socket.h>

#include <algorithm>

namespace ringfence::sentry {

Result<SocketArg> LoadSocket(SyscallContext& ctx, int arg) {
  FileRef file = TRY(ctx.FileArg(arg));
  SocketFile* const socket = file->AsSocket();
  if (socket == nullptr) return Errno::kNOTSOCK;
  return SocketArg{std::move(file), &socket->socket()};
}

Result<SocketAddress> LoadAddress(SyscallContext& ctx, VirtAddr addr, uint32_t length) {
  if (length > kMaxAddress) return Errno::kINVAL;
  SocketAddress address(length, '\0');
  if (length != 0) TRY(ctx.mm().CopyIn(address.data(), addr, length));
  return address;
}

Result<void> StoreAddress(SyscallContext& ctx, VirtAddr addr, VirtAddr length_addr,
                          const SocketAddress& address) {
  const int32_t room = TRY(GuestIn<int32_t>(length_addr.value()).Load(ctx.mm()));
  if (room < 0) return Errno::kINVAL;
  const size_t length = std::min<size_t>(static_cast<size_t>(room), address.size());
  if (length != 0) TRY(ctx.mm().CopyOut(addr, address.data(), length));
  return GuestOut<int32_t>(length_addr.value())
      .Store(ctx.mm(), static_cast<int32_t>(address.size()));
}

PathBase BaseOf(SyscallContext& ctx) {
  PathBase base;
  base.fs = &ctx.fs();
  return base;
}

Result<int64_t> SendAll(SyscallContext& ctx, Socket& socket, SendRequest& request,
                        const SendMode& mode) {
  // A service thread must not begin what may have to wait in the middle.
  if (!mode.no_wait && request.io->remaining() > socket.SendUnit()) TRY(ctx.RequireBlocking());
  const auto attempt = [&] { return socket.Send(ctx.call(), request); };
  int64_t done = 0;
  while (true) {
    const Result<size_t> sent = WaitForSocket(ctx, socket, kEventOut, mode.no_wait,
                                              socket.options().send_timeout_ns(), attempt);
    if (!sent.ok()) {
      const bool signal = sent.error() == Errno::kPIPE && mode.pipe_signal && socket.RaisesPipe();
      if (done != 0) return done;
      return signal ? RaisePipe(ctx) : sent.error();
    }
    done += static_cast<int64_t>(*sent);
    if (*sent == 0 || request.io->remaining() == 0) return done;
  }
}

Result<int64_t> ReceiveEnough(SyscallContext& ctx, Socket& socket, const ReceiveRequest& request,
                              bool wait_all, Received* received) {
  const uint64_t room = request.io->remaining();
  uint64_t target = 0;
  if (socket.type() == SOCK_STREAM && !request.peek && !request.urgent) {
    target = wait_all ? room : std::min<uint64_t>(socket.options().receive_low_water(), room);
  }
  // A service thread must not begin what may have to wait in the middle.
  if (target > 1 && !request.no_wait) TRY(ctx.RequireBlocking());
  const auto attempt = [&] { return socket.Receive(ctx.call(), request, received); };
  int64_t done = 0;
  while (true) {
    const Result<size_t> got = WaitForSocket(ctx, socket, kEventIn | kEventRdHup, request.no_wait,
                                             socket.options().receive_timeout_ns(), attempt);
    if (!got.ok()) return done != 0 ? Result<int64_t>(done) : got.error();
    done += static_cast<int64_t>(*got);
    const bool enough = static_cast<uint64_t>(done) >= target;
    if (*got == 0 || enough || !received->files.empty()) return done;
  }
}

Result<int64_t> ReadSocket(SyscallContext& ctx, SocketFile& file, UserIo& io,
                           const IoOptions& options) {
  if (options.offset != nullptr) return Errno::kSPIPE;
  if (io.remaining() == 0) return int64_t{0};
  const bool no_wait = file.nonblocking() || options.no_wait;
  Received received;  // what is not bytes is dropped
  return ReceiveEnough(ctx, file.socket(), {.io = &io, .no_wait = no_wait}, false, &received);
}

Result<int64_t> WriteSocket(SyscallContext& ctx, SocketFile& file, UserIo& io,
                            const IoOptions& options) {
  if (options.offset != nullptr) return Errno::kSPIPE;
  SendRequest request;
  request.io = &io;
  const PathBase base = BaseOf(ctx);
  request.base = &base;
  return SendAll(ctx, file.socket(), request,
                 {.no_wait = file.nonblocking() || options.no_wait, .pipe_signal = true});
}

}  // namespace ringfence::sentry
