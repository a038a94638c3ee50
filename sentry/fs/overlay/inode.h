// The inodes of overlay; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_OVERLAY_INODE_H_
#define RINGFENCE_SENTRY_FS_OVERLAY_INODE_H_

#include <sys/stat.h>

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/overlay/overlay.h"

namespace ringfence::sentry {

class OverlayDirectory;
class OverlayInode;

// What the upper tree keeps for the overlay; none of it is shown.
inline constexpr std::string_view kOverlayPrefix = "trusted.overlay.";
inline constexpr std::string_view kOpaque = "trusted.overlay.opaque";      // "y"
inline constexpr std::string_view kRedirect = "trusted.overlay.redirect";  // path in the lower tree
inline constexpr std::string_view kOrigin = "trusted.overlay.origin";      // "device inode"
inline constexpr std::string_view kImpure = "trusted.overlay.impure";      // has names with origin

// What stat(2) says an object is.
struct FileId {
  uint64_t dev = 0, ino = 0;  // as in the lower tree, or UpperId
  friend bool operator==(const FileId&, const FileId&) = default;
  friend auto operator<=>(const FileId&, const FileId&) = default;
};

// What all inodes share; outlives the file system while one of them is open.
struct OverlayState : std::enable_shared_from_this<OverlayState> {
  std::shared_ptr<FileSystem> lower, upper;
  InodeRef lower_root, upper_root;
  FileSystem* fs;
  uint64_t device_id;
  CredentialsRef creds;  // of the overlay itself
  std::function<bool(const CallContext& ctx)> caller_ends;

  // For what the overlay does in the upper tree on its own behalf.
  CallContext Own(const CallContext& ctx) const;
  FileId UpperId(const Attributes& upper) const;
  // The id that `upper` took over when it was copied up; nullopt: it has its own. EIO and the like.
  Result<std::optional<FileId>> OriginOf(const CallContext& ctx, Inode& upper) const;

  // The inode of an upper object that is no directory: one for all its names.
  Result<InodeRef> UpperFile(const CallContext& ctx, InodeRef upper);
  void Register(const FileId& raw, const std::shared_ptr<OverlayInode>& inode);
  void Forget(const FileId& raw);
  // After a name of `inode` went: the number of what has none left may be another file's soon.
  void ForgetIfGone(const CallContext& own, OverlayInode& inode);

  absl::Mutex mutex;
  std::map<FileId, std::weak_ptr<OverlayInode>> upper_files ABSL_GUARDED_BY(mutex);
};

// The key of an upper object in OverlayState::upper_files.
Result<FileId> RawIdOf(const CallContext& own, Inode& upper);
// Not a name any more, or covers one: a character device 0/0.
Result<bool> IsWhiteout(const CallContext& ctx, Inode& inode);

class OverlayInode : public Inode {
 public:
  // Where something with a lower part was found. Constant: where it is copied up to, and, for
  // directories, a part of the way to the lower one.
  struct Place {
    std::shared_ptr<OverlayDirectory> directory;
    std::string name;
  };
  struct Init {
    std::shared_ptr<OverlayState> state;
    InodeRef lower, upper;  // one of them, or both for a directory
    FileId id{};            // with `upper`; ino 0: that of the upper object
    Place place{};          // with `lower`
  };
  explicit OverlayInode(Init init);
  ~OverlayInode() override;

  Result<Attributes> GetAttr(const CallContext& ctx) override;
  Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request) override;
  uint32_t type() const override { return type_; }
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  Result<std::string> ReadLink(const CallContext& ctx) override;
  Result<std::string> GetXattr(const CallContext& ctx, std::string_view name) override;
  Result<void> SetXattr(const CallContext& ctx, std::string_view name, std::string_view value,
                        int flags) override;
  Result<std::vector<std::string>> ListXattr(const CallContext& ctx) override;
  Result<void> RemoveXattr(const CallContext& ctx, std::string_view name) override;

  // Null until it is copied up. Never changes after that.
  Inode* upper() const { return upper_now_.load(std::memory_order_acquire); }
  Inode* lower() const { return lower_.get(); }
  // Makes sure there is an upper object, with those of the directories above. Of a file's data only
  // `data_limit` bytes are copied, for somebody who is going to truncate it to that. May block.
  // ENOSPC, before anything is copied, when the data cannot fit; ENOENT for what was removed; EINTR
  // when the caller is to end (as on Linux, where no other signal stops a copy).
  Result<Inode*> CopyUp(const CallContext& ctx, uint64_t data_limit = ~uint64_t{0});
  // It has no name any more. With the change mutex of the directory.
  void SetRemoved() { removed_.store(true, std::memory_order_release); }
  bool removed() const { return removed_.load(std::memory_order_acquire); }
  // Does it show the id of the lower object it was copied from?
  bool has_origin() const { return upper() != nullptr && id_.ino != 0; }
  // Makes it the one inode of its upper object (OverlayState), which is no directory.
  Result<void> Register(const CallContext& ctx);

 protected:
  const std::shared_ptr<OverlayState> state_;
  const uint32_t type_;
  const InodeRef lower_;
  Place place_;  // constant

