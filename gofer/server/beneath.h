// One step of a path, taken safely: the only code of the gofer that opens anything by a name.
//
// A name is resolved by openat2(2) beneath its directory, following neither symlinks nor magic
// links; opening for data goes through the descriptor of the object that was looked at before
// (/proc/self/fd), so no rename on the host can put another object in its place.
#ifndef RINGFENCE_GOFER_SERVER_BENEATH_H_
#define RINGFENCE_GOFER_SERVER_BENEATH_H_

#include <cstdint>
#include <string>

#include "gofer/client/client.h"
#include "platform/base/result.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

// An O_PATH descriptor of `name` (a valid component) in the directory `dir`; of a symlink itself.
Result<UniqueFd> OpenPath(int dir, const std::string& name);

// Where one step down a path leads.
struct PathStep {
  UniqueFd fd;  // O_PATH
  Attributes attr;
  bool on_kernel_fs = false;  // see IsOnKernelFileSystem
};
// From the directory `dir`, which is on `device` and not on a kernel file system, to `name`.
Result<PathStep> StepDown(int dir, uint64_t device, const std::string& name);

// Attributes of what `path_fd` is, or of `name` in it.
Result<Attributes> StatPath(int path_fd);
Result<Attributes> StatEntry(int dir, const std::string& name);
Result<FsAttributes> StatFileSystem(int path_fd);

// What a name or a node must still lead to to be the same object.
struct Identity {
  uint64_t dev = 0, ino = 0;
  uint32_t type = 0;  // S_IFMT of the mode
  Time birth;

  static Identity Of(const Attributes& attr);
  friend bool operator==(const Identity& a, const Identity& b) {
    return a.dev == b.dev && a.ino == b.ino && a.type == b.type && a.birth.sec == b.birth.sec &&
           a.birth.nsec == b.birth.nsec;
  }
};

// The target of the symlink `path_fd`; EINVAL for anything else.
Result<std::string> ReadLinkAt(int path_fd);
// The target of the symlink `name` in `dir`; "" if it has none to tell.
std::string LinkTarget(int dir, const std::string& name);

// Opens the directory `path_fd` for reading its entries.
Result<UniqueFd> OpenDirectory(int path_fd);

// Is `path_fd` on a file system that shows the host's kernel instead of files (proc, sysfs, ...)?
// Such a tree is never entered: /proc/PID/mem alone would undo every other boundary.
Result<bool> IsOnKernelFileSystem(int path_fd);

// Opens descriptors of this process anew, and does to what they are what the kernel offers for
// paths only. Holds /proc/self/fd, so that it keeps working when the gofer has left the host's
// mount tree.
class Reopener {
 public:
  // `self_fd`: the directory /proc/self/fd (gofer/jail/mounts.h, DetachSelfFd); if there is none it
  // is opened, which fails when there is no /proc.
  static Result<Reopener> Make(UniqueFd self_fd = UniqueFd());

  // Opens the file of `path_fd` itself. `flags` as for open(2).
  Result<UniqueFd> Open(int path_fd, int flags) const;
  // Not for symlinks.
  Result<void> ChangeMode(int path_fd, uint32_t mode) const;
  // Gives the file of `path_fd` the name `name` in the directory `dir`.
  Result<void> Link(int path_fd, int dir, const std::string& name) const;

 private:
  explicit Reopener(UniqueFd self_fd) : self_fd_(std::move(self_fd)) {}
  UniqueFd self_fd_;
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_BENEATH_H_
