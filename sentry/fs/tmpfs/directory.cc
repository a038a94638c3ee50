#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "sentry/fs/tmpfs/inode.h"
#include "sentry/vfs/permission.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kBytesPerEntry = 20;  // as Linux counts them in st_size (BOGO_DIRENT_SIZE)

TmpfsInode& Cast(Inode& inode) { return static_cast<TmpfsInode&>(inode); }

class TmpfsDirectoryFile : public DirectoryFile {
 public:
  TmpfsDirectoryFile(std::shared_ptr<TmpfsDirectory> directory, uint32_t flags)
      : DirectoryFile(flags), directory_(std::move(directory)) {}

 protected:
  Result<void> ReadEntries(const CallContext&, int64_t position, EmitFn emit) override {
    directory_->TouchAccess();
    directory_->Visit(position, emit);
    return Ok();
  }

 private:
  const std::shared_ptr<TmpfsDirectory> directory_;
};

}  // namespace

TmpfsDirectory::~TmpfsDirectory() {
  // A tree can be very deep: take it down level by level, not by recursion.
  std::vector<std::shared_ptr<TmpfsInode>> pending;
  auto strip = [&pending](TmpfsDirectory& directory) {
    absl::MutexLock lock(&directory.mutex_);
    for (auto& [name, entry] : directory.entries_) pending.push_back(std::move(entry.inode));
    directory.entries_.clear();
    directory.order_.clear();
  };
  strip(*this);
  while (!pending.empty()) {
    std::shared_ptr<TmpfsInode> inode = std::move(pending.back());
    pending.pop_back();
    if (inode->type() == S_IFDIR && inode.use_count() == 1) {
      strip(static_cast<TmpfsDirectory&>(*inode));
    }
  }
}

Result<FileRef> TmpfsDirectory::Open(const CallContext&, uint32_t flags) {
  return FileRef(std::make_shared<TmpfsDirectoryFile>(
      std::static_pointer_cast<TmpfsDirectory>(shared_from_this()), flags));
}

void TmpfsDirectory::FillSize(Attributes* attributes) {
  absl::MutexLock lock(&mutex_);
  attributes->size = (entries_.size() + 2) * kBytesPerEntry;
}

bool TmpfsDirectory::empty() const {
  absl::MutexLock lock(&mutex_);
  return entries_.empty();
}

void TmpfsDirectory::Visit(int64_t position, File::EmitFn emit) {
  // Entries are copied in batches: `emit` runs without the lock.
  constexpr size_t kBatch = 64;
  std::vector<DirEntry> batch;
  do {
    batch.clear();
    {
      absl::MutexLock lock(&mutex_);
      for (auto it = order_.lower_bound(position); it != order_.end() && batch.size() < kBatch;
           ++it) {
        const TmpfsInode& inode = *entries_.find(*it->second)->second.inode;
        batch.push_back(
            DirEntry{inode.ino(), it->first + 1, DirentType(inode.type()), *it->second});
      }
    }
    for (const DirEntry& entry : batch) {
      if (!emit(entry)) return;
      position = entry.next_offset;
    }
  } while (batch.size() == kBatch);
}

void TmpfsDirectory::InsertLocked(std::string_view name, std::shared_ptr<TmpfsInode> inode) {
  const int64_t position = --next_position_;
  auto [it, fresh] =
      entries_.insert_or_assign(std::string(name), Entry{std::move(inode), position});
  order_[position] = &it->first;
  TouchModifyLocked();
}

std::shared_ptr<TmpfsInode> TmpfsDirectory::TakeLocked(std::string_view name) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return nullptr;
  std::shared_ptr<TmpfsInode> inode = std::move(it->second.inode);
  order_.erase(it->second.position);
  entries_.erase(it);
  TouchModifyLocked();
  return inode;
}

void TmpfsDirectory::Insert(std::string_view name, std::shared_ptr<TmpfsInode> inode) {
  absl::MutexLock lock(&mutex_);
  InsertLocked(name, std::move(inode));
}

std::shared_ptr<TmpfsInode> TmpfsDirectory::Take(std::string_view name) {
  absl::MutexLock lock(&mutex_);
  return TakeLocked(name);
}

void TmpfsDirectory::AddSubdirectories(int64_t n) {
  absl::MutexLock lock(&mutex_);
  attributes_.nlink += static_cast<uint64_t>(n);
}

Result<InodeRef> TmpfsDirectory::Lookup(const CallContext&, std::string_view name) {
  absl::MutexLock lock(&mutex_);
  auto it = entries_.find(name);
  if (it == entries_.end()) return Errno::kNOENT;
  return InodeRef(it->second.inode);
}

