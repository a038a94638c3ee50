// Looking into directories: names, listings.
#include <dirent.h>
#include <fcntl.h>

#include "sentry/fs/overlay/inode.h"
#include "sentry/vfs/directory_file.h"

namespace ringfence::sentry {
namespace {

constexpr int kOptimisticLookups = 4;
constexpr int kMissesBeforeListing = 8;

// Positions of the upper directory come after all of the lower one.
constexpr int64_t kUpperStart = int64_t{1} << 61;

// Makes a directory get its entries, if it has to ask somebody for them.
Result<void> FillListing(const CallContext& ctx, File& file) {
  TRY(file.Seek(ctx, DirectoryFile::kFirstEntry, SEEK_SET));
  return file.ReadDir(ctx, [](const DirEntry&) { return false; });
}

// First what the lower directory has, as it is now: what was copied up shows in its old place, what
// was removed is left out. Then what only the upper one has. So a name that is copied up, removed
// or made while somebody lists is neither missed nor told twice, and nothing has to be remembered.
class OverlayDirectoryFile : public DirectoryFile {
 public:
  OverlayDirectoryFile(std::shared_ptr<OverlayDirectory> directory, uint32_t flags)
      : DirectoryFile(flags), directory_(std::move(directory)) {}

 protected:
  Result<void> Prepare(const CallContext& ctx) override {
    Inode* const upper = directory_->upper();
    Inode* const lower = directory_->lower();
    if (lower != nullptr && lower_ == nullptr) lower_ = TRY(OpenAndFill(ctx, *lower));
    if (upper != nullptr && upper_ == nullptr) upper_ = TRY(OpenAndFill(ctx, *upper));
    if (upper != nullptr && lower != nullptr && names_ == nullptr) {
      names_ = TRY(directory_->LowerNames(ctx));
    }
    return Ok();
  }

  Result<void> ReadEntries(const CallContext& ctx, int64_t position, EmitFn emit) override {
    bool more = true;
    if (position < kUpperStart) {
      if (lower_ != nullptr) TRY(ReadLower(ctx, position, emit, &more));
      position = kUpperStart + kFirstEntry;
    }
    if (!more || upper_ == nullptr) return Ok();
    return ReadUpper(ctx, position - kUpperStart, emit);
  }

 private:
  static Result<FileRef> OpenAndFill(const CallContext& ctx, Inode& inode) {
    FileRef file = TRY(inode.Open(ctx, O_RDONLY | O_DIRECTORY));
    TRY(FillListing(ctx, *file));
    return file;
  }

  Result<void> ReadLower(const CallContext& ctx, int64_t position, EmitFn emit, bool* more) {
    TRY(lower_->Seek(ctx, position, SEEK_SET));
    Result<void> failed;
    TRY(lower_->ReadDir(ctx, [&](const DirEntry& entry) {
      if (entry.next_offset >= kUpperStart) failed = Errno::kOVERFLOW;
      Result<bool> shown = failed.ok() ? EmitLower(ctx, entry, emit) : Result<bool>(true);
      if (!shown.ok()) failed = shown.error();
      *more = failed.ok() && *shown;
      return *more;
    }));
    return failed;
  }

  // False: `emit` has enough.
  Result<bool> EmitLower(const CallContext& ctx, const DirEntry& entry, EmitFn emit) {
    const bool may_be_other = upper_ != nullptr && TRY(HasUpper(ctx, entry.name));
    if (!may_be_other && entry.type != DT_CHR) return emit(entry);
    const Result<InodeRef> now = directory_->LookupOnce(ctx, entry.name);
    if (!now.ok()) return now.error() == Errno::kNOENT ? Result<bool>(true) : now.error();
    DirEntry changed = entry;
    changed.ino = TRY((*now)->GetAttr(ctx)).ino;
    changed.type = DirentType((*now)->type());
    return emit(changed);
  }

  Result<bool> HasUpper(const CallContext& ctx, const std::string& name) {
    const Result<InodeRef> found = directory_->upper()->Lookup(ctx, name);
    if (!found.ok() && found.error() != Errno::kNOENT) return found.error();
    return found.ok();
  }

  Result<void> ReadUpper(const CallContext& ctx, int64_t position, EmitFn emit) {
    const bool impure = directory_->IsImpure(ctx);
    TRY(upper_->Seek(ctx, position, SEEK_SET));
    Result<void> failed;
    TRY(upper_->ReadDir(ctx, [&](const DirEntry& entry) {
      if (entry.next_offset >= kUpperStart) failed = Errno::kOVERFLOW;
      const Result<bool> shown =
          failed.ok() ? EmitUpper(ctx, entry, impure, emit) : Result<bool>(true);
      if (!shown.ok()) failed = shown.error();
      return failed.ok() && *shown;
    }));
    return failed;
  }

