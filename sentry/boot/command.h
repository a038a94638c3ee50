// Finding the first program, as execvp(3) and a shell do.
#ifndef RINGFENCE_SENTRY_BOOT_COMMAND_H_
#define RINGFENCE_SENTRY_BOOT_COMMAND_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

struct Command {
  FileRef file;      // opened for reading, may be executed
  std::string path;  // as execve(2) would be told
};

// A name without '/' is looked for in the directories of PATH in `envp` (confstr(3)'s
// "/bin:/usr/bin" where there is none); one that is found and may not be executed counts only when
// no later directory has a better one. NotFound, PermissionDenied, FailedPrecondition.
absl::StatusOr<Command> FindCommand(const CallContext& ctx, const FsContext& fs,
                                    std::string_view name, const std::vector<std::string>& envp);

// What a person is told when execve(2) of `name` gave `error`; the codes are those of Boot.
absl::Status CommandError(std::string_view name, Errno error);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_COMMAND_H_
