// getpid(2) and other identities, process groups and sessions, personality(2).
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {

Result<int64_t> SysGetpid(SyscallContext& ctx) { return int64_t{ctx.task().tgid()}; }
Result<int64_t> SysGettid(SyscallContext& ctx) { return int64_t{ctx.task().tid()}; }
Result<int64_t> SysGetppid(SyscallContext& ctx) { return int64_t{ctx.group().ppid()}; }
Result<int64_t> SysGetpgrp(SyscallContext& ctx) { return int64_t{ctx.group().pgid()}; }
Result<int64_t> SysGetpgid(SyscallContext& ctx) {
  return int64_t{TRY(GetPgid(ctx.task(), ctx.Int(0)))};
}
Result<int64_t> SysGetsid(SyscallContext& ctx) {
  return int64_t{TRY(GetSid(ctx.task(), ctx.Int(0)))};
}
Result<int64_t> SysSetpgid(SyscallContext& ctx) {
  return Done(SetPgid(ctx.task(), ctx.Int(0), ctx.Int(1)));
}
Result<int64_t> SysSetsid(SyscallContext& ctx) { return int64_t{TRY(ctx.group().SetSid())}; }

Result<int64_t> SysPersonality(SyscallContext& ctx) {
  constexpr uint32_t kQuery = 0xffffffff, kLinux = 0, kAddrNoRandomize = 0x0040000;
  const uint32_t wanted = ctx.Uint(0);
  Task::Settings settings = ctx.task().settings();
  const uint32_t before = settings.personality;
  if (wanted == kQuery) return int64_t{before};
  if ((wanted & ~kAddrNoRandomize) != kLinux) return Errno::kINVAL;
  settings.personality = wanted;
  ctx.task().SetSettings(std::move(settings));
  return int64_t{before};
}

}  // namespace ringfence::sentry
