// Extended attributes (xattr(7)).
#include <linux/limits.h>
#include <linux/xattr.h>
#include <sys/stat.h>

#include "sentry/syscalls/handlers.h"
#include "sentry/vfs/permission.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21;

struct Target {
  InodeRef inode;
  DentryRef dentry;  // null: a file without a name
};

Result<Target> TargetOfPath(SyscallContext& ctx, bool follow) {
  const PathArg path = TRY(ctx.PathAt(0));
  ResolveFlags flags;
  flags.follow_last = follow;
  const DentryRef dentry = TRY(Vfs::Resolve(ctx.call(), path.base, path.path, flags));
  return Target{dentry->inode(), dentry};
}

Result<Target> TargetOfFile(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  InodeRef inode = file->inode();
  if (inode == nullptr) return Errno::kOPNOTSUPP;
  return Target{std::move(inode), file->dentry()};
}

// May the caller read or write (kMayRead, kMayWrite) this attribute? What xattr_permission() and
// xattr_resolve_name() of Linux check.
Result<void> CheckAccess(SyscallContext& ctx, const Target& target, std::string_view name,
                         uint32_t mask) {
  constexpr uint32_t kSticky = 01000;
  const bool writes = mask == kMayWrite;
  const uint32_t type = target.inode->type();
  if (writes && target.dentry != nullptr && PathOfDentry(target.dentry).mount->read_only()) {
    return Errno::kROFS;
  }
  if (name.starts_with("security.") || name.starts_with("system.")) return Ok();
  const Errno refused = writes ? Errno::kPERM : Errno::kNODATA;
  const Credentials& creds = *ctx.call().creds;
  if (name.starts_with("trusted.")) {
    return creds.HasCapability(kCapSysAdmin) ? Result<void>() : refused;
  }
  const Attributes attributes = TRY(target.inode->GetAttr(ctx.call()));
  if (name.starts_with("user.")) {
    if (type != S_IFREG && type != S_IFDIR) return refused;
    const bool sticky = type == S_IFDIR && (attributes.mode & kSticky) != 0;
    if (writes && sticky && !IsOwnerOrCapable(creds, attributes)) return Errno::kPERM;
  }
  TRY(CheckMode(creds, attributes, mask));
  if (name == "user.") return Errno::kINVAL;
  return Ok();
}

Result<std::string> LoadName(SyscallContext& ctx) {
  const Result<std::string> name = GuestCString(ctx.Arg(1)).Load(ctx.mm(), XATTR_NAME_MAX + 1);
  if (!name.ok()) {
    return name.error() == Errno::kNAMETOOLONG ? Errno::kRANGE : name.error();
  }
  if (name->empty()) return Errno::kRANGE;
  return *name;
}

// Copies out at most `size` bytes; size 0 asks for the length only.
Result<int64_t> StoreBytes(SyscallContext& ctx, int arg, uint64_t size, const std::string& bytes) {
  if (size != 0) {
    if (bytes.size() > size) return Errno::kRANGE;
    TRY(ctx.mm().CopyOut(ctx.Addr(arg), bytes.data(), bytes.size()));
  }
  return static_cast<int64_t>(bytes.size());
}

Result<int64_t> Set(SyscallContext& ctx, const Result<Target>& found) {
  const Target target = TRY(Result<Target>(found));
  if ((ctx.Uint(4) & ~3u) != 0) return Errno::kINVAL;
  const std::string name = TRY(LoadName(ctx));
  if (ctx.Arg(3) > XATTR_SIZE_MAX) return Errno::k2BIG;
  std::string value(ctx.Arg(3), '\0');
  TRY(ctx.mm().CopyIn(value.data(), ctx.Addr(2), value.size()));
  TRY(CheckAccess(ctx, target, name, kMayWrite));
  TRY(target.inode->SetXattr(ctx.call(), name, value, ctx.Int(4)));
  if (target.dentry != nullptr) Watches::OnNode(target.dentry->node(), kWatchAttrib);
  return int64_t{0};
}

Result<int64_t> Get(SyscallContext& ctx, const Result<Target>& found) {
  const Target target = TRY(Result<Target>(found));
  const std::string name = TRY(LoadName(ctx));
  TRY(CheckAccess(ctx, target, name, kMayRead));
  return StoreBytes(ctx, 2, ctx.Arg(3), TRY(target.inode->GetXattr(ctx.call(), name)));
}

Result<int64_t> List(SyscallContext& ctx, const Result<Target>& found) {
  const InodeRef inode = TRY(Result<Target>(found)).inode;
  const Result<std::vector<std::string>> names = inode->ListXattr(ctx.call());
  if (!names.ok() && names.error() != Errno::kOPNOTSUPP) return names.error();
  std::string joined;
  if (names.ok()) {
    const bool sees_trusted = ctx.call().creds->HasCapability(kCapSysAdmin);
    for (const std::string& name : *names) {
      if (name.starts_with("trusted.") && !sees_trusted) continue;
      joined.append(name.c_str(), name.size() + 1);
    }
  }
  return StoreBytes(ctx, 1, ctx.Arg(2), joined);
}

Result<int64_t> Remove(SyscallContext& ctx, const Result<Target>& found) {
  const Target target = TRY(Result<Target>(found));
  const std::string name = TRY(LoadName(ctx));
  TRY(CheckAccess(ctx, target, name, kMayWrite));
  TRY(target.inode->RemoveXattr(ctx.call(), name));
  if (target.dentry != nullptr) Watches::OnNode(target.dentry->node(), kWatchAttrib);
  return int64_t{0};
}

}  // namespace

Result<int64_t> SysSetxattr(SyscallContext& ctx) { return Set(ctx, TargetOfPath(ctx, true)); }
Result<int64_t> SysLsetxattr(SyscallContext& ctx) { return Set(ctx, TargetOfPath(ctx, false)); }
Result<int64_t> SysFsetxattr(SyscallContext& ctx) { return Set(ctx, TargetOfFile(ctx)); }
Result<int64_t> SysGetxattr(SyscallContext& ctx) { return Get(ctx, TargetOfPath(ctx, true)); }
Result<int64_t> SysLgetxattr(SyscallContext& ctx) { return Get(ctx, TargetOfPath(ctx, false)); }
Result<int64_t> SysFgetxattr(SyscallContext& ctx) { return Get(ctx, TargetOfFile(ctx)); }
Result<int64_t> SysListxattr(SyscallContext& ctx) { return List(ctx, TargetOfPath(ctx, true)); }
Result<int64_t> SysLlistxattr(SyscallContext& ctx) { return List(ctx, TargetOfPath(ctx, false)); }
Result<int64_t> SysFlistxattr(SyscallContext& ctx) { return List(ctx, TargetOfFile(ctx)); }
Result<int64_t> SysRemovexattr(SyscallContext& ctx) { return Remove(ctx, TargetOfPath(ctx, true)); }
Result<int64_t> SysLremovexattr(SyscallContext& ctx) {
  return Remove(ctx, TargetOfPath(ctx, false));
}
Result<int64_t> SysFremovexattr(SyscallContext& ctx) { return Remove(ctx, TargetOfFile(ctx)); }

}  // namespace ringfence::sentry