 private:
  friend class OverlayDirectory;
  friend struct OverlayState;
  Result<void> CopyUpThis(const CallContext& ctx, uint64_t data_limit);
  // The upper object is complete and, unless this was removed, has its name.
  void Publish(InodeRef made, const FileId& id, const FileId& raw_id);

  absl::Mutex copy_mutex_;  // one copy-up at a time; held while data is copied
  std::atomic<Inode*> upper_now_{nullptr};
  InodeRef upper_;  // set once, before upper_now_
  FileId id_;       // likewise
  FileId raw_id_;   // likewise: the key in OverlayState; ino 0: not there
  std::atomic<bool> removed_{false};
};

class OverlayDirectory : public OverlayInode {
 public:
  OverlayDirectory(Init init, std::string redirect)
      : OverlayInode(std::move(init)), redirect_(std::move(redirect)) {}
  ~OverlayDirectory() override;
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  Result<InodeRef> Lookup(const CallContext& ctx, std::string_view name) override;
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

  // Holds the change mutex of a directory; lookups that ran beside it try again.
  class Change {
   public:
    Change() = default;
    ~Change();
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    Result<void> Acquire(const CallContext& ctx, OverlayDirectory& directory);

   private:
    OverlayDirectory* directory_ = nullptr;
  };

  // Names below it carry ids that are not their own. With the change mutex.
  void SetImpure(const CallContext& ctx);
  // Are there upper objects with an origin, other than those of lower names?
  bool IsImpure(const CallContext& ctx);
  // The path of lower(), "/a/b".
  std::string LowerPath() const;
  // All names of the lower directory, kept while somebody uses them.
  using Names = std::unordered_set<std::string>;
  Result<std::shared_ptr<const Names>> LowerNames(const CallContext& ctx);
  // Lookup, but changes beside it may make it tell of a moment that never was.
  Result<InodeRef> LookupOnce(const CallContext& ctx, std::string_view name);

 private:
  using MakeFn = absl::FunctionRef<Result<InodeRef>(Inode& upper)>;

  Result<InodeRef> FindBelow(const CallContext& ctx, Inode* above, std::string_view name,
                             std::string* redirect);
  // Does the lower directory have something by that name, which is now `inode` (may be null)?
  Result<bool> HasLower(const CallContext& ctx, std::string_view name, OverlayInode* inode);
  // Makes a name in the upper directory, in the place of a whiteout if there is one.
  Result<InodeRef> MakeName(const CallContext& ctx, std::string_view name, MakeFn make);
  Result<InodeRef> MakeFile(const CallContext& ctx, std::string_view name, MakeFn make);
  Result<void> CheckEmpty(const CallContext& ctx);

  // The rest: in the upper directory, which there is, with the change mutex.
  //
  // A name that does not show and is used for a moment.
  Result<std::string> FreeName(const CallContext& own);
  // Null: nothing is there. EEXIST: something else is.
  Result<InodeRef> FindWhiteout(const CallContext& own, std::string_view name);
  struct Spare {  // a whiteout in reserve: what follows cannot fail for want of room any more
    std::string name;
    InodeRef inode;
  };
  Result<Spare> MakeSpare(const CallContext& own);
  // Takes whiteouts away, so that the directory is empty for the upper file system, too.
  Result<void> ClearWhiteouts(const CallContext& own);
  // Takes the name of `victim` away; `covered`: a whiteout has to be in its place.
  Result<void> RemoveName(const CallContext& own, std::string_view name, OverlayInode& victim,
                          bool covered);
  struct Move;
  Result<void> MoveName(const CallContext& own, const Move& move);

  // Counts names that were not found below; lists the lower directory once they are many, so that
  // a file system that keeps listings can answer for all others.
  void NoteMiss(const CallContext& own);

  std::atomic<int> misses_{0};
  const std::string redirect_;         // "": lower() has the name and the parent of place_
  absl::Mutex change_mutex_;           // changes of the upper directory
  std::atomic<uint64_t> sequence_{0};  // odd while they are under way
  std::atomic<int> impure_{-1};        // -1: not asked for yet
  absl::Mutex names_mutex_;            // leaf
  std::weak_ptr<const Names> names_ ABSL_GUARDED_BY(names_mutex_);
};

// Copying, without locks.
struct CopySource {
  Inode* lower;
  Attributes attr;
  uint64_t data_limit;
  absl::FunctionRef<bool()> give_up;  // asked now and then while data is copied
};
// A new, unnamed copy of a regular file, with data, made in `directory`. EINTR: given up.
Result<InodeRef> CopyRegular(const CallContext& own, const CopySource& source, Inode& directory,
                             FileSystem& upper);
// Owner, mode, times and extended attributes of `source`; with `id`, also the origin.
Result<void> CopyAttributes(const CallContext& own, const CopySource& source, Inode& copy,
                            const FileId* id);

Result<FileRef> OpenLowerRegular(const CallContext& ctx, std::shared_ptr<OverlayInode> inode,
                                 uint32_t flags);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_OVERLAY_INODE_H_
