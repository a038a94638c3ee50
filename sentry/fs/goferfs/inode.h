// The inodes of goferfs; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_
#define RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_

#include <sys/stat.h>

#include <chrono>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sentry/fs/goferfs/state.h"
#include "sentry/vfs/directory_file.h"

namespace ringfence::sentry {

class Pipe;

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
    std::string target{};  // of a symlink, if known
    NodeHandleRef node{};  // or
    std::optional<Place> place{};
    bool attr_counts = true;  // GoferState::EndRead or EndChange
  };
  explicit GoferInode(Init init);
  ~GoferInode() override;

  // The inode there is for this object, with these attributes, or a new one.
  static InodeRef Make(Init init);
  Result<Attributes> GetAttr(const CallContext& ctx) override;
  Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request) override;
  uint32_t type() const override { return type_; }
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kNXIO; }
  Result<std::string> GetXattr(const CallContext& ctx, std::string_view name) override;
  Result<void> SetXattr(const CallContext& ctx, std::string_view name, std::string_view value,
                        int flags) override;
  Result<std::vector<std::string>> ListXattr(const CallContext& ctx) override;
  Result<void> RemoveXattr(const CallContext& ctx, std::string_view name) override;

  // The gofer's node, asked for if need be, along with those of the directories above that have
  // none. ESTALE when something else is there now.
  Result<NodeHandleRef> EnsureNode(const CallContext& ctx);
  NodeHandleRef KnownNode() const;
  // None: it has a node.
  std::optional<Place> place() const;
  // It was renamed.
  void MoveTo(std::shared_ptr<GoferDirectory> directory, std::string_view name);
  // One of its names went.
  void LostName();
  // What the gofer said. If it does not count, the gofer is asked again when they are needed.
  void Learn(const gofer::Attributes& attr, bool counts);
  // Did the gofer tell of it within the last `time`?
  bool WasSeenWithin(std::chrono::steady_clock::duration time) const;
  const ObjectKey& key() const { return key_; }
  bool in_writable_tree() const { return state_->writable(); }
  bool IsSame(const gofer::Attributes& attr) const {
    return attr.dev == key_.dev && attr.ino == key_.ino && (attr.mode & S_IFMT) == type_;
  }

 protected:
  gofer::Attributes KnownAttributes() const;
  // A descriptor that tells the attributes better than we know; none: -1 in it.
  virtual std::shared_ptr<const UniqueFd> DescriptorForAttributes() { return nullptr; }
  // Lets the file's own descriptor say what it can (without the owner: ids of another user
  // namespace than the gofer's).
  void LearnFrom(int fd);
  void ForgetAttributes();

  const std::shared_ptr<GoferState> state_;
  const uint32_t type_;
  const ObjectKey key_;
  const uint64_t device_;
  mutable absl::Mutex mutex_;

 private:
  Result<gofer::Attributes> CurrentAttributes(const CallContext& ctx);
  bool IsFreshLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Keeps the first that is set; in a shared tree the latest, which was found where it is now.
  NodeHandleRef SetNode(NodeHandleRef node);

  gofer::Attributes attr_ ABSL_GUARDED_BY(mutex_);
  bool attr_counts_ ABSL_GUARDED_BY(mutex_);
  bool removed_ ABSL_GUARDED_BY(mutex_) = false;  // it has lost its last name
  std::chrono::steady_clock::time_point learned_ ABSL_GUARDED_BY(mutex_);
  NodeHandleRef node_ ABSL_GUARDED_BY(mutex_);
  std::optional<Place> place_ ABSL_GUARDED_BY(mutex_);
};

class GoferDirectory : public GoferInode {
 public:
  explicit GoferDirectory(Init init) : GoferInode(std::move(init)) {}
  ~GoferDirectory() override;
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  Result<InodeRef> Lookup(const CallContext& ctx, std::string_view name) override;
  bool LookupHolds(const Inode* child, LookupUse use) const override;
  Result<InodeRef> Create(const CallContext& ctx, std::string_view name, uint32_t mode,
                          uint64_t rdev) override;
  Result<InodeRef> CreateTemporary(const CallContext& ctx, uint32_t mode) override;
  Result<InodeRef> Mkdir(const CallContext& ctx, std::string_view name, uint32_t mode) override;
  Result<InodeRef> Symlink(const CallContext& ctx, std::string_view name,
                           std::string_view target) override;
  Result<void> Link(const CallContext& ctx, std::string_view name, Inode& target) override;
  Result<void> Unlink(const CallContext& ctx, std::string_view name, Inode& victim) override;
  Result<void> Rmdir(const CallContext& ctx, std::string_view name, Inode& victim) override;
  Result<void> Rename(const CallContext& ctx, std::string_view old_name, Inode& moved,
                      Inode& new_parent, std::string_view new_name, Inode* replaced,
                      uint32_t flags) override;

