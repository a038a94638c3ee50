// send(2), recv(2), sendmsg(2), recvmsg(2), sendmmsg(2), recvmmsg(2).
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/socket_call.h"
#include "sentry/syscalls/socket_message.h"
#include "sentry/syscalls/time_abi.h"

namespace ringfence::sentry {
namespace {

bool NoWait(const SocketArg& arg, uint32_t flags) {
  return arg.file->nonblocking() || (flags & MSG_DONTWAIT) != 0;
}

Result<int64_t> SendOn(SyscallContext& ctx, const SocketArg& arg, SendRequest& request,
                       uint32_t flags) {
  request.urgent = (flags & MSG_OOB) != 0;
  const PathBase base = BaseOf(ctx);
  request.base = &base;
  return SendAll(ctx, *arg.socket, request,
                 {.no_wait = NoWait(arg, flags), .pipe_signal = (flags & MSG_NOSIGNAL) == 0});
}

Result<int64_t> SendMessage(SyscallContext& ctx, const SocketArg& arg,
                            const GuestMessageHeader& header, uint32_t flags) {
  SendRequest request;
  SocketAddress to;
  if (header.name != 0 && header.name_length != 0) {
    if (static_cast<int32_t>(header.name_length) < 0) return Errno::kINVAL;
    // Linux takes no more of a longer one.
    const uint32_t length = std::min<uint32_t>(header.name_length, kMaxAddress);
    to = TRY(LoadAddress(ctx, VirtAddr(header.name), length));
    request.to = &to;
  }
  UserIo io(&ctx.mm(), TRY(MessageSegments(ctx, header)));
  request.io = &io;
  TRY(LoadControl(ctx, header, &request));
  return SendOn(ctx, arg, request, flags);
}

Result<int64_t> ReceiveOn(SyscallContext& ctx, const SocketArg& arg, UserIo& io, uint32_t flags,
                          Received* received) {
  if ((flags & MSG_ERRQUEUE) != 0) return Errno::kAGAIN;
  const ReceiveRequest request{.io = &io,
                               .peek = (flags & MSG_PEEK) != 0,
                               .truncate = (flags & MSG_TRUNC) != 0,
                               .no_wait = NoWait(arg, flags),
                               .urgent = (flags & MSG_OOB) != 0};
  return ReceiveEnough(ctx, *arg.socket, request, (flags & MSG_WAITALL) != 0, received);
}

Result<int64_t> ReceiveMessage(SyscallContext& ctx, const SocketArg& arg,
                               GuestMessageHeader* header, uint32_t flags) {
  UserIo io(&ctx.mm(), TRY(MessageSegments(ctx, *header)));
  if (static_cast<int32_t>(header->name_length) < 0) return Errno::kINVAL;
  Received received;
  const int64_t done = TRY(ReceiveOn(ctx, arg, io, flags, &received));
  const bool cloexec = (flags & MSG_CMSG_CLOEXEC) != 0;
  header->flags = flags & MSG_CMSG_CLOEXEC;
  if (received.truncated) header->flags |= MSG_TRUNC;
  if (received.urgent) header->flags |= MSG_OOB;
  TRY(StoreControl(ctx, received, cloexec, header));
  if (header->name != 0) {
    const SocketAddress from = received.from.value_or(SocketAddress());
    const size_t length = std::min<size_t>(header->name_length, from.size());
    if (length != 0) TRY(ctx.mm().CopyOut(VirtAddr(header->name), from.data(), length));
    header->name_length = static_cast<uint32_t>(from.size());
  }
  return done;
}

// What recvmsg(2) writes back of the header: the length of the name, that of the control messages,
// and the flags.
Result<void> StoreHeader(SyscallContext& ctx, uint64_t at, const GuestMessageHeader& header) {
  using Header = GuestMessageHeader;
  if (header.name != 0) {
    TRY(GuestOut<uint32_t>(at + offsetof(Header, name_length)).Store(ctx.mm(), header.name_length));
  }
  TRY(GuestOut<uint32_t>(at + offsetof(Header, flags)).Store(ctx.mm(), header.flags));
  return GuestOut<uint64_t>(at + offsetof(Header, control_length))
      .Store(ctx.mm(), header.control_length);
}

Result<int64_t> ReceiveInto(SyscallContext& ctx, const SocketArg& arg, uint64_t at,
                            uint32_t flags) {
  GuestMessageHeader header = TRY(GuestIn<GuestMessageHeader>(at).Load(ctx.mm()));
  const int64_t done = TRY(ReceiveMessage(ctx, arg, &header, flags));
  TRY(StoreHeader(ctx, at, header));
  return done;
}

}  // namespace

Result<int64_t> SysSendto(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  TRY(CheckUserRange(ctx.Addr(1), ctx.Arg(2)));
  UserIo io(&ctx.mm(), ctx.Addr(1), std::min(ctx.Arg(2), kMaxRwCount));
  SendRequest request;
  request.io = &io;
  SocketAddress to;
  if (ctx.Arg(4) != 0) {
    to = TRY(LoadAddress(ctx, ctx.Addr(4), ctx.Uint(5)));
    if (!to.empty()) request.to = &to;
  }
  return SendOn(ctx, arg, request, ctx.Uint(3));
}

Result<int64_t> SysRecvfrom(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  TRY(CheckUserRange(ctx.Addr(1), ctx.Arg(2)));
  UserIo io(&ctx.mm(), ctx.Addr(1), std::min(ctx.Arg(2), kMaxRwCount));
  Received received;
  const int64_t done = TRY(ReceiveOn(ctx, arg, io, ctx.Uint(3), &received));
  if (ctx.Arg(4) != 0) {
    TRY(StoreAddress(ctx, ctx.Addr(4), ctx.Addr(5), received.from.value_or(SocketAddress())));
  }
  return done;
}

Result<int64_t> SysSendmsg(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  const GuestMessageHeader header = TRY(ctx.In<GuestMessageHeader>(1).Load(ctx.mm()));
  return SendMessage(ctx, arg, header, ctx.Uint(2));
}

Result<int64_t> SysRecvmsg(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  return ReceiveInto(ctx, arg, ctx.Arg(1), ctx.Uint(2));
}

// Messages that have gone stay gone: an error counts only when it is the first's.
Result<int64_t> SysSendmmsg(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  TRY(ctx.RequireBlocking());
  const uint32_t count = std::min<uint32_t>(ctx.Uint(2), UIO_MAXIOV);
  uint32_t done = 0;
  Result<int64_t> failed = int64_t{0};
  while (done < count) {
    const uint64_t at = ctx.Arg(1) + done * sizeof(GuestMultiMessage);
    const Result<GuestMessageHeader> header = GuestIn<GuestMessageHeader>(at).Load(ctx.mm());
    failed =
        header.ok() ? SendMessage(ctx, arg, *header, ctx.Uint(3)) : Result<int64_t>(header.error());
    if (!failed.ok()) break;
    const Result<void> stored = GuestOut<uint32_t>(at + offsetof(GuestMultiMessage, length))
                                    .Store(ctx.mm(), static_cast<uint32_t>(*failed));
    if (!stored.ok()) {
      failed = stored.error();
      break;
    }
    ++done;
    if (ctx.task().HasPendingWork()) break;
  }
  return done != 0 || failed.ok() ? Result<int64_t>(int64_t{done}) : failed;
}

// The timeout is looked at after each message only, as on Linux (recvmmsg(2), BUGS).
Result<int64_t> SysRecvmmsg(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  TRY(ctx.RequireBlocking());
  Deadline deadline = Deadline::Never();
  if (ctx.Arg(4) != 0) {
    deadline = Deadline::After(TRY(ToNanos(TRY(ctx.In<Timespec>(4).Load(ctx.mm())))));
  }
  uint32_t flags = ctx.Uint(3);
  const uint32_t count = std::min<uint32_t>(ctx.Uint(2), UIO_MAXIOV);
  uint32_t done = 0;
  Result<int64_t> failed = int64_t{0};
  while (done < count) {
    const uint64_t at = ctx.Arg(1) + done * sizeof(GuestMultiMessage);
    failed = ReceiveInto(ctx, arg, at, flags & ~static_cast<uint32_t>(MSG_WAITFORONE));
    if (!failed.ok()) break;
    const Result<void> stored = GuestOut<uint32_t>(at + offsetof(GuestMultiMessage, length))
                                    .Store(ctx.mm(), static_cast<uint32_t>(*failed));
    if (!stored.ok()) {
      failed = stored.error();
      break;
    }
    ++done;
    if ((flags & MSG_WAITFORONE) != 0) flags |= MSG_DONTWAIT;
    if (deadline.Passed() || ctx.task().HasPendingWork()) break;
  }
  if (done == 0 && !failed.ok()) return failed;
  if (ctx.Arg(4) != 0) {
    TRY(ctx.Out<Timespec>(4).Store(ctx.mm(), FromNanos(deadline.Remaining())));
  }
  return int64_t{done};
}

}  // namespace ringfence::sentry
