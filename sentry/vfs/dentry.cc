// Dentry, PathOf and FsContext.
#include <atomic>

#include "sentry/vfs/mount.h"

namespace ringfence::sentry {
namespace {

// Holds inodes that are nowhere in a tree, as Linux's internal mounts do.
class DetachedFs : public FileSystem {
 public:
  class Root : public Inode {
   public:
    explicit Root(FileSystem* fs) : Inode(fs) {}
    Result<Attributes> GetAttr(const CallContext&) override { return Errno::kNOENT; }
    uint32_t type() const override { return 0; }
    Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kNXIO; }
  };
  std::string_view type() const override { return "anon_inodefs"; }
  InodeRef root() override { return root_; }
  Result<FsAttributes> StatFs(const CallContext&) override {
    FsAttributes attributes;
    attributes.type = 0x09041934;  // ANON_INODE_FS_MAGIC
    return attributes;
  }

 private:
  InodeRef root_ = std::make_shared<Root>(this);
};

const MountRef& DetachedMount() {
  static const MountRef* const mount = [] {
    auto superblock = std::make_shared<Superblock>(std::make_shared<DetachedFs>());
    NodeRef root = superblock->root();
    return new MountRef(std::make_shared<Mount>(std::move(superblock), std::move(root), "none", 0));
  }();
  return *mount;
}

// The way from the top of the mount tree, or from `root` if that is above.
struct Climb {
  std::string path;
  bool reached_root = false;
};

Climb ClimbTo(Path from, const Path& root) {
  Climb climb;
  for (;;) {
    const bool same_mount = from.mount == root.mount;
    std::string part;
    if (same_mount &&
        from.mount->superblock().RelativePath(root.node.get(), from.node.get(), &part)) {
      climb.reached_root = true;
    } else {
      from.mount->superblock().RelativePath(from.mount->root().get(), from.node.get(), &part);
    }
    if (!part.empty()) climb.path.insert(0, part).insert(0, 1, '/');
    if (climb.reached_root) break;
    std::optional<Path> below = MountTree::Below(from);
    if (!below) break;
    from = *below;
  }
  if (climb.path.empty()) climb.path.push_back('/');
  return climb;
}

}  // namespace

Dentry::Dentry(MountRef mount, NodeRef node) : mount_(std::move(mount)), node_(std::move(node)) {}
Dentry::~Dentry() = default;

const InodeRef& Dentry::inode() const { return node_->inode(); }

DentryRef Dentry::parent() const {
  NodeRef up = node_ == mount_->root() ? node_ : mount_->superblock().ParentOf(*node_);
  return std::make_shared<Dentry>(mount_, up == nullptr ? node_ : up);
}

std::string Dentry::name() const { return mount_->superblock().NameOf(*node_); }
bool Dentry::unlinked() const { return mount_->superblock().IsUnlinked(*node_); }

DentryRef Dentry::MakeDetached(InodeRef inode, std::string name) {
  const MountRef& mount = DetachedMount();
  auto node =
      std::make_shared<Node>(&mount->superblock(), nullptr, std::move(name), std::move(inode));
  return std::make_shared<Dentry>(mount, std::move(node));
}

bool SamePlace(const DentryRef& a, const DentryRef& b) {
  return a->mount() == b->mount() && a->node() == b->node();
}

std::string Vfs::PathOf(const DentryRef& dentry, const DentryRef& root) {
  if (dentry->mount() == DetachedMount()) return dentry->name();
  Climb climb = ClimbTo(PathOfDentry(dentry), PathOfDentry(root));
  if (!climb.reached_root) climb.path.insert(0, "(unreachable)");
  if (dentry->unlinked()) climb.path += " (deleted)";
  return climb.path;
}

std::string Vfs::AbsolutePathOf(const DentryRef& dentry) {
  if (dentry->mount() == DetachedMount()) return dentry->name();
  std::string path = ClimbTo(PathOfDentry(dentry), Path{}).path;
  if (dentry->unlinked()) path += " (deleted)";
  return path;
}

DentryRef FsContext::root() const {
  absl::ReaderMutexLock lock(&mutex_);
  return root_;
}

DentryRef FsContext::cwd() const {
  absl::ReaderMutexLock lock(&mutex_);
  return cwd_;
}

uint32_t FsContext::umask() const {
  absl::ReaderMutexLock lock(&mutex_);
  return umask_;
}

void FsContext::SetRoot(DentryRef root) {
  absl::MutexLock lock(&mutex_);
  root_.swap(root);
}

void FsContext::SetCwd(DentryRef cwd) {
  absl::MutexLock lock(&mutex_);
  cwd_.swap(cwd);
}

uint32_t FsContext::SetUmask(uint32_t umask) {
  absl::MutexLock lock(&mutex_);
  return std::exchange(umask_, umask & 0777);
}

std::shared_ptr<FsContext> FsContext::Clone() const {
  absl::ReaderMutexLock lock(&mutex_);
  return std::make_shared<FsContext>(root_, cwd_, umask_);
}

}  // namespace ringfence::sentry
