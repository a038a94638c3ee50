#include "sentry/vfs/dcache.h"

#include <sys/stat.h>

namespace ringfence::sentry {
namespace {
// How often a lookup that races with changes tries again before it locks the directory.
constexpr int kOptimisticLookups = 4;
// How many nodes the eviction hand passes for each insertion beyond the bound.
constexpr int kEvictionSteps = 32;
}  // namespace

Node::Node(Superblock* superblock, NodeRef parent, std::string name, InodeRef inode)
    : superblock_(superblock),
      inode_(std::move(inode)),
      parent_(std::move(parent)),
      name_(std::move(name)) {}

Node::~Node() {
  // A path can be a million names deep: give the parents back one by one, not by recursion.
  NodeRef parent = std::move(parent_);
  while (parent != nullptr && parent.use_count() == 1) {
    NodeRef next = std::move(parent->parent_);
    parent = std::move(next);
  }
}

bool Node::is_root() const { return superblock_->root().get() == this; }
bool Node::is_directory() const { return inode_ != nullptr && inode_->type() == S_IFDIR; }

DirectoryLock::~DirectoryLock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (auto it = held_.rbegin(); it != held_.rend(); ++it) (*it)->change_mutex_.Unlock();
}

Result<void> DirectoryLock::Acquire(const CallContext& ctx,
                                    const NodeRef& directory) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (!directory->change_mutex_.TryLock()) {
    TRY(ctx.RequireBlocking());
    directory->change_mutex_.Lock();
  }
  held_.push_back(directory);
  return Ok();
}

Superblock::Superblock(std::shared_ptr<FileSystem> fs, size_t max_cached)
    : fs_(std::move(fs)),
      max_cached_(max_cached),
      root_(std::make_shared<Node>(this, nullptr, "", fs_->root())) {}

Superblock::~Superblock() {
  // Parents hold children and children hold parents: cut the first, then let go.
  std::vector<NodeRef> nodes;
  absl::MutexLock lock(&tree_mutex_);
  while (!clock_.empty()) nodes.push_back(DetachLocked(*clock_.front()));
}

NodeRef Superblock::FindLocked(Node& directory, std::string_view name) const {
  auto it = directory.children_.find(name);
  return it == directory.children_.end() ? nullptr : it->second;
}

NodeRef Superblock::InsertLocked(const NodeRef& node) {
  NodeRef displaced = FindLocked(*node->parent_, node->name_);
  if (displaced != nullptr) DetachLocked(*displaced);
  node->parent_->children_.emplace(node->name_, node);
  node->cached_ = true;
  node->clock_position_ = clock_.insert(clock_.end(), node.get());
  return displaced;
}

NodeRef Superblock::DetachLocked(Node& node) {
  NodeRef self = node.shared_from_this();
  if (node.cached_) {
    node.parent_->children_.erase(node.name_);
    clock_.erase(node.clock_position_);
    node.cached_ = false;
  }
  return self;
}

void Superblock::EvictLocked(std::vector<NodeRef>* evicted) {
  for (int step = 0; step < kEvictionSteps && clock_.size() > max_cached_; ++step) {
    Node* node = clock_.front();
    // References are only made under tree_mutex_ from what the cache holds, so a count of one
    // (the parent's map) stays one.
    const bool idle = node->weak_from_this().use_count() == 1;
    if (idle && !node->used_.exchange(false, std::memory_order_relaxed)) {
      evicted->push_back(DetachLocked(*node));
    } else {
      clock_.splice(clock_.end(), clock_, clock_.begin());
    }
  }
}

Result<NodeRef> Superblock::Lookup(const CallContext& ctx, const NodeRef& directory,
                                   std::string_view name, LookupUse use) {
  for (int attempt = 0; attempt < kOptimisticLookups; ++attempt) {
    bool raced = false;
    Result<NodeRef> found = LookupOnce(ctx, directory, name, use, &raced);
    if (!raced) return found;
  }
  DirectoryLock lock;
  TRY(lock.Acquire(ctx, directory));
  bool raced = false;
  return LookupOnce(ctx, directory, name, use, &raced);
}

Result<NodeRef> Superblock::LookupOnce(const CallContext& ctx, const NodeRef& directory,
                                       std::string_view name, LookupUse use, bool* raced) {
  uint64_t generation;
  NodeRef known;
  {
    absl::ReaderMutexLock lock(&tree_mutex_);
    known = FindLocked(*directory, name);
    if (known == nullptr && directory->unlinked_) return Errno::kNOENT;
    generation = directory->generation_;
  }
  if (known != nullptr && directory->inode()->LookupHolds(known->inode().get(), use)) {
    known->used_.store(true, std::memory_order_relaxed);
    if (known->inode() == nullptr) return Errno::kNOENT;
    return known;
  }
  const bool cache = directory->inode()->CacheLookups();
  InodeRef inode;
  Result<InodeRef> answer = directory->inode()->Lookup(ctx, name);
  if (answer.ok()) {
    inode = std::move(answer).value();
  } else if (answer.error() != Errno::kNOENT || !cache) {
    return answer.error();
  }
  auto child = std::make_shared<Node>(this, directory, std::string(name), inode);
  if (!cache) return child;
  std::vector<NodeRef> dropped;  // after the lock
  absl::MutexLock lock(&tree_mutex_);
  if (directory->generation_ != generation) {
    *raced = true;
    return Errno::kNOENT;
  }
  child = EnterLocked(std::move(child), known, &dropped);
  if (child->inode() == nullptr) return Errno::kNOENT;
  return child;
}

