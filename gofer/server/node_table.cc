#include "gofer/server/node_table.h"

#include <sys/stat.h>

#include <utility>
#include <vector>

#include "gofer/server/beneath.h"

namespace ringfence::gofer {

TreeNode::TreeNode(NodeTable* table, Place place, uint32_t tree, Identity identity,
                   bool on_kernel_fs)
    : table_(table),
      tree_(tree),
      identity_(identity),
      on_kernel_fs_(on_kernel_fs),
      place_(std::move(place)) {}

TreeNode::~TreeNode() {
  table_->Forget(this);
  // A chain of parents ends here one by one: recursion would be as deep as the host's tree.
  TreeNodeRef parent = std::move(place_.parent);
  while (parent != nullptr && parent.use_count() == 1) {
    parent = std::exchange(parent->place_.parent, nullptr);
  }
}

bool TreeNode::is_directory() const { return S_ISDIR(identity_.type); }

TreeNodeRef NodeTable::MakeRoot(uint32_t tree, UniqueFd fd, const Attributes& attr,
                                bool on_kernel_fs) {
  node_count_.fetch_add(1, std::memory_order_relaxed);
  auto root =
      std::make_shared<TreeNode>(this, TreeNode::Place{}, tree, Identity::Of(attr), on_kernel_fs);
  absl::MutexLock lock(&mutex_);
  root->fd_ = std::make_shared<const UniqueFd>(std::move(fd));
  return root;
}

Result<TreeNodeRef> NodeTable::Make(TreeNodeRef parent, std::string name, const Attributes& attr,
                                    bool on_kernel_fs, UniqueFd fd) {
  if (node_count_.fetch_add(1, std::memory_order_relaxed) >= limits_.nodes) {
    node_count_.fetch_sub(1, std::memory_order_relaxed);
    return Errno::kNFILE;
  }
  const uint32_t tree = parent->tree();
  auto node = std::make_shared<TreeNode>(this, TreeNode::Place{std::move(parent), std::move(name)},
                                         tree, Identity::Of(attr), on_kernel_fs);
  if (!fd.valid()) return node;
  auto path_fd = std::make_shared<const UniqueFd>(std::move(fd));
  PathFd dropped;
  absl::MutexLock lock(&mutex_);
  dropped = StoreLocked(node.get(), std::move(path_fd));
  return node;
}

void NodeTable::Relink(const TreeNodeRef& node, const TreeNodeRef& parent, std::string name) {
  TreeNode::Place old;  // destroyed after the lock: its destructor takes it
  absl::MutexLock lock(&mutex_);
  if (node->place_.parent == nullptr) return;
  for (const TreeNode* at = parent.get(); at != nullptr; at = at->place_.parent.get()) {
    if (at == node.get()) return;
  }
  old = std::exchange(node->place_, TreeNode::Place{parent, std::move(name)});
}

NodeId NodeTable::Publish(TreeNodeRef node) {
  absl::MutexLock lock(&mutex_);
  const NodeId id = next_id_++;
  ids_.emplace(id, std::move(node));
  return id;
}

Result<TreeNodeRef> NodeTable::Find(NodeId id) {
  absl::MutexLock lock(&mutex_);
  const auto found = ids_.find(id);
  if (found == ids_.end()) return Errno::kINVAL;
  return found->second;
}

Result<void> NodeTable::Close(NodeId id) {
  TreeNodeRef closed;  // destroyed after the lock: its destructor takes it
  absl::MutexLock lock(&mutex_);
  const auto found = ids_.find(id);
  if (found == ids_.end()) return Errno::kINVAL;
  closed = std::move(found->second);
  ids_.erase(found);
  return Ok();
}

Result<PathFd> NodeTable::Descriptor(const TreeNodeRef& node) {
  struct Missing {
    TreeNodeRef node;
    std::string name;
  };
  std::vector<Missing> missing;
  PathFd fd;
  {
    absl::MutexLock lock(&mutex_);
    for (TreeNodeRef at = node; (fd = CachedLocked(at.get())) == nullptr; at = at->place_.parent) {
      missing.push_back({at, at->place_.name});
    }
  }
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    fd = TRY(Reopen(it->node, it->name, fd->get()));
  }
  return fd;
}

size_t NodeTable::descriptor_count() {
  absl::MutexLock lock(&mutex_);
  return lru_.size();
}

void NodeTable::Forget(TreeNode* node) {
  PathFd dropped;
  absl::MutexLock lock(&mutex_);
  if (node->in_lru_) lru_.erase(node->lru_position_);
  dropped = std::move(node->fd_);
  node_count_.fetch_sub(1, std::memory_order_relaxed);
}

PathFd NodeTable::CachedLocked(TreeNode* node) {
  if (node->fd_ == nullptr) return nullptr;
  if (node->in_lru_) lru_.splice(lru_.begin(), lru_, node->lru_position_);
  return node->fd_;
}

PathFd NodeTable::StoreLocked(TreeNode* node, PathFd fd) {
  if (node->fd_ != nullptr) return fd;  // another thread was faster
  node->fd_ = std::move(fd);
  lru_.push_front(node);
  node->lru_position_ = lru_.begin();
  node->in_lru_ = true;
  if (lru_.size() <= limits_.descriptors) return nullptr;
  TreeNode* victim = lru_.back();
  lru_.pop_back();
  victim->in_lru_ = false;
  return std::exchange(victim->fd_, nullptr);
}

Result<PathFd> NodeTable::Reopen(const TreeNodeRef& node, const std::string& name, int directory) {
  // Without a name (O_TMPFILE) there is no way back to it.
  if (name.empty()) return Errno::kSTALE;
  Result<UniqueFd> opened = OpenPath(directory, name);
  if (!opened.ok()) {
    const bool gone = opened.error() == Errno::kNOENT || opened.error() == Errno::kNOTDIR;
    return gone ? Errno::kSTALE : opened.error();
  }
  const Attributes attr = TRY(StatPath(opened->get()));
  if (!(Identity::Of(attr) == node->identity_)) return Errno::kSTALE;
  auto fd = std::make_shared<const UniqueFd>(std::move(*opened));
  PathFd dropped;
  absl::MutexLock lock(&mutex_);
  dropped = StoreLocked(node.get(), fd);
  return fd;
}

}  // namespace ringfence::gofer
