// uname(2), sethostname(2), sysinfo(2), syslog(2), getrandom(2).
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstring>

#include "sentry/base/uts.h"
#include "sentry/syscalls/file_io.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21;
constexpr size_t kMaxUtsName = 64;

template <size_t N>
void Copy(char (&field)[N], std::string_view text) {
  const size_t n = std::min(text.size(), N - 1);
  std::memcpy(field, text.data(), n);
}

Result<std::string> LoadUtsName(SyscallContext& ctx) {
  if (!ctx.call().creds->HasCapability(kCapSysAdmin)) return Errno::kPERM;
  if (ctx.Int(1) < 0 || ctx.Uint(1) > kMaxUtsName) return Errno::kINVAL;
  std::string name(ctx.Uint(1), '\0');
  TRY(ctx.mm().CopyIn(name.data(), ctx.Addr(0), name.size()));
  name.resize(strnlen(name.data(), name.size()));
  return name;
}

}  // namespace

Result<int64_t> SysUname(SyscallContext& ctx) {
  struct utsname names = {};
  struct utsname host = {};
  // The guest's machine is the host's.
  if (uname(&host) != 0) return LastHostErrno();
  Copy(names.sysname, kUtsSysname);
  Copy(names.nodename, ctx.kernel().hostname());
  Copy(names.release, kUtsRelease);
  Copy(names.version, kUtsVersion);
  Copy(names.machine, host.machine);
  Copy(names.domainname, ctx.kernel().domainname());
  return Done(ctx.Out<struct utsname>(0).Store(ctx.mm(), names));
}

Result<int64_t> SysSethostname(SyscallContext& ctx) {
  ctx.kernel().SetHostname(TRY(LoadUtsName(ctx)));
  return int64_t{0};
}

Result<int64_t> SysSetdomainname(SyscallContext& ctx) {
  ctx.kernel().SetDomainname(TRY(LoadUtsName(ctx)));
  return int64_t{0};
}

Result<int64_t> SysSysinfo(SyscallContext& ctx) {
  const uint64_t used = ctx.kernel().platform().memory().GetStats().anonymous_bytes;
  const uint64_t total = ctx.services().memory_bytes;
  struct sysinfo info = {};
  info.uptime = (MonotonicNow() - ctx.kernel().boot_time_ns()) / kNanosPerSecond;
  const std::array<double, 3> loads = ctx.kernel().LoadAverages();
  for (size_t i = 0; i < loads.size(); ++i) {
    info.loads[i] = static_cast<unsigned long>(loads[i] * (1 << SI_LOAD_SHIFT));
  }
  info.totalram = total;
  info.freeram = total > used ? total - used : 0;
  info.procs = static_cast<unsigned short>(std::min<size_t>(ctx.kernel().NumTasks(), 65535));
  info.mem_unit = 1;
  return Done(ctx.Out<struct sysinfo>(0).Store(ctx.mm(), info));
}

// An empty kernel log, which only the privileged may read or change.
Result<int64_t> SysSyslog(SyscallContext& ctx) {
  enum { kRead = 2, kReadAll = 3, kReadClear = 4, kConsoleLevel = 8, kSizeBuffer = 10 };
  constexpr int kCapSyslog = 34, kMaxLevel = 8;
  const int32_t type = ctx.Int(0), length = ctx.Int(2);
  const bool open_to_all = type == kReadAll || type == kSizeBuffer;
  if (!open_to_all && !ctx.call().creds->HasCapability(kCapSyslog)) return Errno::kPERM;
  if (type < 0 || type > kSizeBuffer) return Errno::kINVAL;
  const bool reads = type == kRead || type == kReadAll || type == kReadClear;
  if (reads && (ctx.Arg(1) == 0 || length < 0)) return Errno::kINVAL;
  if (type == kConsoleLevel && (length < 1 || length > kMaxLevel)) return Errno::kINVAL;
  return int64_t{type == kSizeBuffer ? 1 << 17 : 0};
}

Result<int64_t> SysGetrandom(SyscallContext& ctx) {
  constexpr uint32_t kInsecure = 4;
  const uint32_t flags = ctx.Uint(2);
  if ((flags & ~(GRND_NONBLOCK | GRND_RANDOM | kInsecure)) != 0) return Errno::kINVAL;
  if ((flags & GRND_RANDOM) != 0 && (flags & kInsecure) != 0) return Errno::kINVAL;
  const uint64_t length = std::min(ctx.Arg(1), kMaxRwCount);
  if (length > kPageSize) TRY(ctx.RequireBlocking());
  UserIo io(&ctx.mm(), ctx.Addr(0), length);
  while (io.remaining() != 0) {
    char bytes[4096];
    const size_t n = std::min<uint64_t>(io.remaining(), sizeof(bytes));
    const ssize_t got = getrandom(bytes, n, 0);
    if (got <= 0) return LastHostErrno();
    const Result<size_t> moved = io.Write(bytes, static_cast<size_t>(got));
    if (!moved.ok() || *moved < static_cast<size_t>(got)) break;
    if (io.done() % (1 << 20) == 0 && ctx.task().HasPendingWork()) break;
  }
  if (io.done() == 0 && length != 0) return Errno::kFAULT;
  return static_cast<int64_t>(io.done());
}

}  // namespace ringfence::sentry
