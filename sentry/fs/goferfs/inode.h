// The inodes of goferfs; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_
#define RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_

#include <sys/stat.h>

#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/goferfs/read_ahead.h"
#include "sentry/vfs/directory_file.h"

namespace ringfence::sentry {

// Owns a node id of the gofer.
class NodeHandle {
 public:
  NodeHandle(std::shared_ptr<gofer::Client> client, gofer::NodeId id, bool owned)
      : client_(std::move(client)), id_(id), owned_(owned) {}
  ~NodeHandle() {
    if (owned_) client_->Close(std::span<const gofer::NodeId>(&id_, 1));
  }
  NodeHandle(const NodeHandle&) = delete;
  NodeHandle& operator=(const NodeHandle&) = delete;
  gofer::NodeId id() const { return id_; }

 private:
  const std::shared_ptr<gofer::Client> client_;
  const gofer::NodeId id_;
  const bool owned_;  // the root is never closed
};
using NodeHandleRef = std::shared_ptr<const NodeHandle>;

class GoferDirectory;
class GoferRegular;

// What all inodes share; outlives the file system while one of them is open or mapped.
struct GoferState {
  explicit GoferState(const GoferFs::Options& o)
      : options(o), read_ahead(o.max_listed_entries / 8) {}
  const GoferFs::Options options;
  ReadAhead read_ahead;
  gofer::Client& client() const { return *options.client; }
  // st_dev of the sandbox for one of the host.
  uint64_t DeviceFor(uint64_t host_device);

  absl::Mutex mutex;
  std::map<uint64_t, uint64_t> devices ABSL_GUARDED_BY(mutex);
  std::list<GoferRegular*> with_descriptor ABSL_GUARDED_BY(mutex);  // front: used last
  std::list<GoferDirectory*> with_listing ABSL_GUARDED_BY(mutex);   // front: used last
  size_t listed_entries ABSL_GUARDED_BY(mutex) = 0;
};

class GoferInode : public Inode {
 public:
  // Where an inode without a node yet was seen.
  struct Place {
    std::shared_ptr<GoferDirectory> directory;
    std::string name;
  };
  struct Init {
    FileSystem* fs;
    std::shared_ptr<GoferState> state;
    gofer::Attributes attr;
    std::string target;  // of a symlink, if known
    NodeHandleRef node;  // or
    std::optional<Place> place;
  };
  explicit GoferInode(Init init);

  static InodeRef Make(Init init);
  Result<Attributes> GetAttr(const CallContext& ctx) override;
  Result<void> SetAttr(const CallContext&, const SetAttrRequest&) override { return Errno::kROFS; }
  uint32_t type() const override { return type_; }
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kNXIO; }

 protected:
  // The gofer's node, asked for if need be, along with those of the directories above that have
  // none. ESTALE when something else is there now.
  Result<NodeHandleRef> EnsureNode(const CallContext& ctx);
  NodeHandleRef KnownNode() const;
  // Null: it has a node.
  const Place* place() const { return place_ ? &*place_ : nullptr; }
  bool IsSame(const gofer::Attributes& attr) const {
    return attr.dev == attr_.dev && attr.ino == attr_.ino && (attr.mode & S_IFMT) == type_;
  }

  const std::shared_ptr<GoferState> state_;
  const uint32_t type_;
  const gofer::Attributes attr_;
  const uint64_t device_;
  mutable absl::Mutex mutex_;

 private:
  // Keeps the first that is set.
  NodeHandleRef SetNode(NodeHandleRef node);

  NodeHandleRef node_ ABSL_GUARDED_BY(mutex_);
  const std::optional<Place> place_;
};

class GoferDirectory : public GoferInode {
 public:
  explicit GoferDirectory(Init init) : GoferInode(std::move(init)) {}
  ~GoferDirectory() override;
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  Result<InodeRef> Lookup(const CallContext& ctx, std::string_view name) override;

  Result<ListingRef> GetListing(const CallContext& ctx);
  using GoferInode::EnsureNode;
  Result<gofer::FsAttributes> StatFs(const CallContext& ctx);

 private:
  ListingRef KnownListing();
  // Called when subdirectory `name` is listed; returns the one before.
  std::string NoteListed(const std::string& name);
  // Along with others, if this looks like a walk through a tree; null if that did not bring it.
  Result<ListingRef> FetchAhead(const CallContext& ctx);
  Result<ListingRef> Fetch(const CallContext& ctx);
  void Keep(const ListingRef& listing);

  std::string listed_child_ ABSL_GUARDED_BY(mutex_);  // the latest
  ListingRef listing_ ABSL_GUARDED_BY(state_->mutex);
  std::list<GoferDirectory*>::iterator position_ ABSL_GUARDED_BY(state_->mutex);
};

class GoferRegular : public GoferInode {
 public:
  explicit GoferRegular(Init init) : GoferInode(std::move(init)) {}
  ~GoferRegular() override;
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;

  using Descriptor = std::shared_ptr<const UniqueFd>;
  Result<Descriptor> Acquire(const CallContext& ctx);
  Result<MappableRef> GetMappable(const CallContext& ctx, std::string name);

 private:
  Result<gofer::OpenedFile> OpenOnHost(const CallContext& ctx);
  void Keep(Descriptor descriptor);

  Descriptor descriptor_ ABSL_GUARDED_BY(state_->mutex);
  std::list<GoferRegular*>::iterator position_ ABSL_GUARDED_BY(state_->mutex);
  std::shared_ptr<FdPages> pages_ ABSL_GUARDED_BY(mutex_);
};

class GoferSymlink : public GoferInode {
 public:
  explicit GoferSymlink(Init init);
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kLOOP; }
  Result<std::string> ReadLink(const CallContext& ctx) override;

 private:
  std::string target_ ABSL_GUARDED_BY(mutex_);  // "": not known yet
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_
