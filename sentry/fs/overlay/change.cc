// Making and removing names.
#include <fcntl.h>
#include <unistd.h>

#include "sentry/fs/overlay/inode.h"
#include "sentry/vfs/directory_file.h"

namespace ringfence::sentry {

Result<bool> OverlayDirectory::HasLower(const CallContext& ctx, std::string_view name,
                                        OverlayInode* inode) {
  if (lower_ == nullptr) return false;
  if (inode != nullptr && inode->upper() == nullptr) return true;
  const CallContext own = state_->Own(ctx);
  const Result<InodeRef> found = lower_->Lookup(own, name);
  if (found.ok()) return !TRY(IsWhiteout(own, **found));
  if (found.error() == Errno::kNOENT) return false;
  return found.error();
}

Result<std::string> OverlayDirectory::FreeName(const CallContext& own) {
  static std::atomic<uint64_t> next{1};
  for (;;) {
    std::string name = ".ringfence-whiteout-" + std::to_string(next.fetch_add(1));
    const Result<InodeRef> found = upper()->Lookup(own, name);
    if (found.ok()) continue;
    if (found.error() != Errno::kNOENT) return found.error();
    return name;
  }
}

Result<InodeRef> OverlayDirectory::FindWhiteout(const CallContext& own, std::string_view name) {
  Result<InodeRef> found = upper()->Lookup(own, name);
  if (!found.ok()) return found.error() == Errno::kNOENT ? Result<InodeRef>(InodeRef()) : found;
  if (!TRY(IsWhiteout(own, **found))) return Errno::kEXIST;
  return found;
}

Result<OverlayDirectory::Spare> OverlayDirectory::MakeSpare(const CallContext& own) {
  std::string name = TRY(FreeName(own));
  InodeRef inode = TRY(upper()->Create(own, name, S_IFCHR, 0));
  return Spare{std::move(name), std::move(inode)};
}

Result<InodeRef> OverlayDirectory::MakeName(const CallContext& ctx, std::string_view name,
                                            MakeFn make) {
  Inode& up = *TRY(CopyUp(ctx));
  const CallContext own = state_->Own(ctx);
  Change change;
  TRY(change.Acquire(ctx, *this));
  InodeRef whiteout;
  if (lower_ != nullptr) whiteout = TRY(FindWhiteout(own, name));
  if (whiteout == nullptr) return make(up);
  // Out of the way, and back without fail if nothing comes in its place.
  const std::string aside = TRY(FreeName(own));
  TRY(up.Rename(own, name, *whiteout, up, aside, nullptr, 0));
  Result<InodeRef> made = make(up);
  if (made.ok() && (*made)->type() == S_IFDIR) {
    const Result<void> opaque = (*made)->SetXattr(own, kOpaque, "y", 0);
    if (!opaque.ok()) {
      static_cast<void>(up.Rmdir(own, name, **made));
      made = opaque.error();
    }
  }
  if (made.ok()) {
    static_cast<void>(up.Unlink(own, aside, *whiteout));  // does not show in any case
  } else {
    TRY(up.Rename(own, aside, *whiteout, up, name, nullptr, 0));
  }
  return made;
}

Result<InodeRef> OverlayDirectory::MakeFile(const CallContext& ctx, std::string_view name,
                                            MakeFn make) {
  InodeRef made = TRY(MakeName(ctx, name, make));
  auto inode =
      std::make_shared<OverlayInode>(Init{.state = state_, .lower = nullptr, .upper = made});
  TRY(inode->Register(ctx));
  return InodeRef(std::move(inode));
}

Result<InodeRef> OverlayDirectory::Create(const CallContext& ctx, std::string_view name,
                                          uint32_t mode, uint64_t rdev) {
  if (S_ISCHR(mode) && rdev == 0) return Errno::kPERM;  // nobody makes whiteouts
  return MakeFile(ctx, name, [&](Inode& up) { return up.Create(ctx, name, mode, rdev); });
}

Result<InodeRef> OverlayDirectory::Symlink(const CallContext& ctx, std::string_view name,
                                           std::string_view target) {
  return MakeFile(ctx, name, [&](Inode& up) { return up.Symlink(ctx, name, target); });
}

Result<InodeRef> OverlayDirectory::CreateTemporary(const CallContext& ctx, uint32_t mode) {
  Inode& up = *TRY(CopyUp(ctx));
  InodeRef made = TRY(up.CreateTemporary(ctx, mode));
  auto inode = std::make_shared<OverlayInode>(
      Init{.state = state_, .lower = nullptr, .upper = std::move(made)});
  TRY(inode->Register(ctx));
  return InodeRef(std::move(inode));
}

Result<InodeRef> OverlayDirectory::Mkdir(const CallContext& ctx, std::string_view name,
                                         uint32_t mode) {
  InodeRef made = TRY(MakeName(ctx, name, [&](Inode& up) { return up.Mkdir(ctx, name, mode); }));
  return InodeRef(std::make_shared<OverlayDirectory>(
      Init{.state = state_, .lower = nullptr, .upper = std::move(made)}, ""));
}

Result<void> OverlayDirectory::Link(const CallContext& ctx, std::string_view name, Inode& target) {
  auto& file = static_cast<OverlayInode&>(target);
  if (file.removed()) return Errno::kNOENT;
  Inode& linked = *TRY(file.CopyUp(ctx));
  const CallContext own = state_->Own(ctx);
  TRY(MakeName(ctx, name, [&](Inode& up) -> Result<InodeRef> {
    TRY(up.Link(own, name, linked));
    if (file.has_origin()) SetImpure(own);
    return linked.shared_from_this();
  }));
  return Ok();
}

Result<void> OverlayDirectory::Unlink(const CallContext& ctx, std::string_view name,
                                      Inode& victim) {
  auto& file = static_cast<OverlayInode&>(victim);
  const bool covered = TRY(HasLower(ctx, name, &file));
  if (covered) TRY(CopyUp(ctx));
  Change change;
  TRY(change.Acquire(ctx, *this));
  return RemoveName(state_->Own(ctx), name, file, covered);
}

Result<void> OverlayDirectory::Rmdir(const CallContext& ctx, std::string_view name, Inode& victim) {
  auto& directory = static_cast<OverlayDirectory&>(victim);
  TRY(directory.CheckEmpty(ctx));
  const bool covered = TRY(HasLower(ctx, name, &directory));
  if (covered) TRY(CopyUp(ctx));
  Change inner, change;
  TRY(inner.Acquire(ctx, directory));
  TRY(change.Acquire(ctx, *this));
  return RemoveName(state_->Own(ctx), name, directory, covered);
}

Result<void> OverlayDirectory::RemoveName(const CallContext& own, std::string_view name,
                                          OverlayInode& victim, bool covered) {
  Inode& up = *upper();
  Inode* const gone = victim.upper();
  const bool is_directory = victim.type() == S_IFDIR;
  if (gone == nullptr) {
    TRY(up.Create(own, name, S_IFCHR, 0));
    victim.SetRemoved();
    return Ok();
  }
  Spare spare;
  if (covered) spare = TRY(MakeSpare(own));
  Result<void> removed;
  if (is_directory) {
    removed = static_cast<OverlayDirectory&>(victim).ClearWhiteouts(own);
    if (removed.ok()) removed = up.Rmdir(own, name, *gone);
  } else if (!covered) {
    removed = up.Unlink(own, name, *gone);
  }
  if (removed.ok() && covered) {
    removed = up.Rename(own, spare.name, *spare.inode, up, name, is_directory ? nullptr : gone, 0);
  }
  if (!removed.ok()) {
    if (covered) static_cast<void>(up.Unlink(own, spare.name, *spare.inode));
    return removed;
  }
  if (is_directory) {
    victim.SetRemoved();
  } else {
    state_->ForgetIfGone(own, victim);
  }
  return Ok();
}

Result<void> OverlayDirectory::CheckEmpty(const CallContext& ctx) {
  const FileRef file = TRY(Open(state_->Own(ctx), O_RDONLY | O_DIRECTORY));
  TRY(file->Seek(ctx, DirectoryFile::kFirstEntry, SEEK_SET));
  bool empty = true;
  TRY(file->ReadDir(ctx, [&empty](const DirEntry&) { return empty = false; }));
  return empty ? Ok() : Errno::kNOTEMPTY;
}

Result<void> OverlayDirectory::ClearWhiteouts(const CallContext& own) {
  const FileRef file = TRY(upper()->Open(own, O_RDONLY | O_DIRECTORY));
  TRY(file->Seek(own, DirectoryFile::kFirstEntry, SEEK_SET));
  std::vector<std::string> names;
  TRY(file->ReadDir(own, [&names](const DirEntry& entry) {
    names.push_back(entry.name);
    return true;
  }));
  for (const std::string& name : names) {
    const InodeRef whiteout = TRY(upper()->Lookup(own, name));
    if (!TRY(IsWhiteout(own, *whiteout))) return Errno::kNOTEMPTY;
    TRY(upper()->Unlink(own, name, *whiteout));
  }
  return Ok();
}

}  // namespace ringfence::sentry
