// getsockopt(2), setsockopt(2).
#include <sys/socket.h>

#include <algorithm>
#include <limits>

#include "sentry/base/bytes.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/socket_call.h"

namespace ringfence::sentry {
namespace {

std::string Number(int32_t value) { return BytesOf(value); }

// What is known of any socket; ENOPROTOOPT for everything else.
Result<std::string> Describe(Socket& socket, int name) {
  switch (name) {
    case SO_TYPE:
      return Number(socket.type());
    case SO_DOMAIN:
      return Number(socket.domain());
    case SO_PROTOCOL:
      return Number(socket.protocol());
    case SO_ERROR:
      return Number(socket.TakeError());
    case SO_ACCEPTCONN:
      return Number(socket.listening() ? 1 : 0);
    default:
      return Errno::kNOPROTOOPT;
  }
}

Result<std::string> GetOption(Socket& socket, int name) {
  Result<std::string> value = Describe(socket, name);
  if (!value.ok()) value = socket.options().Get(name);
  if (!value.ok()) value = socket.GetOption(name);
  return value;
}

}  // namespace

Result<int64_t> SysGetsockopt(SyscallContext& ctx) {
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  if (ctx.Int(1) != SOL_SOCKET) return Errno::kOPNOTSUPP;
  const int32_t room = TRY(ctx.In<int32_t>(4).Load(ctx.mm()));
  if (room < 0) return Errno::kINVAL;
  const std::string value = TRY(GetOption(*arg.socket, ctx.Int(2)));
  const size_t length = std::min<size_t>(static_cast<size_t>(room), value.size());
  if (length != 0) TRY(ctx.mm().CopyOut(ctx.Addr(3), value.data(), length));
  return Done(ctx.Out<int32_t>(4).Store(ctx.mm(), static_cast<int32_t>(length)));
}

Result<int64_t> SysSetsockopt(SyscallContext& ctx) {
  constexpr size_t kLongest = 64;  // no option we know is longer
  const int32_t length = ctx.Int(4);
  if (length < 0) return Errno::kINVAL;
  const SocketArg arg = TRY(LoadSocket(ctx, 0));
  if (ctx.Int(1) != SOL_SOCKET) return Errno::kOPNOTSUPP;
  std::string value(std::min<size_t>(static_cast<size_t>(length), kLongest), '\0');
  if (value.size() < sizeof(int32_t)) return Errno::kINVAL;
  TRY(ctx.mm().CopyIn(value.data(), ctx.Addr(3), value.size()));
  return Done(arg.socket->options().Set(ctx.call(), ctx.Int(2), value));
}

}  // namespace ringfence::sentry
