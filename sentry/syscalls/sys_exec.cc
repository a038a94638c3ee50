// execve(2), execveat(2), exit(2), exit_group(2).
#include <fcntl.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "sentry/loader/loader.h"
#include "sentry/syscalls/exec_file.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kAddrNoRandomize = 0x0040000;  // personality(2)

// Copies in a vector of strings; `budget` is what argv and envp may still take together.
Result<std::vector<std::string>> LoadStrings(MemoryManager& mm, uint64_t addr, uint64_t* budget) {
  std::vector<std::string> strings;
  if (addr == 0) return strings;
  for (uint64_t i = 0;; ++i) {
    const VirtAddr at = TRY(GuestIn<uint64_t>(addr).At(i));
    const uint64_t pointer = TRY(GuestIn<uint64_t>(at.value()).Load(mm));
    if (pointer == 0) return strings;
    const Result<std::string> s = GuestCString(pointer).Load(mm, kMaxArgLength);
    if (!s.ok()) return s.error() == Errno::kNAMETOOLONG ? Errno::k2BIG : s.error();
    const uint64_t cost = s->size() + 1 + sizeof(uint64_t);
    if (cost > *budget) return Errno::k2BIG;
    *budget -= cost;
    strings.push_back(*s);
  }
}

Result<int64_t> Execute(SyscallContext& ctx, ExecArgs args, uint64_t argv, uint64_t envp) {
  uint64_t budget = ArgumentLimit(ctx.group().GetLimit(Resource::kStack).cur);
  args.argv = TRY(LoadStrings(ctx.mm(), argv, &budget));
  args.envp = TRY(LoadStrings(ctx.mm(), envp, &budget));
  args.randomize = (ctx.task().settings().personality & kAddrNoRandomize) == 0;
  if (args.argv.empty()) args.argv.emplace_back();  // as since Linux 5.18
  TRY(ctx.task().Exec(ctx.call(), args));
  return int64_t{0};
}

Result<FileRef> OpenPathForExec(SyscallContext& ctx, const PathArg& path, bool follow) {
  ResolveFlags flags;
  flags.follow_last = follow;
  const DentryRef dentry = TRY(Vfs::Resolve(ctx.call(), path.base, path.path, flags));
  if (!follow && dentry->inode()->type() == S_IFLNK) return Errno::kLOOP;
  return OpenProgram(ctx.call(), dentry);
}

// fexecve(3) of a file without a name (memfd_create).
Result<FileRef> ReopenForExec(SyscallContext& ctx, File& file) {
  if (file.dentry() != nullptr) return OpenProgram(ctx.call(), file.dentry());
  const InodeRef inode = file.inode();
  if (inode == nullptr || inode->type() != S_IFREG) return Errno::kACCES;
  const Attributes attributes = TRY(inode->GetAttr(ctx.call()));
  if ((attributes.mode & 0111) == 0) return Errno::kACCES;
  return inode->Open(ctx.call(), O_RDONLY);
}

}  // namespace

Result<int64_t> SysExecve(SyscallContext& ctx) {
  const PathArg path = TRY(ctx.PathAt(0));
  ExecArgs args;
  args.file = TRY(OpenPathForExec(ctx, path, true));
  args.path = path.path;
  return Execute(ctx, std::move(args), ctx.Arg(1), ctx.Arg(2));
}

Result<int64_t> SysExecveat(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(4);
  if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) != 0) return Errno::kINVAL;
  const PathArg path = TRY(ctx.PathAt(0, 1, (flags & AT_EMPTY_PATH) != 0));
  ExecArgs args;
  if (path.file != nullptr) {
    args.file = TRY(ReopenForExec(ctx, *path.file));
    args.path = absl::StrCat("/dev/fd/", ctx.Int(0));
  } else {
    if (path.path.empty()) return Errno::kNOENT;
    args.file = TRY(OpenPathForExec(ctx, path, (flags & AT_SYMLINK_NOFOLLOW) == 0));
    args.path = path.base.start == nullptr ? path.path
                                           : absl::StrCat("/dev/fd/", ctx.Int(0), "/", path.path);
  }
  return Execute(ctx, std::move(args), ctx.Arg(2), ctx.Arg(3));
}

Result<int64_t> SysExit(SyscallContext& ctx) {
  ctx.task().Exit(ctx.Int(0));
  return int64_t{0};
}

Result<int64_t> SysExitGroup(SyscallContext& ctx) {
  ctx.task().ExitGroup(ctx.Int(0));
  return int64_t{0};
}

}  // namespace ringfence::sentry
