#include "gofer/jail/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <string>

#include "absl/strings/str_cat.h"

namespace ringfence::gofer {
namespace {

// Any directory that is there on every host will do: the empty root is mounted over it for as long
// as it takes to make it the root.
constexpr char kStagingPlace[] = "/proc";

absl::Status HostError(absl::string_view what) { return absl::ErrnoToStatus(errno, what); }

absl::StatusOr<std::string> PathOf(int fd) {
  const std::string link = absl::StrCat("/proc/self/fd/", fd);
  char path[PATH_MAX];
  const ssize_t size = readlink(link.c_str(), path, sizeof(path));
  if (size < 0) return HostError("the served directory's path (is /proc mounted?)");
  if (size == sizeof(path)) return absl::InvalidArgumentError("the served directory's path");
  return std::string(path, static_cast<size_t>(size));
}

// The same inode on the same file system; none of the two has to be open for more than its path.
bool AreTheSame(int a, int b) {
  struct stat sa, sb;
  return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
         sa.st_ino == sb.st_ino;
}

}  // namespace

absl::StatusOr<UniqueFd> DetachTree(int directory, TreeAccess access) {
  const absl::StatusOr<std::string> path = PathOf(directory);
  if (!path.ok()) return path.status();
  UniqueFd tree(open_tree(
      AT_FDCWD, path->c_str(),
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT));
  if (!tree.valid()) return HostError(absl::StrCat("cannot take a copy of the mounts at ", *path));
  if (!AreTheSame(tree.get(), directory)) {
    return absl::AbortedError(absl::StrCat(*path, " was replaced while the sandbox started"));
  }
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (access == TreeAccess::kRead) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  attributes.propagation = MS_PRIVATE;
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                    sizeof(attributes)) != 0) {
    return HostError(absl::StrCat("cannot restrict the mounts at ", *path));
  }
  return tree;
}

absl::StatusOr<UniqueFd> DetachSelfFd() {
  UniqueFd fd(open_tree(AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!fd.valid()) return HostError("cannot take /proc/self/fd alone (is /proc mounted?)");
  return fd;
}

absl::Status EnterEmptyRoot() {
  // Nothing from here on reaches the namespace this one was copied from.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return HostError("cannot make the mounts private");
  }
  if (mount("none", kStagingPlace, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
            "mode=0555,size=4k,nr_inodes=1") != 0) {
    return HostError("cannot mount an empty root");
  }
  if (chdir(kStagingPlace) != 0) return HostError("cannot enter the empty root");
  // The old root lands on top of the new one, where the next call takes it off (pivot_root(2)).
  if (syscall(SYS_pivot_root, ".", ".") != 0) {
    return HostError("cannot change to the empty root (pivot_root; on an initramfs: switch_root)");
  }
  if (umount2(".", MNT_DETACH) != 0) return HostError("cannot leave the old root");
  if (chdir("/") != 0) return HostError("cannot enter the empty root");
  return absl::OkStatus();
}

}  // namespace ringfence::gofer
