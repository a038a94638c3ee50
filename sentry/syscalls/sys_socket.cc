// The socket calls while there is no network: every family is unconfigured, no descriptor is a
// socket (socket(2)).
#include <fcntl.h>
#include <sys/socket.h>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

Result<int64_t> CheckSocket(SyscallContext& ctx) {
  constexpr uint32_t kTypeMask = 0xf;
  const uint32_t flags = ctx.Uint(1) & ~kTypeMask;
  if ((flags & ~static_cast<uint32_t>(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return Errno::kINVAL;
  return Errno::kAFNOSUPPORT;
}

}  // namespace

Result<int64_t> SysSocket(SyscallContext& ctx) { return CheckSocket(ctx); }
Result<int64_t> SysSocketpair(SyscallContext& ctx) { return CheckSocket(ctx); }

Result<int64_t> SysSocketCall(SyscallContext& ctx) {
  TRY(ctx.FileArg(0));
  return Errno::kNOTSOCK;
}

}  // namespace ringfence::sentry
