#include "sentry/boot/command.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "sentry/syscalls/exec_file.h"

namespace ringfence::sentry {
namespace {

constexpr std::string_view kDefaultPath = "/bin:/usr/bin";
constexpr std::string_view kPathVariable = "PATH=";

std::string_view SearchPath(const std::vector<std::string>& envp) {
  for (const std::string& setting : envp) {
    if (setting.starts_with(kPathVariable)) {
      return std::string_view(setting).substr(kPathVariable.size());
    }
  }
  return kDefaultPath;
}

Result<FileRef> OpenAt(const CallContext& ctx, const FsContext& fs, const std::string& path) {
  const PathBase base{.fs = &fs, .start = nullptr};
  return OpenProgram(ctx, TRY(Vfs::Resolve(ctx, base, path)));
}

// The candidates in order; an empty directory name is the working directory.
std::vector<std::string> Candidates(std::string_view name, std::string_view search_path) {
  std::vector<std::string> candidates;
  while (true) {
    const size_t colon = search_path.find(':');
    std::string path(search_path.substr(0, colon));
    if (!path.empty()) path += '/';
    candidates.push_back(path.append(name));
    if (colon == search_path.npos) return candidates;
    search_path.remove_prefix(colon + 1);
  }
}

}  // namespace

absl::Status CommandError(std::string_view name, Errno error) {
  const std::string text = std::string(name).append(": ").append(strerror(static_cast<int>(error)));
  switch (error) {
    case Errno::kNOENT:
    case Errno::kNOTDIR:
      return absl::NotFoundError(text);
    case Errno::kACCES:
    case Errno::kPERM:
      return absl::PermissionDeniedError(text);
    case Errno::kNOMEM:
      return absl::ResourceExhaustedError(text);
    case Errno::kIO:
      return absl::UnavailableError(text);
    default:
      return absl::FailedPreconditionError(text);
  }
}

absl::StatusOr<Command> FindCommand(const CallContext& ctx, const FsContext& fs,
                                    std::string_view name, const std::vector<std::string>& envp) {
  if (name.find('/') != name.npos) {
    std::string path(name);
    Result<FileRef> file = OpenAt(ctx, fs, path);
    if (!file.ok()) return CommandError(name, file.error());
    return Command{.file = std::move(file).value(), .path = std::move(path)};
  }
  if (name.empty()) return CommandError("''", Errno::kNOENT);
  bool denied = false;
  for (std::string& path : Candidates(name, SearchPath(envp))) {
    Result<FileRef> file = OpenAt(ctx, fs, path);
    if (file.ok()) return Command{.file = std::move(file).value(), .path = std::move(path)};
    denied |= file.error() == Errno::kACCES;
  }
  if (denied) return CommandError(name, Errno::kACCES);
  return absl::NotFoundError(std::string(name).append(": command not found"));
}

}  // namespace ringfence::sentry
