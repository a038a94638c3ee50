// The inodes of goferfs; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_
#define RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_

#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "sentry/fs/goferfs/goferfs.h"
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

// All entries of a directory, in the order of the host.
struct Listing {
  std::vector<gofer::DirectoryEntry> entries;
  std::unordered_map<std::string_view, size_t> by_name;
};
using ListingRef = std::shared_ptr<const Listing>;

class GoferDirectory;
class GoferRegular;

// What all inodes share; outlives the file system while one of them is open or mapped.
struct GoferState {
  GoferFs::Options options;
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
  // The gofer's node, asked for if need be. ESTALE when something else is there now.
  Result<NodeHandleRef> EnsureNode(const CallContext& ctx);

  const std::shared_ptr<GoferState> state_;
  const uint32_t type_;
  const gofer::Attributes attr_;
  const uint64_t device_;
  mutable absl::Mutex mutex_;

 private:
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
  // One component, from the gofer.
  Result<gofer::Node> Walk(const CallContext& ctx, std::string_view name);
  Result<gofer::FsAttributes> StatFs(const CallContext& ctx);

 private:
  ListingRef KnownListing();
  Result<ListingRef> Fetch(const CallContext& ctx);
  void Keep(const ListingRef& listing);

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
  void Keep(Descriptor descriptor);

  Descriptor descriptor_ ABSL_GUARDED_BY(state_->mutex);
  std::list<GoferRegular*>::iterator position_ ABSL_GUARDED_BY(state_->mutex);
  std::shared_ptr<FdPages> pages_ ABSL_GUARDED_BY(mutex_);
};

class GoferSymlink : public GoferInode {
 public:
  explicit GoferSymlink(Init init) : GoferInode(std::move(init)) {}
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kLOOP; }
  Result<std::string> ReadLink(const CallContext& ctx) override;

 private:
  std::optional<std::string> target_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_
