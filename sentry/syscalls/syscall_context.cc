#include "sentry/syscalls/syscall_context.h"

#include <fcntl.h>

#include <algorithm>

namespace ringfence::sentry {

Result<PathArg> SyscallContext::PathAt(int path_arg) {
  PathArg result;
  result.path = TRY(Path(path_arg));
  result.base.fs = &fs();
  return result;
}

Result<PathArg> SyscallContext::PathAt(int fd_arg, int path_arg, bool allow_empty) {
  PathArg result;
  result.base.fs = &fs();
  if (!(allow_empty && Arg(path_arg) == 0)) result.path = TRY(Path(path_arg));
  const bool absolute = !result.path.empty() && result.path[0] == '/';
  const bool itself = allow_empty && result.path.empty();
  if (absolute || Int(fd_arg) == AT_FDCWD) return result;
  if (result.path.empty() && !allow_empty) return Errno::kNOENT;
  FileRef file = TRY(fds().Get(FdArg(fd_arg)));
  if (file->dentry() == nullptr && !itself) return Errno::kNOTDIR;
  result.base.start = file->dentry();
  if (itself) result.file = std::move(file);
  return result;
}

uint32_t SyscallContext::FdLimit() {
  constexpr uint64_t kMax = 1 << 20;  // fs.nr_open
  return static_cast<uint32_t>(std::min(group().GetLimit(Resource::kNofile).cur, kMax));
}

Result<int64_t> SyscallContext::InstallFd(FileRef file, bool cloexec) {
  return static_cast<int64_t>(ToInt(TRY(fds().Install(std::move(file), cloexec, FdLimit()))));
}

}  // namespace ringfence::sentry