  Result<ListingRef> GetListing(const CallContext& ctx);
  bool listing_may_change() const { return state_->changes(); }
  Result<void> Sync(const CallContext& ctx);
  Result<InodeRef> MakeInodeFor(gofer::Node node, bool counts);

 private:
  // What GetListing gave and nothing has changed since.
  ListingRef KnownListing();
  // What a listing says of `name`: its inode, ENOENT, or null: ask.
  Result<InodeRef> FromListing(std::string_view name);
  // Called when subdirectory `name` is listed; returns the one before.
  std::string NoteListed(const std::string& name);
  // `name` was made or removed here.
  void NoteChanged(std::string_view name);
  // Along with others, if this looks like a walk through a tree; null if that did not bring it.
  Result<ListingRef> FetchAhead(const CallContext& ctx);
  Result<ListingRef> Fetch(const CallContext& ctx);
  void Keep(const ListingRef& listing, uint64_t generation);
  Result<InodeRef> MakeObject(const CallContext& ctx, std::string_view name,
                              const gofer::NewObject& wanted);
  Result<void> Remove(const CallContext& ctx, std::string_view name, Inode& victim,
                      gofer::Client::Victim kind);

  std::string listed_child_ ABSL_GUARDED_BY(mutex_);  // the latest
  ListingRef listing_ ABSL_GUARDED_BY(state_->mutex);
  std::set<std::string, std::less<>> changed_ ABSL_GUARDED_BY(state_->mutex);  // since the listing
  uint64_t generation_ ABSL_GUARDED_BY(state_->mutex) = 0;                     // counts changes
  std::list<GoferDirectory*>::iterator position_ ABSL_GUARDED_BY(state_->mutex);
};

// A descriptor that can write, as long as a file that was opened for it or a mapping needs it: the
// host lets nobody execute the file meanwhile (ETXTBSY).
class WriteHandle {
 public:
  WriteHandle(UniqueFd fd, bool readable, std::weak_ptr<GoferRegular> inode)
      : fd_(std::move(fd)), readable_(readable), inode_(std::move(inode)) {}
  ~WriteHandle();
  WriteHandle(const WriteHandle&) = delete;
  WriteHandle& operator=(const WriteHandle&) = delete;
  const UniqueFd& fd() const { return fd_; }
  bool readable() const { return readable_; }

 private:
  const UniqueFd fd_;
  const bool readable_;
  const std::weak_ptr<GoferRegular> inode_;
};
using WriteHandleRef = std::shared_ptr<const WriteHandle>;

class GoferRegular : public GoferInode {
 public:
  explicit GoferRegular(Init init) : GoferInode(std::move(init)) {}
  ~GoferRegular() override;
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request) override;

  using Descriptor = std::shared_ptr<const UniqueFd>;
  // For reading; kept for a while.
  Result<Descriptor> Acquire(const CallContext& ctx);
  Result<WriteHandleRef> AcquireWrite(const CallContext& ctx);
  // A new file's descriptor, for the open that follows.
  void SetSpare(UniqueFd fd);
  Result<MappableRef> GetMappable(const CallContext& ctx, Descriptor fd, std::string name);
  Result<MappableRef> GetWritableMappable(const WriteHandleRef& handle, std::string name);
  void LastWriterGone(int fd);
  // Held over writes at the end, which then are one after the other.
  absl::Mutex& append_mutex() { return append_mutex_; }

 protected:
  std::shared_ptr<const UniqueFd> DescriptorForAttributes() override;

 private:
  Result<gofer::OpenedFile> OpenOnHost(const CallContext& ctx, uint32_t flags);
  void Keep(Descriptor descriptor);
  WriteHandleRef TakeSpare();

  absl::Mutex append_mutex_;
  Descriptor descriptor_ ABSL_GUARDED_BY(state_->mutex);
  std::list<GoferRegular*>::iterator position_ ABSL_GUARDED_BY(state_->mutex);
  std::weak_ptr<const WriteHandle> writer_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<FdPages> pages_ ABSL_GUARDED_BY(mutex_);
  // Only as long as somebody maps the file: the chunks keep it open for writing.
  std::weak_ptr<FdPages> writable_pages_ ABSL_GUARDED_BY(mutex_);
};

class GoferSymlink : public GoferInode {
 public:
  explicit GoferSymlink(Init init);
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kLOOP; }
  Result<std::string> ReadLink(const CallContext& ctx) override;

 private:
  std::string target_ ABSL_GUARDED_BY(mutex_);  // "": not known yet
};

// A fifo of a tree that the sandbox may change: its data stays in the sandbox, the host's inode is
// never opened.
class GoferFifo : public GoferInode {
 public:
  explicit GoferFifo(Init init) : GoferInode(std::move(init)) {}
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;

 private:
  std::shared_ptr<Pipe> pipe_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_INODE_H_
