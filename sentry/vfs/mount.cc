#include "sentry/vfs/mount.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>

namespace ringfence::sentry {
namespace {

uint64_t NextMountId() {
  static std::atomic<uint64_t> next{21};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

absl::Mutex& MountTreeMutex() {
  static absl::Mutex* const mutex = new absl::Mutex;  // never destroyed: used by destructors
  return *mutex;
}

Mount::Mount(std::shared_ptr<Superblock> superblock, NodeRef root, std::string source,
             uint64_t flags)
    : id_(NextMountId()),
      superblock_(std::move(superblock)),
      root_(std::move(root)),
      source_(std::move(source)),
      flags_(flags) {}

bool Mount::read_only() const { return (flags_ & MS_RDONLY) != 0 || fs().read_only(); }

Path PathOfDentry(const DentryRef& dentry) { return Path{dentry->mount(), dentry->node()}; }

DentryRef MakeDentry(const Path& path) { return std::make_shared<Dentry>(path.mount, path.node); }

Path MountTree::Cover(Path path) {
  if (path.node->mounts_here().load(std::memory_order_acquire) == 0) return path;
  absl::ReaderMutexLock lock(&MountTreeMutex());
  for (;;) {
    auto it = path.mount->children_.find(path.node.get());
    if (it == path.mount->children_.end()) return path;
    path = Path{it->second, it->second->root_};
  }
}

bool MountTree::IsCovered(const Path& path) {
  if (path.node->mounts_here().load(std::memory_order_acquire) == 0) return false;
  absl::ReaderMutexLock lock(&MountTreeMutex());
  return path.mount->children_.contains(path.node.get());
}

std::optional<Path> MountTree::Below(const Path& path) {
  absl::ReaderMutexLock lock(&MountTreeMutex());
  MountRef parent = path.mount->parent_.lock();
  if (parent == nullptr) return std::nullopt;
  return Path{std::move(parent), path.mount->mountpoint_};
}

Result<void> MountTree::Attach(const MountRef& mount, const Path& at) {
  at.mount->superblock().Pin(at.node);
  absl::MutexLock lock(&MountTreeMutex());
  auto [it, fresh] = at.mount->children_.emplace(at.node.get(), mount);
  if (!fresh) return Errno::kBUSY;
  mount->parent_ = at.mount;
  mount->mountpoint_ = at.node;
  at.node->mounts_here().fetch_add(1, std::memory_order_release);
  return Ok();
}

bool MountTree::HasChildren(const MountRef& mount) {
  absl::ReaderMutexLock lock(&MountTreeMutex());
  return !mount->children_.empty();
}

void MountTree::Detach(const MountRef& mount) {
  std::vector<MountRef> doomed = {mount};
  std::vector<NodeRef> nodes;  // dropped after the lock, before the mounts
  absl::MutexLock lock(&MountTreeMutex());
  for (size_t i = 0; i < doomed.size(); ++i) {
    for (auto& [node, child] : doomed[i]->children_) doomed.push_back(child);
  }
  for (const MountRef& m : doomed) {
    if (m->mountpoint_ == nullptr) continue;
    if (MountRef parent = m->parent_.lock()) parent->children_.erase(m->mountpoint_.get());
    m->mountpoint_->mounts_here().fetch_sub(1, std::memory_order_release);
    m->parent_.reset();
    nodes.push_back(std::move(m->mountpoint_));
  }
}

std::vector<MountTree::Relation> MountTree::List(const MountRef& top) {
  absl::ReaderMutexLock lock(&MountTreeMutex());
  MountRef above = top->parent_.lock();
  std::vector<Relation> all = {{top, above == nullptr ? top->id_ : above->id_}};
  for (size_t i = 0; i < all.size(); ++i) {
    const MountRef parent = all[i].mount;
    const size_t first = all.size();
    for (auto& [node, child] : parent->children_) all.push_back({child, parent->id_});
    std::sort(all.begin() + static_cast<ptrdiff_t>(first), all.end(),
              [](const Relation& a, const Relation& b) { return a.mount->id_ < b.mount->id_; });
  }
  return all;
}

namespace {

class NamespaceImpl : public MountNamespace {
 public:
  explicit NamespaceImpl(MountRef top) : top_(std::move(top)) {}
  ~NamespaceImpl() override { MountTree::Detach(top_); }

  DentryRef root() override { return MakeDentry(MountTree::Cover(Path{top_, top_->root()})); }

  Result<void> Mount(std::shared_ptr<FileSystem> fs, const DentryRef& target,
                     std::string_view source, uint64_t flags) override {
    if (target->unlinked()) return Errno::kNOENT;
    auto superblock = std::make_shared<Superblock>(std::move(fs));
    const bool on_directory = target->inode()->type() == S_IFDIR;
    if (on_directory != superblock->root()->is_directory()) return Errno::kNOTDIR;
    NodeRef root = superblock->root();
    return MountTree::Attach(std::make_shared<sentry::Mount>(std::move(superblock), std::move(root),
                                                             std::string(source), flags),
                             MountTree::Cover(PathOfDentry(target)));
  }

  Result<void> Unmount(const DentryRef& mount_root, uint32_t flags) override {
    const Path path = MountTree::Cover(PathOfDentry(mount_root));
    if (path.node != path.mount->root() || !MountTree::Below(path)) return Errno::kINVAL;
    if ((flags & MNT_DETACH) == 0 && IsBusy(path.mount, PathOfDentry(mount_root).mount)) {
      return Errno::kBUSY;
    }
    MountTree::Detach(path.mount);
    return Ok();
  }

  std::vector<MountInfo> List(const DentryRef& process_root) override {
    std::vector<MountInfo> infos;
    for (const MountTree::Relation& relation : MountTree::List(top_)) {
      Describe(relation, process_root, &infos);
    }
    return infos;
  }

 private:
  // Files, working directories or other mounts are on it. Counted as Linux counts: what the caller
  // has (`mount` itself, and the dentry `found` it came by) and the tree's own do not count.
  static bool IsBusy(const MountRef& mount, const MountRef& found) {
    const long expected = found == mount ? 4 : 2;
    return MountTree::HasChildren(mount) || mount.use_count() > expected;
  }

  static std::string Options(const sentry::Mount& mount) {
    std::string options = mount.read_only() ? "ro" : "rw";
    if ((mount.flags() & MS_NOSUID) != 0) options += ",nosuid";
    if ((mount.flags() & MS_NODEV) != 0) options += ",nodev";
    if ((mount.flags() & MS_NOEXEC) != 0) options += ",noexec";
    if ((mount.flags() & MS_NOATIME) != 0) options += ",noatime";
    return options;
  }

  static void Describe(const MountTree::Relation& relation, const DentryRef& process_root,
                       std::vector<MountInfo>* infos) {
    const MountRef& mount = relation.mount;
    std::string place = Vfs::PathOf(MakeDentry(Path{mount, mount->root()}), process_root);
    if (place.empty() || place[0] != '/') return;  // not below the process's root
    std::string inner;
    mount->superblock().RelativePath(mount->superblock().root().get(), mount->root().get(), &inner);
    infos->push_back(MountInfo{mount->id(), relation.parent_id, mount->fs().device_id(),
                               "/" + inner, std::move(place), std::string(mount->fs().type()),
                               mount->source(), Options(*mount)});
  }

  const MountRef top_;
};

}  // namespace

std::shared_ptr<MountNamespace> MountNamespace::Create(std::shared_ptr<FileSystem> fs,
                                                       std::string_view source, uint64_t flags) {
  auto superblock = std::make_shared<Superblock>(std::move(fs));
  NodeRef root = superblock->root();
  return std::make_shared<NamespaceImpl>(std::make_shared<sentry::Mount>(
      std::move(superblock), std::move(root), std::string(source), flags));
}

}  // namespace ringfence::sentry
