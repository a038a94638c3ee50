// Extended attributes (xattr(7)).
#include <linux/limits.h>
#include <linux/xattr.h>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

Result<InodeRef> InodeOfPath(SyscallContext& ctx, bool follow) {
  const PathArg path = TRY(ctx.PathAt(0));
  ResolveFlags flags;
  flags.follow_last = follow;
  return TRY(Vfs::Resolve(ctx.call(), path.base, path.path, flags))->inode();
}

Result<InodeRef> InodeOfFile(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  InodeRef inode = file->inode();
  if (inode == nullptr) return Errno::kOPNOTSUPP;
  return inode;
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

Result<int64_t> Set(SyscallContext& ctx, const Result<InodeRef>& target) {
  const InodeRef inode = TRY(Result<InodeRef>(target));
  if ((ctx.Uint(4) & ~3u) != 0) return Errno::kINVAL;
  const std::string name = TRY(LoadName(ctx));
  if (ctx.Arg(3) > XATTR_SIZE_MAX) return Errno::k2BIG;
  std::string value(ctx.Arg(3), '\0');
  TRY(ctx.mm().CopyIn(value.data(), ctx.Addr(2), value.size()));
  return Done(inode->SetXattr(ctx.call(), name, value, ctx.Int(4)));
}

Result<int64_t> Get(SyscallContext& ctx, const Result<InodeRef>& target) {
  const InodeRef inode = TRY(Result<InodeRef>(target));
  const std::string name = TRY(LoadName(ctx));
  return StoreBytes(ctx, 2, ctx.Arg(3), TRY(inode->GetXattr(ctx.call(), name)));
}

Result<int64_t> List(SyscallContext& ctx, const Result<InodeRef>& target) {
  const InodeRef inode = TRY(Result<InodeRef>(target));
  const Result<std::vector<std::string>> names = inode->ListXattr(ctx.call());
  if (!names.ok() && names.error() != Errno::kOPNOTSUPP) return names.error();
  std::string joined;
  if (names.ok()) {
    for (const std::string& name : *names) joined.append(name.c_str(), name.size() + 1);
  }
  return StoreBytes(ctx, 1, ctx.Arg(2), joined);
}

Result<int64_t> Remove(SyscallContext& ctx, const Result<InodeRef>& target) {
  const InodeRef inode = TRY(Result<InodeRef>(target));
  return Done(inode->RemoveXattr(ctx.call(), TRY(LoadName(ctx))));
}

}  // namespace

Result<int64_t> SysSetxattr(SyscallContext& ctx) { return Set(ctx, InodeOfPath(ctx, true)); }
Result<int64_t> SysLsetxattr(SyscallContext& ctx) { return Set(ctx, InodeOfPath(ctx, false)); }
Result<int64_t> SysFsetxattr(SyscallContext& ctx) { return Set(ctx, InodeOfFile(ctx)); }
Result<int64_t> SysGetxattr(SyscallContext& ctx) { return Get(ctx, InodeOfPath(ctx, true)); }
Result<int64_t> SysLgetxattr(SyscallContext& ctx) { return Get(ctx, InodeOfPath(ctx, false)); }
Result<int64_t> SysFgetxattr(SyscallContext& ctx) { return Get(ctx, InodeOfFile(ctx)); }
Result<int64_t> SysListxattr(SyscallContext& ctx) { return List(ctx, InodeOfPath(ctx, true)); }
Result<int64_t> SysLlistxattr(SyscallContext& ctx) { return List(ctx, InodeOfPath(ctx, false)); }
Result<int64_t> SysFlistxattr(SyscallContext& ctx) { return List(ctx, InodeOfFile(ctx)); }
Result<int64_t> SysRemovexattr(SyscallContext& ctx) { return Remove(ctx, InodeOfPath(ctx, true)); }
Result<int64_t> SysLremovexattr(SyscallContext& ctx) {
  return Remove(ctx, InodeOfPath(ctx, false));
}
Result<int64_t> SysFremovexattr(SyscallContext& ctx) { return Remove(ctx, InodeOfFile(ctx)); }

}  // namespace ringfence::sentry