NodeRef Superblock::EnterLocked(NodeRef child, const NodeRef& asked,
                                std::vector<NodeRef>* dropped) {
  if (NodeRef other = FindLocked(*child->parent_, child->name_)) {
    const bool replaces = other == asked && other->inode() != child->inode() &&
                          other->mounts_here().load(std::memory_order_acquire) == 0;
    if (!replaces) {
      dropped->push_back(std::move(child));
      return other;
    }
    // Somebody outside removed or replaced it.
    ++child->parent_->generation_;
    other->unlinked_ = other->inode() != nullptr;
  }
  dropped->push_back(InsertLocked(child));
  EvictLocked(dropped);
  return child;
}

NodeRef Superblock::Added(const NodeRef& directory, std::string_view name, const InodeRef& inode) {
  NodeRef stale;
  std::vector<NodeRef> evicted;
  absl::MutexLock lock(&tree_mutex_);
  ++directory->generation_;
  NodeRef known = FindLocked(*directory, name);
  if (known != nullptr && known->inode() == inode) return known;
  if (known != nullptr) stale = DetachLocked(*known);
  auto node = std::make_shared<Node>(this, directory, std::string(name), inode);
  if (directory->inode()->CacheLookups()) evicted.push_back(InsertLocked(node));
  EvictLocked(&evicted);
  return node;
}

void Superblock::Removed(const NodeRef& node) {
  absl::MutexLock lock(&tree_mutex_);
  ++node->parent_->generation_;
  DetachLocked(*node);
  node->unlinked_ = true;
}

void Superblock::Moved(const NodeRef& node, const NodeRef& replaced, const NodeRef& directory,
                       std::string_view name) {
  NodeRef old_parent, stale;  // dropped after the lock
  absl::MutexLock lock(&tree_mutex_);
  ++node->parent_->generation_;
  ++directory->generation_;
  if (replaced != nullptr) {
    DetachLocked(*replaced);
    replaced->unlinked_ = true;
  }
  DetachLocked(*node);
  old_parent = std::exchange(node->parent_, directory);
  node->name_ = std::string(name);
  stale = InsertLocked(node);
}

void Superblock::Exchanged(const NodeRef& a, const NodeRef& b) {
  NodeRef stale_a, stale_b;  // dropped after the lock
  absl::MutexLock lock(&tree_mutex_);
  ++a->parent_->generation_;
  ++b->parent_->generation_;
  DetachLocked(*a);
  DetachLocked(*b);
  std::swap(a->parent_, b->parent_);
  std::swap(a->name_, b->name_);
  stale_a = InsertLocked(a);
  stale_b = InsertLocked(b);
}

NodeRef Superblock::MakeUnlinked(const NodeRef& directory, const InodeRef& inode) {
  auto node = std::make_shared<Node>(this, directory, "#unnamed", inode);
  node->unlinked_ = true;
  return node;
}

NodeRef Superblock::ParentOf(const Node& node) const {
  absl::ReaderMutexLock lock(&tree_mutex_);
  return node.parent_;
}

std::string Superblock::NameOf(const Node& node) const {
  absl::ReaderMutexLock lock(&tree_mutex_);
  return node.name_;
}

bool Superblock::IsUnlinked(const Node& node) const {
  absl::ReaderMutexLock lock(&tree_mutex_);
  return node.unlinked_;
}

bool Superblock::IsAncestor(const Node* ancestor, const Node* node) const {
  absl::ReaderMutexLock lock(&tree_mutex_);
  while (node != nullptr && node != ancestor) node = node->parent_.get();
  return node != nullptr;
}

bool Superblock::RelativePath(const Node* top, const Node* node, std::string* path) const {
  absl::ReaderMutexLock lock(&tree_mutex_);
  std::vector<const std::string*> names;
  size_t bytes = 0;
  for (; node != nullptr && node != top; node = node->parent_.get()) {
    names.push_back(&node->name_);
    bytes += node->name_.size() + 1;
  }
  if (node == nullptr) return false;
  path->clear();
  path->reserve(bytes);
  for (auto it = names.rbegin(); it != names.rend(); ++it) {
    if (!path->empty()) *path += '/';
    *path += **it;
  }
  return true;
}

void Superblock::Pin(const NodeRef& node) {
  NodeRef stale;
  absl::MutexLock lock(&tree_mutex_);
  if (node->cached_ || node->unlinked_ || node->parent_ == nullptr) return;
  stale = InsertLocked(node);
}

size_t Superblock::cached() const {
  absl::ReaderMutexLock lock(&tree_mutex_);
  return clock_.size();
}

}  // namespace ringfence::sentry
