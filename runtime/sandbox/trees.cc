#include "runtime/sandbox/trees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ringfence::runtime {
namespace {

using gofer::Access;
using gofer::Export;

std::string TreeName(size_t number, Access access) {
  return absl::StrCat(access == Access::kReadWrite ? "rw-tree" : "ro-tree", number);
}

absl::StatusOr<UniqueFd> OpenTree(const std::string& flag, const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat s;
  if (!fd.valid() || fstat(fd.get(), &s) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(flag, " ", path));
  }
  if (S_ISDIR(s.st_mode) || S_ISREG(s.st_mode)) return fd;
  return absl::InvalidArgumentError(
      absl::StrCat(flag, " ", path, " is neither a directory nor a regular file"));
}

// Where the host has `path`: absolute, with what symlinks lead to.
absl::StatusOr<std::string> RealPath(const std::string& flag, const std::string& path) {
  char real[PATH_MAX];
  if (realpath(path.c_str(), real) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat(flag, " ", path));
  }
  return std::string(real);
}

// Without the slashes, "." and ".." that say nothing. Pure: `path` need not be there.
std::string Normalize(std::string_view path) {
  std::vector<std::string_view> names;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name == "..") {
      if (!names.empty()) names.pop_back();
    } else if (!name.empty() && name != ".") {
      names.push_back(name);
    }
    path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
  }
  std::string normal;
  for (const std::string_view name : names) normal.append("/").append(name);
  return normal.empty() ? "/" : normal;
}

size_t Depth(const std::string& path) {
  return static_cast<size_t>(std::count(path.begin(), path.end(), '/'));
}

}  // namespace

absl::StatusOr<SandboxTrees> OpenTrees(const DoCommand& command) {
  SandboxTrees out;
  absl::StatusOr<UniqueFd> root = OpenTree("the root", "/");
  if (!root.ok()) return root.status();
  const bool direct = command.overlay.kind == OverlayFlag::Kind::kNone;
  out.trees.push_back({*std::move(root), direct ? Access::kReadWrite : Access::kReadOnly});

  std::vector<Volume> volumes = command.volumes;
  std::set<std::string> destinations;
  for (Volume& volume : volumes) {
    const char* flag = volume.destination.empty() ? "--rw" : "--volume";
    absl::StatusOr<std::string> real = RealPath(flag, volume.source);
    if (!real.ok()) return real.status();
    volume.destination = volume.destination.empty() ? *real : Normalize(volume.destination);
    volume.source = *std::move(real);
    if (volume.destination == "/") {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " cannot be the root: --overlay says what becomes of its changes"));
    }
    if (!destinations.insert(volume.destination).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " ", volume.destination, " is there twice"));
    }
  }
  // What lies above is mounted first.
  std::stable_sort(volumes.begin(), volumes.end(), [](const Volume& a, const Volume& b) {
    return Depth(a.destination) < Depth(b.destination);
  });
  for (Volume& volume : volumes) {
    absl::StatusOr<UniqueFd> fd = OpenTree("volume", volume.source);
    if (!fd.ok()) return fd.status();
    out.trees.push_back(
        {*std::move(fd), volume.read_only ? Access::kReadOnly : Access::kReadWrite});
    out.volumes.push_back({.source = std::move(volume.source),
                           .destination = std::move(volume.destination),
                           .read_only = volume.read_only});
  }
  if (command.overlay.kind != OverlayFlag::Kind::kDirectory) return out;
  const std::string& directory = command.overlay.directory;
  UniqueFd upper(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!upper.valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat("--overlay=dir=", directory));
  }
  out.trees.push_back({std::move(upper), Access::kReadWrite});
  return out;
}

std::vector<InheritedFd> NameTrees(const std::vector<Export>& trees) {
  std::vector<InheritedFd> named;
  for (size_t i = 0; i < trees.size(); ++i) {
    named.push_back({TreeName(i, trees[i].access), trees[i].root.get()});
  }
  return named;
}

std::vector<Export> TakeTrees(ChildArguments* arguments) {
  std::vector<Export> trees;
  for (;;) {
    Export tree = {.root = arguments->Take(TreeName(trees.size(), Access::kReadOnly)),
                   .access = Access::kReadOnly};
    if (!tree.root.valid()) {
      tree = {.root = arguments->Take(TreeName(trees.size(), Access::kReadWrite)),
              .access = Access::kReadWrite};
    }
    if (!tree.root.valid()) return trees;
    trees.push_back(std::move(tree));
  }
}

}  // namespace ringfence::runtime
