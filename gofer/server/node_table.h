// The nodes a sentry holds: from ids to objects of the host, bounded in number and in descriptors.
//
// A node remembers where it was found (its directory's node and its name) and what was found
// (device, inode, birth time), and usually keeps an O_PATH descriptor. Descriptors are a cache: the
// least recently used are closed when there are too many, and a node without one is found again by
// its name; if that is not the same object any more, the node is stale (ESTALE).
//
// A node that was given back lives on while nodes below it do. All of them count.
//
// All trees of a gofer have their nodes here; each node knows which tree it is in.
//
// Threads: any.
#ifndef RINGFENCE_GOFER_SERVER_NODE_TABLE_H_
#define RINGFENCE_GOFER_SERVER_NODE_TABLE_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/client/client.h"
#include "gofer/server/beneath.h"
#include "platform/base/result.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

struct NodeTableLimits {
  size_t nodes = 512 * 1024;
  size_t descriptors = 512;
};

class NodeTable;
class TreeNode;
using TreeNodeRef = std::shared_ptr<TreeNode>;
// An O_PATH descriptor; stays open while referred to, also when the cache drops it.
using PathFd = std::shared_ptr<const UniqueFd>;

class TreeNode {
 public:
  struct Place {
    TreeNodeRef parent;  // null: a root
    std::string name;
  };
  TreeNode(NodeTable* table, Place place, uint32_t tree, Identity identity, bool on_kernel_fs);
  ~TreeNode();
  TreeNode(const TreeNode&) = delete;
  TreeNode& operator=(const TreeNode&) = delete;

  const Identity& identity() const { return identity_; }
  bool is_directory() const;
  uint32_t tree() const { return tree_; }
  // See IsOnKernelFileSystem in beneath.h.
  bool on_kernel_fs() const { return on_kernel_fs_; }

 private:
  friend class NodeTable;
  NodeTable* const table_;
  const uint32_t tree_;
  const Identity identity_;
  const bool on_kernel_fs_;
  // Guarded by the table's mutex; the annotation cannot name another object's member.
  Place place_;
  PathFd fd_;
  bool in_lru_ = false;
  std::list<TreeNode*>::iterator lru_position_;  // valid while in_lru_
};

class NodeTable {
 public:
  explicit NodeTable(NodeTableLimits limits) : limits_(limits) {}

  // The root of tree number `tree`, whose descriptor is never dropped.
  TreeNodeRef MakeRoot(uint32_t tree, UniqueFd fd, const Attributes& attr, bool on_kernel_fs);

  // A node below `parent`. `fd` may be none. ENFILE at the limit.
  Result<TreeNodeRef> Make(TreeNodeRef parent, std::string name, const Attributes& attr,
                           bool on_kernel_fs, UniqueFd fd);

  // `node` was renamed: it is now `name` in `parent`. Nothing happens where that cannot be (the
  // host moved directories meanwhile and `parent` is known to be below `node`, or `node` is a
  // root).
  void Relink(const TreeNodeRef& node, const TreeNodeRef& parent, std::string name);

  // Gives `node` an id for the sentry.
  NodeId Publish(TreeNodeRef node);
  // EINVAL for an id that is not published.
  Result<TreeNodeRef> Find(NodeId id);
  Result<void> Close(NodeId id);

  // A descriptor of the node, opened anew if need be. ESTALE, or the errno of the host.
  Result<PathFd> Descriptor(const TreeNodeRef& node);

  size_t node_count() const { return node_count_.load(std::memory_order_relaxed); }
  size_t descriptor_count();

 private:
  friend class TreeNode;
  void Forget(TreeNode* node);
  PathFd CachedLocked(TreeNode* node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Stores `fd` in the node and returns what falls out of the cache, to be closed unlocked.
  PathFd StoreLocked(TreeNode* node, PathFd fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<PathFd> Reopen(const TreeNodeRef& node, const std::string& name, int directory);

  const NodeTableLimits limits_;
  std::atomic<size_t> node_count_ = 0;
  absl::Mutex mutex_;
  // Declared before the ids: nodes leave the list when the map is destroyed.
  std::list<TreeNode*> lru_ ABSL_GUARDED_BY(mutex_);  // front: most recently used
  NodeId next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::unordered_map<NodeId, TreeNodeRef> ids_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_NODE_TABLE_H_
