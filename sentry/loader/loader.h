// LoadImage: execve(2) below the kernel: reads the executable, follows #! lines and PT_INTERP,
// maps the segments into a fresh MemoryManager and builds the initial stack.
//
// Semantics: execve(2), elf(5), fs/binfmt_elf.c and fs/binfmt_script.c as seen from user space.
// Independent of tasks: the kernel opens the file, makes the MemoryManager and throws it away when
// loading fails, so that errors always reach the caller of execve.
//
// Errors: ENOEXEC (not a program we run), ELIBBAD (a bad interpreter), EINVAL (inconsistent
// segments), ENOMEM, EACCES (not a regular or executable file), E2BIG (arguments), ELOOP (scripts
// nested too deep), ENOENT and others from the opener, EIO, EFAULT.
//
// Threads: any; the MemoryManager must not be shared yet. May take long: call where blocking is
// allowed.
#ifndef RINGFENCE_SENTRY_LOADER_LOADER_H_
#define RINGFENCE_SENTRY_LOADER_LOADER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/api/arch_state.h"
#include "sentry/base/call_context.h"
#include "sentry/loader/vdso/vdso.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

// Opens an interpreter for execution: path resolution from the caller's root and cwd, EACCES when
// it is not an executable regular file.
using OpenExecutable = std::function<Result<FileRef>(std::string_view path)>;

struct LoadRequest {
  CallContext ctx;
  FileRef executable;    // opened for reading; type and permissions have been checked
  std::string path;      // as given to execve: AT_EXECFN, argument of #! interpreters
  std::string exe_path;  // absolute path for /proc/PID/exe; may equal `path`
  OpenExecutable open;
  std::vector<std::string> argv, envp;
  MemoryManager* mm = nullptr;  // empty
  const Vdso* vdso = nullptr;   // null: no vDSO is mapped (tests)
  bool secure = false;          // AT_SECURE: set-user-ID, set-group-ID or file capabilities
  bool randomize = true;        // stack, brk and PIE base
  uint64_t stack_limit = uint64_t{8} << 20;  // RLIMIT_STACK
  // Set (if not null) where Linux has already thrown the old program away: an error after that
  // kills the caller with SIGSEGV instead of being returned by execve.
  bool* point_of_no_return = nullptr;
};

struct LoadedImage {
  platform::ArchState entry;  // rip, rsp, rflags; all else zero
  std::string exe_path;       // of the ELF file that runs: the interpreter's for scripts
  FileRef executable;         // the same
  std::string comm;           // new name of the task: last component of `path`, 15 bytes
};

Result<LoadedImage> LoadImage(const LoadRequest& request);

// Limits of execve(2).
inline constexpr uint64_t kMaxArgLength = 128 << 10;    // MAX_ARG_STRLEN, with the NUL
inline constexpr uint64_t kMaxArgStrings = 0x7fffffff;  // MAX_ARG_STRINGS
// Bytes that argv and envp may take together, strings and pointers (_STK_LIM / 4 * 3 at most).
constexpr uint64_t ArgumentLimit(uint64_t stack_limit) {
  const uint64_t most = (uint64_t{8} << 20) / 4 * 3;
  const uint64_t quarter = stack_limit / 4;
  const uint64_t limit = quarter < most ? quarter : most;
  return limit > kMaxArgLength ? limit : kMaxArgLength;
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_LOADER_H_
