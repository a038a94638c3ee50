// socket(2), socketpair(2), bind(2), listen(2), accept(2), connect(2), shutdown(2), getsockname(2),
// getpeername(2).
#include <fcntl.h>
#include <sys/socket.h>

#include "sentry/net/unix/unix_socket.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/socket_call.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kTypeMask = 0xf;
constexpr int kMaxFamily = 46;  // AF_MAX
constexpr int kMaxType = 11;    // SOCK_MAX

struct Wanted {
  int type;
  uint32_t file_flags;  // O_NONBLOCK
  bool cloexec;
};

// What socket(2) checks before anything is made; only unix sockets are configured.
Result<Wanted> CheckSocket(SyscallContext& ctx) {
  const int family = ctx.Int(0);
  const uint32_t flags = ctx.Uint(1) & ~kTypeMask;
  Wanted wanted{ctx.Int(1) & static_cast<int>(kTypeMask), flags & SOCK_NONBLOCK,
                (flags & SOCK_CLOEXEC) != 0};
  if ((flags & ~static_cast<uint32_t>(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return Errno::kINVAL;
  if (family < 0 || family >= kMaxFamily) return Errno::kAFNOSUPPORT;
  if (wanted.type >= kMaxType) return Errno::kINVAL;
  if (family != AF_UNIX || ctx.services().unix_domain == nullptr) return Errno::kAFNOSUPPORT;
  if (ctx.Int(2) != 0 && ctx.Int(2) != AF_UNIX) return Errno::kPROTONOSUPPORT;
  switch (wanted.type) {
    case SOCK_STREAM:
    case SOCK_DGRAM:
    case SOCK_SEQPACKET:
      return wanted;
    case SOCK_RAW:  // as Linux, datagrams by another name
      wanted.type = SOCK_DGRAM;
      return wanted;
    default:
      return Errno::kSOCKTNOSUPPORT;
  }
}

Result<int64_t> AcceptOn(SyscallContext& ctx, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return Errno::kINVAL;
  const SocketArg listener = TRY(LoadSocket(ctx, 0));
  const bool no_wait = listener.file->nonblocking();
  const auto attempt = [&] { return listener.socket->Accept(ctx.call(), no_wait); };
  const SocketRef accepted =
      TRY(WaitForSocket(ctx, *listener.socket, kEventIn, no_wait,
                        listener.socket->options().receive_timeout_ns(), attempt));
  // From here on the file ends the socket when anything fails.
  const FileRef file = SocketFile::Make(ctx.call(), accepted, flags & SOCK_NONBLOCK);
  if (ctx.Arg(1) != 0) {
    // Linux tells ECONNABORTED when the other end has gone, but unix sockets remember its name.
    TRY(StoreAddress(ctx, ctx.Addr(1), ctx.Addr(2), TRY(accepted->PeerName())));
  }
  return ctx.InstallFd(file, (flags & SOCK_CLOEXEC) != 0);
}

}  // namespace

Result<int64_t> SysSocket(SyscallContext& ctx) {
  const Wanted wanted = TRY(CheckSocket(ctx));
  return ctx.InstallFd(
      SocketFile::Make(ctx.call(), UnixSocket::Make(ctx.services().unix_domain, wanted.type),
                       wanted.file_flags),
      wanted.cloexec);
}

Result<int64_t> SysSocketpair(SyscallContext& ctx) {
  const Wanted wanted = TRY(CheckSocket(ctx));
  const auto pair = UnixSocket::MakePair(ctx.call(), ctx.services().unix_domain, wanted.type);
  const FileRef first = SocketFile::Make(ctx.call(), pair.first, wanted.file_flags);
  const FileRef second = SocketFile::Make(ctx.call(), pair.second, wanted.file_flags);
  int32_t fds[2];
  fds[0] = static_cast<int32_t>(TRY(ctx.InstallFd(first, wanted.cloexec)));
  const Result<int64_t> other = ctx.InstallFd(second, wanted.cloexec);
  Result<void> stored = other.ok() ? Ok() : Result<void>(other.error());
  if (other.ok()) {
    fds[1] = static_cast<int32_t>(*other);
    stored = ctx.Out<int32_t>(3).StoreArray(ctx.mm(), fds, 2);
    if (!stored.ok()) (void)ctx.fds().Close(static_cast<Fd>(fds[1]));
  }
  if (!stored.ok()) (void)ctx.fds().Close(static_cast<Fd>(fds[0]));
  return Done(stored);
}

Result<int64_t> SysBind(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  const SocketAddress address = TRY(LoadAddress(ctx, ctx.Addr(1), ctx.Uint(2)));
  return Done(arg.socket->Bind(ctx.call(), BaseOf(ctx), address));
}

Result<int64_t> SysListen(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  return Done(arg.socket->Listen(ctx.call(), ctx.Int(1)));
}

Result<int64_t> SysConnect(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  const SocketAddress address = TRY(LoadAddress(ctx, ctx.Addr(1), ctx.Uint(2)));
  const PathBase base = BaseOf(ctx);
  const auto attempt = [&] { return arg.socket->Connect(ctx.call(), base, address); };
  return Done(WaitForSocket(ctx, *arg.socket, kEventOut, arg.file->nonblocking(),
                            arg.socket->options().send_timeout_ns(), attempt));
}

Result<int64_t> SysAccept(SyscallContext& ctx) { return AcceptOn(ctx, 0); }
Result<int64_t> SysAccept4(SyscallContext& ctx) { return AcceptOn(ctx, ctx.Uint(3)); }

Result<int64_t> SysShutdown(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  switch (ctx.Int(1)) {
    case SHUT_RD:
      return Done(arg.socket->ShutDown(Shutdown::kRead));
    case SHUT_WR:
      return Done(arg.socket->ShutDown(Shutdown::kWrite));
    case SHUT_RDWR:
      return Done(arg.socket->ShutDown(Shutdown::kBoth));
    default:
      return Errno::kINVAL;
  }
}

Result<int64_t> SysGetsockname(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  return Done(StoreAddress(ctx, ctx.Addr(1), ctx.Addr(2), TRY(arg.socket->Name())));
}

Result<int64_t> SysGetpeername(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  return Done(StoreAddress(ctx, ctx.Addr(1), ctx.Addr(2), TRY(arg.socket->PeerName())));
}

}  // namespace ringfence::sentry