Result<TmpfsInode::Init> TmpfsDirectory::MakeInit(const CallContext& ctx, uint32_t mode,
                                                  uint64_t nlink, uint64_t rdev) {
  const NewInode owner = InitOwner(*ctx.creds, TRY(GetAttr(ctx)), mode);
  TRY(state_->ChargeInode(TmpfsState::kInodeBytes));
  return Init{fs(), state_, owner.mode, owner.uid, owner.gid, nlink, rdev};
}

Result<InodeRef> TmpfsDirectory::Create(const CallContext& ctx, std::string_view name,
                                        uint32_t mode, uint64_t rdev) {
  const Init init = TRY(MakeInit(ctx, mode, 1, rdev));
  std::shared_ptr<TmpfsInode> inode;
  if (S_ISREG(mode)) {
    inode = std::make_shared<TmpfsRegular>(init);
  } else {
    inode = std::make_shared<TmpfsSpecial>(init);
  }
  Insert(name, inode);
  return InodeRef(std::move(inode));
}

Result<InodeRef> TmpfsDirectory::CreateTemporary(const CallContext& ctx, uint32_t mode) {
  auto inode = std::make_shared<TmpfsRegular>(TRY(MakeInit(ctx, mode, 0, 0)));
  absl::MutexLock lock(&inode->mutex_);
  inode->unnamed_ = true;
  return InodeRef(inode);
}

Result<InodeRef> TmpfsDirectory::Mkdir(const CallContext& ctx, std::string_view name,
                                       uint32_t mode) {
  auto inode = std::make_shared<TmpfsDirectory>(TRY(MakeInit(ctx, S_IFDIR | mode, 2, 0)));
  Insert(name, inode);
  AddSubdirectories(1);
  return InodeRef(std::move(inode));
}

Result<InodeRef> TmpfsDirectory::Symlink(const CallContext& ctx, std::string_view name,
                                         std::string_view target) {
  const Init init = TRY(MakeInit(ctx, S_IFLNK | 0777, 1, 0));
  if (!state_->quota->Charge(TmpfsSymlink::PagesFor(target))) {
    state_->UnchargeInode(TmpfsState::kInodeBytes);
    return Errno::kNOSPC;
  }
  auto inode = std::make_shared<TmpfsSymlink>(init, target);
  Insert(name, inode);
  return InodeRef(std::move(inode));
}

Result<void> TmpfsDirectory::Link(const CallContext&, std::string_view name, Inode& target) {
  TRY(Cast(target).AddLink());
  Insert(name, std::static_pointer_cast<TmpfsInode>(target.shared_from_this()));
  return Ok();
}

Result<void> TmpfsDirectory::Unlink(const CallContext&, std::string_view name, Inode& victim) {
  Take(name);
  Cast(victim).DropLink();
  return Ok();
}

Result<void> TmpfsDirectory::Rmdir(const CallContext&, std::string_view name, Inode& victim) {
  if (!static_cast<TmpfsDirectory&>(victim).empty()) return Errno::kNOTEMPTY;
  Take(name);
  Cast(victim).DropLink();
  AddSubdirectories(-1);
  return Ok();
}

Result<void> TmpfsDirectory::Rename(const CallContext&, std::string_view old_name, Inode& moved,
                                    Inode& new_parent, std::string_view new_name, Inode* replaced,
                                    uint32_t flags) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  auto& target = static_cast<TmpfsDirectory&>(new_parent);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const bool replaces_directory = replaced != nullptr && replaced->type() == S_IFDIR;
  if (replaces_directory && !exchange && !static_cast<TmpfsDirectory*>(replaced)->empty()) {
    return Errno::kNOTEMPTY;
  }
  const int64_t leaves = moved.type() == S_IFDIR ? 1 : 0;
  const int64_t goes = replaces_directory ? 1 : 0;
  {
    absl::Mutex* first = &mutex_;
    absl::Mutex* second = &target.mutex_;
    if (std::less<>()(second, first)) std::swap(first, second);
    absl::MutexLock lock(first);
    absl::MutexLockMaybe other_lock(second == first ? nullptr : second);
    std::shared_ptr<TmpfsInode> inode = TakeLocked(old_name);
    std::shared_ptr<TmpfsInode> other = target.TakeLocked(new_name);
    target.InsertLocked(new_name, std::move(inode));
    if (exchange) InsertLocked(old_name, std::move(other));
    attributes_.nlink -= static_cast<uint64_t>(leaves);
    target.attributes_.nlink += static_cast<uint64_t>(leaves - goes);
    if (exchange) attributes_.nlink += static_cast<uint64_t>(goes);
  }
  Cast(moved).TouchChange();
  if (replaced == nullptr) return Ok();
  if (exchange) {
    Cast(*replaced).TouchChange();
  } else {
    Cast(*replaced).DropLink();
  }
  return Ok();
}

}  // namespace ringfence::sentry
