// Mount: a file system shown at a place of the mount tree; Path: a place while it is walked.
//
// A mount owns the mounts that cover its nodes; the namespace owns the root mount. Mounts know
// their parent weakly: a detached mount lives on for those who have files or a cwd on it, and ".."
// at its root stays there.
//
// Locks: one mutex for the mount trees of all namespaces (MountTreeMutex), a leaf below everything
// of the VFS; mounts change rarely and walking looks at it only on nodes that are covered.
#ifndef RINGFENCE_SENTRY_VFS_MOUNT_H_
#define RINGFENCE_SENTRY_VFS_MOUNT_H_

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "sentry/vfs/dcache.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

absl::Mutex& MountTreeMutex();

class Mount {
 public:
  Mount(std::shared_ptr<Superblock> superblock, NodeRef root, std::string source, uint64_t flags);

  uint64_t id() const { return id_; }
  Superblock& superblock() const { return *superblock_; }
  FileSystem& fs() const { return superblock_->fs(); }
  const NodeRef& root() const { return root_; }
  const std::string& source() const { return source_; }
  uint64_t flags() const { return flags_; }  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, ...
  bool read_only() const;

 private:
  friend class MountTree;
  const uint64_t id_;
  const std::shared_ptr<Superblock> superblock_;
  const NodeRef root_;
  const std::string source_;
  const uint64_t flags_;
  std::weak_ptr<Mount> parent_ ABSL_GUARDED_BY(MountTreeMutex());
  NodeRef mountpoint_ ABSL_GUARDED_BY(MountTreeMutex());  // a node of the parent
  std::unordered_map<Node*, MountRef> children_ ABSL_GUARDED_BY(MountTreeMutex());
};

struct Path {
  MountRef mount;
  NodeRef node;
  friend bool operator==(const Path&, const Path&) = default;
};

Path PathOfDentry(const DentryRef& dentry);
DentryRef MakeDentry(const Path& path);

// The relations between mounts.
class MountTree {
 public:
  // The mount that covers `path`, the topmost if several do.
  static Path Cover(Path path);
  // Where the mount of `path` hangs, when `path` is its root; nullopt at the top of the tree.
  static std::optional<Path> Below(const Path& path);
  static bool IsCovered(const Path& path);

  // EBUSY when something covers `at` already (mounts stack only through Cover).
  static Result<void> Attach(const MountRef& mount, const Path& at);
  static bool HasChildren(const MountRef& mount);
  // Takes `mount` and all below it out of the tree.
  static void Detach(const MountRef& mount);
  struct Relation {
    MountRef mount;
    uint64_t parent_id;
  };
  // All mounts from `top` on, parents first.
  static std::vector<Relation> List(const MountRef& top);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_MOUNT_H_
