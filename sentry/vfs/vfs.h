// Vfs: dentries, the mount tree, path resolution (path_resolution(7)) and the path-based calls.
//
// Model. A Node (dcache.h) is a name in a file system; nodes are cached in their parent and the
// cache is bounded. A Mount (mount.h) shows a file system from one node on and covers a node of
// its parent mount; MountNamespace holds the tree. A Dentry is (mount, node). FsContext is a
// process's view: root, cwd, umask (clone(2) CLONE_FS shares it).
//
// Threads: any. Lock order is in vfs/README.md.
#ifndef RINGFENCE_SENTRY_VFS_VFS_H_
#define RINGFENCE_SENTRY_VFS_VFS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

class Mount;
class MountNamespace;
class Node;  // dcache.h
using MountRef = std::shared_ptr<Mount>;
using NodeRef = std::shared_ptr<Node>;

// A place in the mount tree: where a path leads. Cheap to make; two dentries are the same place
// when SamePlace says so, not when the pointers are equal. Immutable: what moves (rename) is the
// node behind it, so name() and parent() follow renames.
class Dentry {
 public:
  Dentry(MountRef mount, NodeRef node);
  ~Dentry();
  const InodeRef& inode() const;
  const MountRef& mount() const { return mount_; }
  const NodeRef& node() const { return node_; }
  DentryRef parent() const;  // itself at the root of a mount
  std::string name() const;  // "" at the root of a file system
  bool unlinked() const;

  // A dentry outside of every mount tree (a pipe, a descriptor of the host), so that
  // /proc/PID/fd/N leads to something. PathOf gives `name`, for example "pipe:[5]".
  static DentryRef MakeDetached(InodeRef inode, std::string name);

 private:
  MountRef mount_;  // keeps the file system alive: declared before, so destroyed after node_
  NodeRef node_;
};
bool SamePlace(const DentryRef& a, const DentryRef& b);

class FsContext {
 public:
  FsContext(DentryRef root, DentryRef cwd, uint32_t umask)
      : root_(std::move(root)), cwd_(std::move(cwd)), umask_(umask) {}
  DentryRef root() const;
  DentryRef cwd() const;
  uint32_t umask() const;
  void SetRoot(DentryRef root);
  void SetCwd(DentryRef cwd);
  uint32_t SetUmask(uint32_t umask);  // returns the old one
  std::shared_ptr<FsContext> Clone() const;

 private:
  mutable absl::Mutex mutex_;
  DentryRef root_ ABSL_GUARDED_BY(mutex_), cwd_ ABSL_GUARDED_BY(mutex_);
  uint32_t umask_ ABSL_GUARDED_BY(mutex_);
};

struct ResolveFlags {
  bool follow_last = true;      // follow a symlink in the last component
  bool want_directory = false;  // ENOTDIR unless a directory
  bool allow_empty = false;     // AT_EMPTY_PATH
  uint32_t resolve = 0;         // RESOLVE_* of openat2(2)
};

// How a path starts: at `start` when relative (cwd or a directory descriptor).
struct PathBase {
  const FsContext* fs = nullptr;
  DentryRef start;  // null = fs->cwd()
};

class Vfs {
 public:
  // Resolves a path with permission checks of ctx.creds; all errors of path_resolution(7):
  // ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
  static Result<DentryRef> Resolve(const CallContext& ctx, const PathBase& base,
                                   std::string_view path, const ResolveFlags& flags = {});

  // open(2)/openat2(2). `mode` is already masked with the umask by this call.
  static Result<FileRef> Open(const CallContext& ctx, const PathBase& base, std::string_view path,
                              uint32_t flags, uint32_t mode, uint32_t resolve = 0);
  // Opens what a dentry names (execve, /proc/PID/fd), with the checks of open(2).
  static Result<FileRef> OpenDentry(const CallContext& ctx, const DentryRef& dentry,
                                    uint32_t flags);

  static Result<void> Mkdir(const CallContext&, const PathBase&, std::string_view path,
                            uint32_t mode);
  static Result<void> Mknod(const CallContext&, const PathBase&, std::string_view path,
                            uint32_t mode, uint64_t rdev);
  // bind(2) of a unix socket to a path: makes a socket node and says where it is. EEXIST.
  static Result<DentryRef> MakeSocket(const CallContext&, const PathBase&, std::string_view path,
                                      uint32_t mode);
  static Result<void> Symlink(const CallContext&, std::string_view target, const PathBase&,
                              std::string_view path);
  static Result<void> Link(const CallContext&, const PathBase& from, std::string_view old_path,
                           const PathBase& to, std::string_view new_path, int at_flags);
  static Result<void> Unlink(const CallContext&, const PathBase&, std::string_view path);
  static Result<void> Rmdir(const CallContext&, const PathBase&, std::string_view path);
  static Result<void> Rename(const CallContext&, const PathBase& from, std::string_view old_path,
                             const PathBase& to, std::string_view new_path, uint32_t flags);
  static Result<std::string> ReadLink(const CallContext&, const PathBase&, std::string_view path);

  // Checks and applies chmod, chown, truncate, utimensat on a dentry or file.
  static Result<void> SetAttr(const CallContext&, const DentryRef& dentry,
                              const SetAttrRequest& request);
  // access(2)-like check: `mask` of R_OK 4, W_OK 2, X_OK 1.
  static Result<void> CheckAccess(const CallContext&, const DentryRef& dentry, uint32_t mask);

  // Path of a dentry as seen from `root` (getcwd, /proc/PID/exe): "(unreachable)/..." outside of
  // it, " (deleted)" appended when unlinked.
  static std::string PathOf(const DentryRef& dentry, const DentryRef& root);
  // As seen from the top of the mount tree (/proc/PID/maps, messages).
  static std::string AbsolutePathOf(const DentryRef& dentry);
};

// The mount tree of a set of processes.
class MountNamespace {
 public:
  // A namespace whose root is `fs`. `flags`: MS_RDONLY and so on.
  static std::shared_ptr<MountNamespace> Create(std::shared_ptr<FileSystem> fs,
                                                std::string_view source, uint64_t flags = 0);
  virtual ~MountNamespace() = default;
  virtual DentryRef root() = 0;
  // Mounts `fs` on `target`: on a directory, or on something else if its root is none. ENOTDIR,
  // EBUSY. `flags`: MS_RDONLY, MS_NOSUID, ...
  virtual Result<void> Mount(std::shared_ptr<FileSystem> fs, const DentryRef& target,
                             std::string_view source, uint64_t flags) = 0;
  // umount2(2): MNT_DETACH takes the tree below with it; else EBUSY while mounts are below.
  // EINVAL when `mount_root` is not the root of a mount, or is the namespace's own root.
  virtual Result<void> Unmount(const DentryRef& mount_root, uint32_t flags) = 0;
  struct MountInfo {
    uint64_t id, parent_id, device;
    std::string root, path, type, source, options;  // options: "rw,nosuid"
  };
  // Mounts that can be reached from `process_root`, parents first.
  virtual std::vector<MountInfo> List(const DentryRef& process_root) = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_VFS_H_
