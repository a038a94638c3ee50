// SyscallContext: one system call as its handler sees it: the task, typed arguments, and whether
// it may block. Lives on the stack of the serving thread for the time of the call.
//
// Arguments come as 64-bit registers; Int(), Uint() and so on cut them as Linux's prototypes do.
// Pointers are typed (guest_ptr.h) and copied in once.
#ifndef RINGFENCE_SENTRY_SYSCALLS_SYSCALL_CONTEXT_H_
#define RINGFENCE_SENTRY_SYSCALLS_SYSCALL_CONTEXT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "platform/api/platform.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/guest_ptr.h"
#include "sentry/syscalls/services.h"

namespace ringfence::sentry {

// A path argument and where it starts.
struct PathArg {
  PathBase base;
  std::string path;
  // AT_EMPTY_PATH with an empty path: the file itself; base.start is null when it has no dentry.
  FileRef file;
};

class SyscallContext {
 public:
  SyscallContext(Task& task, const SyscallServices& services,
                 const platform::SyscallRequest& request, bool may_block)
      : task_(task), services_(services), request_(request), may_block_(may_block) {}
  SyscallContext(const SyscallContext&) = delete;
  SyscallContext& operator=(const SyscallContext&) = delete;

  Task& task() { return task_; }
  Kernel& kernel() { return task_.kernel(); }
  ThreadGroup& group() { return task_.group(); }
  MemoryManager& mm() { return task_.mm(); }
  FdTable& fds() { return task_.fds(); }
  FsContext& fs() { return task_.fs(); }
  const SyscallServices& services() const { return services_; }
  bool may_block() const { return may_block_; }
  // Credentials and may_block for the subsystems; made at first use.
  const CallContext& call() {
    if (!call_.has_value()) {
      call_.emplace(task_.call_context());
      call_->may_block = may_block_;
    }
    return *call_;
  }
  Result<void> RequireBlocking() const {
    if (!may_block_) return Errno::kWOULDBLOCK_RETRY_ON_TASK;
    return Ok();
  }

  uint64_t Arg(int i) const { return request_.args[i]; }
  int32_t Int(int i) const { return static_cast<int32_t>(Arg(i)); }
  uint32_t Uint(int i) const { return static_cast<uint32_t>(Arg(i)); }
  int64_t Long(int i) const { return static_cast<int64_t>(Arg(i)); }
  VirtAddr Addr(int i) const { return VirtAddr(Arg(i)); }
  Fd FdArg(int i) const { return static_cast<Fd>(Int(i)); }
  SigNo Sig(int i) const { return static_cast<SigNo>(Int(i)); }
  template <typename T>
  GuestIn<T> In(int i) const {
    return GuestIn<T>(Arg(i));
  }
  template <typename T>
  GuestOut<T> Out(int i) const {
    return GuestOut<T>(Arg(i));
  }
  Result<std::string> Path(int i) { return GuestCString(Arg(i)).LoadPath(mm()); }

  // The open file of descriptor argument i; EBADF also for O_PATH descriptors.
  Result<FileRef> FileArg(int i) { return fds().GetUsable(FdArg(i)); }
  // A path argument that starts at the working directory.
  Result<PathArg> PathAt(int path_arg);
  // A path argument relative to a descriptor argument (openat(2)); with `allow_empty` an empty path
  // (or, as since Linux 6.11, a null pointer) names the descriptor itself. EBADF, ENOTDIR.
  Result<PathArg> PathAt(int fd_arg, int path_arg, bool allow_empty = false);
  // RLIMIT_NOFILE, soft.
  uint32_t FdLimit();
  // A new descriptor for `file`. EMFILE.
  Result<int64_t> InstallFd(FileRef file, bool cloexec);

 private:
  Task& task_;
  const SyscallServices& services_;
  const platform::SyscallRequest& request_;
  const bool may_block_;
  std::optional<CallContext> call_;
};

// A handler that returns nothing answers 0.
inline Result<int64_t> Done(const Result<void>& result) {
  if (!result.ok()) return result.error();
  return int64_t{0};
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_SYSCALL_CONTEXT_H_