  Result<bool> EmitUpper(const CallContext& ctx, const DirEntry& entry, bool impure, EmitFn emit) {
    if (names_ != nullptr && names_->contains(entry.name)) return true;  // was told already
    DirEntry shown = entry;
    shown.next_offset = entry.next_offset + kUpperStart;
    shown.ino = entry.ino | kUpperInode;
    if (impure || entry.type == DT_CHR) {
      const Result<InodeRef> now = directory_->LookupOnce(ctx, entry.name);
      if (!now.ok()) return now.error() == Errno::kNOENT ? Result<bool>(true) : now.error();
      shown.ino = TRY((*now)->GetAttr(ctx)).ino;
    }
    return emit(shown);
  }

  const std::shared_ptr<OverlayDirectory> directory_;
  // Guarded by offset_mutex_, which ReadDir holds.
  FileRef lower_, upper_;
  std::shared_ptr<const OverlayDirectory::Names> names_;
};

Result<bool> IsOpaque(const CallContext& own, Inode& upper) {
  const Result<std::string> value = upper.GetXattr(own, kOpaque);
  if (value.ok()) return *value == "y";
  if (value.error() == Errno::kNODATA || value.error() == Errno::kOPNOTSUPP) return false;
  return value.error();
}

// "": none.
Result<std::string> RedirectOf(const CallContext& own, Inode& upper) {
  const Result<std::string> value = upper.GetXattr(own, kRedirect);
  if (value.ok()) return value->starts_with('/') ? value : Errno::kIO;
  if (value.error() == Errno::kNODATA || value.error() == Errno::kOPNOTSUPP) return std::string();
  return value.error();
}

}  // namespace

OverlayDirectory::~OverlayDirectory() {
  // A lower tree can be very deep: let go of the directories above one by one.
  std::shared_ptr<OverlayDirectory> above = std::move(place_.directory);
  while (above != nullptr && above.use_count() == 1) {
    std::shared_ptr<OverlayDirectory> next = std::move(above->place_.directory);
    above = std::move(next);
  }
}

Result<FileRef> OverlayDirectory::Open(const CallContext&, uint32_t flags) {
  return FileRef(std::make_shared<OverlayDirectoryFile>(
      std::static_pointer_cast<OverlayDirectory>(shared_from_this()), flags));
}

Result<InodeRef> OverlayDirectory::Lookup(const CallContext& ctx, std::string_view name) {
  for (int attempt = 0; attempt < kOptimisticLookups; ++attempt) {
    const uint64_t before = sequence_.load(std::memory_order_acquire);
    if (before % 2 != 0) break;
    Result<InodeRef> found = LookupOnce(ctx, name);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (sequence_.load(std::memory_order_relaxed) == before) return found;
  }
  Change change;
  TRY(change.Acquire(ctx, *this));
  return LookupOnce(ctx, name);
}

Result<InodeRef> OverlayDirectory::LookupOnce(const CallContext& ctx, std::string_view name) {
  const CallContext own = state_->Own(ctx);
  InodeRef above;
  if (Inode* const up = upper()) {
    Result<InodeRef> found = up->Lookup(own, name);
    if (!found.ok() && found.error() != Errno::kNOENT) return found;
    if (found.ok()) {
      above = std::move(found).value();
      if (TRY(IsWhiteout(own, *above))) return Errno::kNOENT;
      if (above->type() != S_IFDIR) return state_->UpperFile(ctx, std::move(above));
    }
  }
  std::string redirect;
  InodeRef below = TRY(FindBelow(own, above.get(), name, &redirect));
  if (above == nullptr && below == nullptr) {
    if (upper() != nullptr && lower_ != nullptr) NoteMiss(own);
    return Errno::kNOENT;
  }
  Init init{.state = state_, .lower = below, .upper = above};
  if (below != nullptr) {
    init.place = {std::static_pointer_cast<OverlayDirectory>(shared_from_this()),
                  std::string(name)};
    if (above != nullptr) {
      const Attributes attr = TRY(below->GetAttr(own));
      init.id = {attr.dev, attr.ino};
    }
  }
  if (above != nullptr || below->type() == S_IFDIR) {
    return InodeRef(std::make_shared<OverlayDirectory>(std::move(init), std::move(redirect)));
  }
  return InodeRef(std::make_shared<OverlayInode>(std::move(init)));
}

// What the lower tree has for `name`, if `above` (null, or a directory) lets it be seen.
Result<InodeRef> OverlayDirectory::FindBelow(const CallContext& own, Inode* above,
                                             std::string_view name, std::string* redirect) {
  InodeRef from = lower_;
  std::string_view rest = name;
  if (above != nullptr) {
    *redirect = TRY(RedirectOf(own, *above));
    if (!redirect->empty()) {
      from = state_->lower_root;
      rest = std::string_view(*redirect).substr(1);
    } else if (from != nullptr && TRY(IsOpaque(own, *above))) {
      from = nullptr;
    }
  }
  while (from != nullptr && !rest.empty()) {
    const size_t slash = rest.find('/');
    Result<InodeRef> found = from->Lookup(own, rest.substr(0, slash));
    if (!found.ok()) {
      if (found.error() == Errno::kNOENT || found.error() == Errno::kNOTDIR) return InodeRef();
      return found;
    }
    from = std::move(found).value();
    rest = slash == rest.npos ? std::string_view() : rest.substr(slash + 1);
  }
  if (from == nullptr || TRY(IsWhiteout(own, *from))) return InodeRef();
  if (above != nullptr && from->type() != S_IFDIR) return InodeRef();
  return from;
}

void OverlayDirectory::NoteMiss(const CallContext& own) {
  if (!own.may_block || misses_.fetch_add(1, std::memory_order_relaxed) != kMissesBeforeListing) {
    return;
  }
  // What goes wrong shows when somebody really lists it.
  const Result<FileRef> file = lower_->Open(own, O_RDONLY | O_DIRECTORY);
  if (file.ok()) static_cast<void>(FillListing(own, **file));
}

std::string OverlayDirectory::LowerPath() const {
  std::vector<const std::string*> names;
  const OverlayDirectory* at = this;
  for (; at->redirect_.empty(); at = at->place_.directory.get()) names.push_back(&at->place_.name);
  std::string path = at->redirect_ == "/" ? "" : at->redirect_;
  for (auto it = names.rbegin(); it != names.rend(); ++it) path.append("/").append(**it);
  return path;
}

Result<std::shared_ptr<const OverlayDirectory::Names>> OverlayDirectory::LowerNames(
    const CallContext& ctx) {
  {
    absl::MutexLock lock(&names_mutex_);
    if (auto known = names_.lock()) return known;
  }
  auto names = std::make_shared<Names>();
  const FileRef file = TRY(lower_->Open(ctx, O_RDONLY | O_DIRECTORY));
  TRY(file->Seek(ctx, DirectoryFile::kFirstEntry, SEEK_SET));
  TRY(file->ReadDir(ctx, [&names](const DirEntry& entry) {
    names->insert(entry.name);
    return true;
  }));
  std::shared_ptr<const Names> result = std::move(names);
  absl::MutexLock lock(&names_mutex_);
  if (auto known = names_.lock()) return known;
  names_ = result;
  return result;
}

bool OverlayDirectory::IsImpure(const CallContext& ctx) {
  int impure = impure_.load(std::memory_order_relaxed);
  if (impure < 0) {
    impure = upper()->GetXattr(state_->Own(ctx), kImpure).ok() ? 1 : 0;
    int unknown = -1;  // SetImpure may have been faster
    if (!impure_.compare_exchange_strong(unknown, impure)) impure = unknown;
  }
  return impure == 1;
}

void OverlayDirectory::SetImpure(const CallContext& ctx) {
  if (impure_.exchange(1) == 1) return;
  // Without it, d_ino may differ from st_ino in a later use of this upper tree; no more than that.
  static_cast<void>(upper()->SetXattr(state_->Own(ctx), kImpure, "y", 0));
}

OverlayDirectory::Change::~Change() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (directory_ == nullptr) return;
  directory_->sequence_.fetch_add(1, std::memory_order_release);
  directory_->change_mutex_.Unlock();
}

Result<void> OverlayDirectory::Change::Acquire(const CallContext& ctx, OverlayDirectory& directory)
    ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (!directory.change_mutex_.TryLock()) {
    TRY(ctx.RequireBlocking());
    directory.change_mutex_.Lock();
  }
  directory_ = &directory;
  directory.sequence_.fetch_add(1, std::memory_order_acq_rel);
  return Ok();
}

}  // namespace ringfence::sentry
