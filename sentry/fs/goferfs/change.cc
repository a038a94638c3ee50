// Changes of a directory: one call each.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <utility>

#include "sentry/fs/goferfs/inode.h"
#include "sentry/vfs/permission.h"

namespace ringfence::sentry {
namespace {

GoferInode& Cast(Inode& inode) { return static_cast<GoferInode&>(inode); }

gofer::NodeId IdOf(const GoferInode& inode) {
  const NodeHandleRef node = inode.KnownNode();
  return node == nullptr ? 0 : node->id();
}

}  // namespace

Result<InodeRef> GoferDirectory::MakeObject(const CallContext& ctx, std::string_view name,
                                            const gofer::NewObject& wanted) {
  if (!state_->writable()) return Errno::kROFS;
  TRY(ctx.RequireBlocking());
  const NewInode owner = InitOwner(*ctx.creds, TRY(GetAttr(ctx)), wanted.mode);
  gofer::NewObject object = wanted;
  object.mode = owner.mode;
  object.uid = owner.uid;
  object.gid = owner.gid;
  const NodeHandleRef here = TRY(EnsureNode(ctx));
  const bool regular = S_ISREG(object.mode);
  const GoferState::Ticket ticket = state_->BeginChange();
  Result<gofer::MadeObject> made = state_->client().Make(
      here->id(), name, object,
      regular ? gofer::Client::AlsoOpen::kYes : gofer::Client::AlsoOpen::kNo, O_RDWR);
  const bool counts = state_->EndChange(ticket);
  NoteChanged(name);
  if (!made.ok()) {
    ForgetAttributes();
    return made.error();
  }
  Learn(made->directory, counts);
  made->node.target = std::string(object.target);
  InodeRef inode = TRY(MakeInodeFor(std::move(made->node), counts));
  if (regular) static_cast<GoferRegular&>(*inode).SetSpare(std::move(made->fd));
  return inode;
}

Result<InodeRef> GoferDirectory::Create(const CallContext& ctx, std::string_view name,
                                        uint32_t mode, uint64_t rdev) {
  return MakeObject(ctx, name, {.mode = mode, .rdev = rdev});
}

Result<InodeRef> GoferDirectory::CreateTemporary(const CallContext& ctx, uint32_t mode) {
  return MakeObject(ctx, "", {.mode = mode});
}

Result<InodeRef> GoferDirectory::Mkdir(const CallContext& ctx, std::string_view name,
                                       uint32_t mode) {
  return MakeObject(ctx, name, {.mode = S_IFDIR | mode});
}

Result<InodeRef> GoferDirectory::Symlink(const CallContext& ctx, std::string_view name,
                                         std::string_view target) {
  return MakeObject(ctx, name, {.mode = S_IFLNK | 0777, .target = target});
}

Result<void> GoferDirectory::Link(const CallContext& ctx, std::string_view name, Inode& target) {
  if (!state_->writable()) return Errno::kROFS;
  TRY(ctx.RequireBlocking());
  const NodeHandleRef here = TRY(EnsureNode(ctx));
  const NodeHandleRef file = TRY(Cast(target).EnsureNode(ctx));
  const GoferState::Ticket ticket = state_->BeginChange();
  const Result<gofer::LinkedFile> linked = state_->client().Link(file->id(), here->id(), name);
  const bool counts = state_->EndChange(ticket);
  NoteChanged(name);
  if (!linked.ok()) {
    ForgetAttributes();
    return linked.error();
  }
  Learn(linked->directory, counts);
  Cast(target).Learn(linked->attr, counts);
  state_->MarkDirty(linked->attr);
  return Ok();
}

Result<void> GoferDirectory::Remove(const CallContext& ctx, std::string_view name, Inode& victim,
                                    gofer::Client::Victim kind) {
  if (!state_->writable()) return Errno::kROFS;
  TRY(ctx.RequireBlocking());
  const NodeHandleRef here = TRY(EnsureNode(ctx));
  const GoferState::Ticket ticket = state_->BeginChange();
  const Result<gofer::Attributes> directory = state_->client().Unlink(here->id(), name, kind);
  const bool counts = state_->EndChange(ticket);
  NoteChanged(name);
  if (!directory.ok()) {
    ForgetAttributes();
    return directory.error();
  }
  Learn(*directory, counts);
  Cast(victim).LostName();
  return Ok();
}

Result<void> GoferDirectory::Unlink(const CallContext& ctx, std::string_view name, Inode& victim) {
  return Remove(ctx, name, victim, gofer::Client::Victim::kFile);
}

Result<void> GoferDirectory::Rmdir(const CallContext& ctx, std::string_view name, Inode& victim) {
  return Remove(ctx, name, victim, gofer::Client::Victim::kDirectory);
}

Result<void> GoferDirectory::Rename(const CallContext& ctx, std::string_view old_name, Inode& moved,
                                    Inode& new_parent, std::string_view new_name, Inode* replaced,
                                    uint32_t flags) {
  if (!state_->writable()) return Errno::kROFS;
  TRY(ctx.RequireBlocking());
  auto& target = static_cast<GoferDirectory&>(new_parent);
  const NodeHandleRef from = TRY(EnsureNode(ctx)), to = TRY(target.EnsureNode(ctx));
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const GoferState::Ticket ticket = state_->BeginChange();
  const Result<gofer::RenamedDirectories> renamed =
      state_->client().Rename({.old_directory = from->id(),
                               .old_name = old_name,
                               .new_directory = to->id(),
                               .new_name = new_name,
                               .flags = flags,
                               .moved = IdOf(Cast(moved)),
                               .exchanged = exchange ? IdOf(Cast(*replaced)) : 0});
  const bool counts = state_->EndChange(ticket);
  NoteChanged(old_name);
  target.NoteChanged(new_name);
  if (!renamed.ok()) {
    ForgetAttributes();
    target.ForgetAttributes();
    return renamed.error();
  }
  Learn(renamed->old_directory, counts);
  target.Learn(renamed->new_directory, counts);
  Cast(moved).MoveTo(std::static_pointer_cast<GoferDirectory>(target.shared_from_this()), new_name);
  if (exchange) {
    Cast(*replaced).MoveTo(std::static_pointer_cast<GoferDirectory>(shared_from_this()), old_name);
  } else if (replaced != nullptr) {
    Cast(*replaced).LostName();
  }
  return Ok();
}

}  // namespace ringfence::sentry
