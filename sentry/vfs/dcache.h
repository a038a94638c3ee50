// The dentry cache: names of a file system and the inodes behind them (Linux's dcache).
//
// A Node is a name below a parent node. A Superblock owns the nodes of one mounted file system,
// whatever number of mounts shows it. Children are cached in their parent: positive ones and, where
// the directory's inode says CacheLookups(), negative ones; directories that do not say so are
// asked every time and their children live as long as somebody holds them (except mount points).
// The cache is bounded: beyond kMaxCached nodes, those nobody holds and nobody used lately go.
//
// Locks: Superblock::tree_mutex_ guards the shape of the tree (short, never held across an inode
// call); Node::change_mutex_ of a directory serialises changes of it and is held across inode
// calls. Order: Superblock::rename_mutex_, change mutexes (ancestors first), tree_mutex_.
#ifndef RINGFENCE_SENTRY_VFS_DCACHE_H_
#define RINGFENCE_SENTRY_VFS_DCACHE_H_

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class Superblock;

class Node : public std::enable_shared_from_this<Node> {
 public:
  // Use Superblock. `inode` is null for a negative node.
  Node(Superblock* superblock, NodeRef parent, std::string name, InodeRef inode);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const InodeRef& inode() const { return inode_; }
  Superblock* superblock() const { return superblock_; }
  bool is_root() const;
  bool is_directory() const;
  // How many mounts cover this node, in any namespace (a hint for path walking).
  std::atomic<uint32_t>& mounts_here() { return mounts_here_; }

 private:
  friend class Superblock;
  friend class DirectoryLock;
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  using Children = std::unordered_map<std::string, NodeRef, NameHash, std::equal_to<>>;

  Superblock* const superblock_;
  const InodeRef inode_;
  std::atomic<uint32_t> mounts_here_{0};
  std::atomic<bool> used_{true};  // since the eviction hand went by
  absl::Mutex change_mutex_;
  // Guarded by superblock_->tree_mutex_.
  NodeRef parent_;  // null at the root
  std::string name_;
  Children children_;
  uint64_t generation_ = 0;  // changes of the directory that the cache knows of
  bool unlinked_ = false;
  bool cached_ = false;  // in its parent's children_ and in clock_
  std::list<Node*>::iterator clock_position_;
};

// Holds the change mutexes of one directory, or more for rename. On a service thread a mutex that
// is taken is not waited for: Acquire gives kWOULDBLOCK_RETRY_ON_TASK.
class DirectoryLock {
 public:
  DirectoryLock() = default;
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  Result<void> Acquire(const CallContext& ctx, const NodeRef& directory);

 private:
  std::vector<NodeRef> held_;  // released in reverse order
};

class Superblock {
 public:
  static constexpr size_t kMaxCached = 32768;

  explicit Superblock(std::shared_ptr<FileSystem> fs, size_t max_cached = kMaxCached);
  ~Superblock();
  FileSystem& fs() const { return *fs_; }
  const NodeRef& root() const { return root_; }

  // The child of `directory`, from the cache or from its inode. ENOENT.
  Result<NodeRef> Lookup(const CallContext& ctx, const NodeRef& directory, std::string_view name,
                         LookupUse use = LookupUse::kReach);

  // What the VFS did to the file system; the caller holds the directories' change mutexes.
  NodeRef Added(const NodeRef& directory, std::string_view name, const InodeRef& inode);
  void Removed(const NodeRef& node);
  // `replaced` may be null.
  void Moved(const NodeRef& node, const NodeRef& replaced, const NodeRef& directory,
             std::string_view name);
  void Exchanged(const NodeRef& a, const NodeRef& b);
  // A node for an inode without a name (O_TMPFILE).
  NodeRef MakeUnlinked(const NodeRef& directory, const InodeRef& inode);

  NodeRef ParentOf(const Node& node) const;  // null at the root
  std::string NameOf(const Node& node) const;
  bool IsUnlinked(const Node& node) const;
  bool IsAncestor(const Node* ancestor, const Node* node) const;  // or equal
  // "a/b/c" from `top` down to `node`, "" for `top` itself; false when `top` is not above.
  bool RelativePath(const Node* top, const Node* node, std::string* path) const;
  // Keeps a mount point in the cache, also below a directory that does not cache.
  void Pin(const NodeRef& node);

  size_t cached() const;
  absl::Mutex& rename_mutex() ABSL_LOCK_RETURNED(rename_mutex_) { return rename_mutex_; }

 private:
  NodeRef FindLocked(Node& directory, std::string_view name) const
      ABSL_SHARED_LOCKS_REQUIRED(tree_mutex_);
  // Caches a node that is not. Returns the one that had its name, to be dropped after the lock.
  [[nodiscard]] NodeRef InsertLocked(const NodeRef& node)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(tree_mutex_);
  NodeRef DetachLocked(Node& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(tree_mutex_);
  void EvictLocked(std::vector<NodeRef>* evicted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(tree_mutex_);
  Result<NodeRef> LookupOnce(const CallContext& ctx, const NodeRef& directory,
                             std::string_view name, LookupUse use, bool* raced);
  // Enters what the directory's inode said in place of `asked`, which was there when it was asked;
  // returns the node that counts.
  NodeRef EnterLocked(NodeRef child, const NodeRef& asked, std::vector<NodeRef>* dropped)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(tree_mutex_);

  const std::shared_ptr<FileSystem> fs_;
  const size_t max_cached_;
  absl::Mutex rename_mutex_;
  mutable absl::Mutex tree_mutex_ ABSL_ACQUIRED_AFTER(rename_mutex_);
  std::list<Node*> clock_ ABSL_GUARDED_BY(tree_mutex_);  // cached nodes; the hand is the front
  NodeRef root_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_DCACHE_H_
