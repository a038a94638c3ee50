// mount(2), umount2(2), memfd_create(2).
#include <sys/mount.h>
#include <sys/stat.h>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21;
constexpr size_t kMaxOptions = 4096;
constexpr uint64_t kMagicMask = 0xffff0000, kMagic = 0xc0ed0000;
constexpr uint64_t kUnsupported =
    MS_BIND | MS_MOVE | MS_REMOUNT | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

Result<std::string> LoadOptional(SyscallContext& ctx, int arg) {
  if (ctx.Arg(arg) == 0) return std::string();
  return GuestCString(ctx.Arg(arg)).Load(ctx.mm(), kMaxOptions);
}

Result<DentryRef> ResolveTarget(SyscallContext& ctx, int arg, bool follow) {
  const PathArg path = TRY(ctx.PathAt(arg));
  ResolveFlags flags;
  flags.follow_last = follow;
  return Vfs::Resolve(ctx.call(), path.base, path.path, flags);
}

}  // namespace

Result<int64_t> SysMount(SyscallContext& ctx) {
  const SyscallServices& services = ctx.services();
  uint64_t flags = ctx.Arg(3);
  if ((flags & kMagicMask) == kMagic) flags &= ~kMagicMask;
  const std::string type = TRY(LoadOptional(ctx, 2));
  const std::string source = TRY(LoadOptional(ctx, 0));
  const std::string data = TRY(LoadOptional(ctx, 4));
  const DentryRef target = TRY(ResolveTarget(ctx, 1, true));
  if (!ctx.call().creds->HasCapability(kCapSysAdmin)) return Errno::kPERM;
  if (services.mounts == nullptr || !services.make_file_system || (flags & kUnsupported) != 0) {
    return Errno::kPERM;
  }
  if (type.empty()) return Errno::kINVAL;
  if (target->inode()->type() != S_IFDIR) return Errno::kNOTDIR;
  const auto fs = TRY(services.make_file_system(ctx.call(), type, data));
  return Done(services.mounts->Mount(fs, target, source, flags));
}

Result<int64_t> SysUmount2(SyscallContext& ctx) {
  constexpr uint32_t kForce = 1, kDetach = 2, kExpire = 4, kNoFollow = 8;
  const uint32_t flags = ctx.Uint(1);
  if ((flags & ~(kForce | kDetach | kExpire | kNoFollow)) != 0) return Errno::kINVAL;
  if ((flags & kExpire) != 0 && (flags & (kForce | kDetach)) != 0) return Errno::kINVAL;
  const DentryRef target = TRY(ResolveTarget(ctx, 0, (flags & kNoFollow) == 0));
  if (!ctx.call().creds->HasCapability(kCapSysAdmin)) return Errno::kPERM;
  if (ctx.services().mounts == nullptr) return Errno::kPERM;
  return Done(ctx.services().mounts->Unmount(target, flags));
}

Result<int64_t> SysMemfdCreate(SyscallContext& ctx) {
  constexpr uint32_t kCloexec = 1, kAllowSealing = 2, kNoExecSeal = 8, kExec = 16;
  constexpr uint32_t kSealSeal = 1, kSealExec = 0x20;
  constexpr size_t kMaxName = 249;  // NAME_MAX less "memfd:"
  const uint32_t flags = ctx.Uint(1);
  if ((flags & ~(kCloexec | kAllowSealing | kNoExecSeal | kExec)) != 0) return Errno::kINVAL;
  if ((flags & kNoExecSeal) != 0 && (flags & kExec) != 0) return Errno::kINVAL;
  const Result<std::string> name = GuestCString(ctx.Arg(0)).Load(ctx.mm(), kMaxName + 1);
  if (!name.ok()) return name.error() == Errno::kNAMETOOLONG ? Errno::kINVAL : name.error();
  if (ctx.services().memfds == nullptr) return Errno::kNOSYS;
  const bool sealable = (flags & (kAllowSealing | kNoExecSeal)) != 0;
  const uint32_t seals = (sealable ? 0 : kSealSeal) | ((flags & kNoExecSeal) != 0 ? kSealExec : 0);
  FileRef file = TRY(MakeMemfd(ctx.call(), *ctx.services().memfds, *name, seals));
  return ctx.InstallFd(std::move(file), (flags & kCloexec) != 0);
}

}  // namespace ringfence::sentry
