// The inodes of tmpfs; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_TMPFS_INODE_H_
#define RINGFENCE_SENTRY_FS_TMPFS_INODE_H_

#include <atomic>
#include <map>
#include <string>
#include <unordered_map>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/mm/shared_pages.h"
#include "sentry/vfs/directory_file.h"

namespace ringfence::sentry {

// What all inodes of a tmpfs share; outlives the file system while a file is mapped or open.
struct TmpfsState {
  platform::GuestMemory* memory;
  const DeviceRegistry* devices;
  std::shared_ptr<PageQuota> quota;
  uint64_t max_inodes;
  uint64_t device_id;
  std::atomic<uint64_t> next_ino{1};

  // What a guest makes the sentry keep, apart from pages: kInodeBytes for each inode and for each
  // further name of one, the room of extended attributes. The limit is max_inodes * kInodeBytes, as
  // on Linux. ENOSPC.
  static constexpr uint64_t kInodeBytes = 1024;
  Result<void> ChargeInode(uint64_t bytes);
  void UnchargeInode(uint64_t bytes) { inode_bytes.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t inode_bytes_limit() const;
  std::atomic<uint64_t> inode_bytes{0};
};

Timespec TmpfsNow();

class TmpfsInode : public Inode {
 public:
  ~TmpfsInode() override;
  Result<Attributes> GetAttr(const CallContext& ctx) override;
  Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request) override;
  uint32_t type() const override { return type_; }
  Result<std::string> GetXattr(const CallContext& ctx, std::string_view name) override;
  Result<void> SetXattr(const CallContext& ctx, std::string_view name, std::string_view value,
                        int flags) override;
  Result<std::vector<std::string>> ListXattr(const CallContext& ctx) override;
  Result<void> RemoveXattr(const CallContext& ctx, std::string_view name) override;

  // nlink changes; ctime follows. AddLink: EMLINK, ENOSPC, ENOENT for a file that lost its last
  // name.
  Result<void> AddLink();
  void DropLink();
  void TouchAccess();  // relatime
  void TouchChange();  // ctime: its name changed
  uint64_t ino() const { return ino_; }
  TmpfsState& state() const { return *state_; }

 protected:
  struct Init {
    FileSystem* fs;
    std::shared_ptr<TmpfsState> state;
    uint32_t mode;  // with type
    Uid uid;
    Gid gid;
    uint64_t nlink, rdev;
  };
  explicit TmpfsInode(const Init& init);
  friend class TmpfsDirectory;
  friend class Tmpfs;

  virtual void FillSize(Attributes* attributes) { (void)attributes; }
  virtual Result<void> Resize(uint64_t size) {
    (void)size;
    return Errno::kINVAL;
  }
  void TouchModifyLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<TmpfsState> state_;
  const uint32_t type_;
  const uint64_t ino_;
  mutable absl::Mutex mutex_;
  Attributes attributes_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string, std::less<>> xattrs_ ABSL_GUARDED_BY(mutex_);
  uint64_t xattr_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // charged for them
  bool unnamed_ ABSL_GUARDED_BY(mutex_) = false;      // O_TMPFILE: may get a first name
};

class TmpfsRegular : public TmpfsInode {
 public:
  explicit TmpfsRegular(const Init& init);
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  void FillSize(Attributes* attributes) override;
  Result<void> Resize(uint64_t size) override;

  Result<size_t> Read(UserIo& io, uint64_t offset);
  // `*offset` is where to write, or null for O_APPEND; *end is where the next write goes.
  Result<size_t> Write(const CallContext& ctx, UserIo& io, const uint64_t* offset, uint64_t* end);
  Result<void> Allocate(int mode, int64_t offset, int64_t length);
  uint32_t seals() const { return seals_.load(std::memory_order_acquire); }
  Result<void> AddSeals(uint32_t seals);
  void InitSeals(uint32_t seals) { seals_.store(seals, std::memory_order_release); }
  const std::shared_ptr<AnonymousPages>& pages() const { return pages_; }

 private:
  absl::Mutex write_mutex_;  // one writer or truncation at a time; above mm's locks
  std::atomic<uint32_t> seals_;
  const std::shared_ptr<AnonymousPages> pages_;
};

class TmpfsDirectory : public TmpfsInode {
 public:
  explicit TmpfsDirectory(const Init& init) : TmpfsInode(init) {}
  ~TmpfsDirectory() override;
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
  void FillSize(Attributes* attributes) override;

  // Entries at positions >= `position`, in order, until `emit` returns false.
  void Visit(int64_t position, File::EmitFn emit);
  bool empty() const;

 private:
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  struct Entry {
    std::shared_ptr<TmpfsInode> inode;
    int64_t position;
  };
  using Entries = std::unordered_map<std::string, Entry, NameHash, std::equal_to<>>;

  Result<Init> MakeInit(const CallContext& ctx, uint32_t mode, uint64_t nlink, uint64_t rdev);
  void Insert(std::string_view name, std::shared_ptr<TmpfsInode> inode);
  void InsertLocked(std::string_view name, std::shared_ptr<TmpfsInode> inode)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<TmpfsInode> TakeLocked(std::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<TmpfsInode> Take(std::string_view name);
  void AddSubdirectories(int64_t n);

  Entries entries_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, const std::string*> order_ ABSL_GUARDED_BY(mutex_);
  int64_t next_position_ ABSL_GUARDED_BY(mutex_) = int64_t{1} << 60;  // falls
};

class TmpfsSymlink : public TmpfsInode {
 public:
  // The target of a long one takes a page, as on Linux, which the caller has charged.
  static uint64_t PagesFor(std::string_view target) { return target.size() < 128 ? 0 : 1; }
  TmpfsSymlink(const Init& init, std::string_view target) : TmpfsInode(init), target_(target) {}
  ~TmpfsSymlink() override { state_->quota->Uncharge(PagesFor(target_)); }
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kLOOP; }
  Result<std::string> ReadLink(const CallContext& ctx) override;
  void FillSize(Attributes* attributes) override {
    attributes->size = target_.size();
    attributes->blocks = PagesFor(target_) * 8;
  }

 private:
  const std::string target_;
};

// Fifos, sockets and device nodes.
class TmpfsSpecial : public TmpfsInode {
 public:
  explicit TmpfsSpecial(const Init& init) : TmpfsInode(init), rdev_(init.rdev) {}
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;

 private:
  std::shared_ptr<Pipe> PipeForOpen();
  const uint64_t rdev_;
  std::shared_ptr<Pipe> pipe_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TMPFS_INODE_H_
