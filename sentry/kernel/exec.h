// ExecTransaction: the steps of execve; and what execve does to credentials (execve(2),
// capabilities(7)). Internal to sentry/kernel.
#ifndef RINGFENCE_SENTRY_KERNEL_EXEC_H_
#define RINGFENCE_SENTRY_KERNEL_EXEC_H_

#include <string_view>

#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {

struct ExecCredentials {
  CredentialsRef creds;
  bool secure = false;  // AT_SECURE
};
// Set-user-ID and set-group-ID bits of `file` (not with no_new_privs), capabilities of root and
// ambient capabilities. File capabilities are not looked at.
Result<ExecCredentials> CredentialsAfterExec(const CallContext& ctx, File& file);

// Opens a program: EACCES unless it is a regular file that the caller may execute.
Result<FileRef> OpenProgram(const CallContext& ctx, const PathBase& base, std::string_view path);

class ExecTransaction {
 public:
  using Program = Kernel::Program;
  static Result<Program> Load(Kernel& kernel, const CallContext& ctx, const FsContext& fs,
                              const ExecArgs& args, const MemoryManager::Limits& limits,
                              bool* point_of_no_return);
  static bool TakeOverGroup(Task& task);
  static void Commit(Task& task, Program program);

 private:
  static bool AloneOrKilled(Task& task);
  static void ReplaceMemory(Task& task, MemoryManagerRef mm);
  static void ResetSignals(Task& task);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_EXEC_H_
