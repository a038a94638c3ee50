// rename(2). What may wait or fail for want of room comes before anything shows.
#include <fcntl.h>
#include <linux/fs.h>

#include "sentry/fs/overlay/inode.h"

namespace ringfence::sentry {

struct OverlayDirectory::Move {
  std::string_view old_name;
  OverlayInode& moved;
  OverlayDirectory& to;
  std::string_view new_name;
  OverlayInode* replaced;  // or exchanged; may be null
  bool old_covered;        // the lower directory has something by the name
};

namespace {

// A directory that goes to another place takes its lower part along, and no other.
Result<void> Detach(const CallContext& own, OverlayInode& inode, bool covered) {
  if (inode.type() != S_IFDIR) return Ok();
  auto& directory = static_cast<OverlayDirectory&>(inode);
  if (directory.lower() != nullptr) {
    return directory.upper()->SetXattr(own, kRedirect, directory.LowerPath(), 0);
  }
  if (!covered) return Ok();
  return directory.upper()->SetXattr(own, kOpaque, "y", 0);
}

}  // namespace

Result<void> OverlayDirectory::Rename(const CallContext& ctx, std::string_view old_name,
                                      Inode& moved_inode, Inode& new_parent,
                                      std::string_view new_name, Inode* replaced_inode,
                                      uint32_t flags) {
  auto& moved = static_cast<OverlayInode&>(moved_inode);
  auto& to = static_cast<OverlayDirectory&>(new_parent);
  auto* const replaced = static_cast<OverlayInode*>(replaced_inode);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const bool replaces_directory = replaced != nullptr && replaced->type() == S_IFDIR && !exchange;
  if (replaces_directory) TRY(static_cast<OverlayDirectory*>(replaced)->CheckEmpty(ctx));
  const bool old_covered = TRY(HasLower(ctx, old_name, &moved));
  const bool new_covered = TRY(to.HasLower(ctx, new_name, replaced));
  TRY(moved.CopyUp(ctx));
  if (exchange) TRY(replaced->CopyUp(ctx));
  TRY(CopyUp(ctx));
  TRY(to.CopyUp(ctx));

  // Their nodes are locked by the VFS, so the order of these three does not matter.
  Change inner, from_change, to_change;
  if (replaces_directory) TRY(inner.Acquire(ctx, static_cast<OverlayDirectory&>(*replaced)));
  TRY(from_change.Acquire(ctx, *this));
  if (&to != this) TRY(to_change.Acquire(ctx, to));
  const CallContext own = state_->Own(ctx);
  TRY(Detach(own, moved, new_covered));
  if (exchange) TRY(Detach(own, *replaced, old_covered));
  if (moved.has_origin()) to.SetImpure(own);
  if (exchange && replaced->has_origin()) SetImpure(own);
  const Move move{old_name, moved, to, new_name, replaced, old_covered};
  if (exchange) {
    return upper()->Rename(own, old_name, *moved.upper(), *to.upper(), new_name, replaced->upper(),
                           RENAME_EXCHANGE);
  }
  return MoveName(own, move);
}

Result<void> OverlayDirectory::MoveName(const CallContext& own, const Move& move) {
  Inode& up = *upper();
  Inode& target = *move.to.upper();
  OverlayInode* const replaced = move.replaced;
  const bool is_directory = move.moved.type() == S_IFDIR;
  InodeRef whiteout;
  if (replaced == nullptr && move.to.lower_ != nullptr) {
    whiteout = TRY(move.to.FindWhiteout(own, move.new_name));
  }
  // A directory cannot replace a whiteout: that goes aside.
  std::string aside;
  if (whiteout != nullptr && is_directory) aside = TRY(move.to.FreeName(own));
  Spare spare;
  if (move.old_covered) spare = TRY(MakeSpare(own));

  const auto rename = [&]() -> Result<void> {
    Inode* in_the_way = replaced != nullptr ? replaced->upper() : whiteout.get();
    if (!aside.empty()) {
      TRY(target.Rename(own, move.new_name, *whiteout, target, aside, nullptr, 0));
      in_the_way = nullptr;
    }
    if (is_directory && in_the_way != nullptr) {
      TRY(static_cast<OverlayDirectory*>(replaced)->ClearWhiteouts(own));
    }
    return up.Rename(own, move.old_name, *move.moved.upper(), target, move.new_name, in_the_way, 0);
  };
  const Result<void> renamed = rename();
  if (!renamed.ok()) {
    if (!aside.empty()) {
      static_cast<void>(target.Rename(own, aside, *whiteout, target, move.new_name, nullptr, 0));
    }
    if (move.old_covered) static_cast<void>(up.Unlink(own, spare.name, *spare.inode));
    return renamed;
  }
  if (!aside.empty()) static_cast<void>(target.Unlink(own, aside, *whiteout));
  if (move.old_covered) {
    TRY(up.Rename(own, spare.name, *spare.inode, up, move.old_name, nullptr, 0));
  }
  if (replaced == nullptr) return Ok();
  if (replaced->type() == S_IFDIR || replaced->upper() == nullptr) {
    replaced->SetRemoved();
  } else {
    state_->ForgetIfGone(own, *replaced);
  }
  return Ok();
}

}  // namespace ringfence::sentry
