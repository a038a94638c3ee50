#include "sentry/fs/overlay/inode.h"

#include <fcntl.h>

namespace ringfence::sentry {
namespace {

bool IsOwn(std::string_view name) { return name.starts_with(kOverlayPrefix); }

// What a lower file system without extended attributes says, as one that has them and none are set.
Errno WithoutXattr(Errno error, std::string_view name) {
  const bool known = name.starts_with("user.") || name.starts_with("trusted.");
  return error == Errno::kOPNOTSUPP && known ? Errno::kNODATA : error;
}

}  // namespace

Result<FileId> RawIdOf(const CallContext& own, Inode& upper) {
  const Attributes attr = TRY(upper.GetAttr(own));
  return FileId{attr.dev, attr.ino};
}

Result<bool> IsWhiteout(const CallContext& ctx, Inode& inode) {
  if (inode.type() != S_IFCHR) return false;
  return TRY(inode.GetAttr(ctx)).rdev == 0;
}

OverlayInode::OverlayInode(Init init)
    : Inode(init.state->fs),
      state_(std::move(init.state)),
      type_(init.lower != nullptr ? init.lower->type() : init.upper->type()),
      lower_(std::move(init.lower)),
      place_(std::move(init.place)),
      upper_(std::move(init.upper)),
      id_(init.id) {
  upper_now_.store(upper_.get(), std::memory_order_release);
}

OverlayInode::~OverlayInode() {
  if (raw_id_.ino != 0) state_->Forget(raw_id_);
}

Result<Attributes> OverlayInode::GetAttr(const CallContext& ctx) {
  Inode* const up = upper();
  if (up == nullptr) {
    Attributes attributes = TRY(lower_->GetAttr(ctx));
    if (removed()) attributes.nlink = type_ == S_IFDIR ? 0 : attributes.nlink - 1;
    return attributes;
  }
  Attributes attributes = TRY(up->GetAttr(state_->Own(ctx)));
  const FileId id = id_.ino != 0 ? id_ : state_->UpperId(attributes);
  attributes.dev = id.dev;
  attributes.ino = id.ino;
  // Nobody counts the subdirectories of both; 1 says so, as on Linux.
  if (type_ == S_IFDIR && lower_ != nullptr) attributes.nlink = removed() ? 0 : 1;
  return attributes;
}

Result<void> OverlayInode::SetAttr(const CallContext& ctx, const SetAttrRequest& request) {
  Inode* const up = TRY(CopyUp(ctx, request.size.value_or(~uint64_t{0})));
  return up->SetAttr(ctx, request);
}

Result<FileRef> OverlayInode::Open(const CallContext& ctx, uint32_t flags) {
  Inode* up = upper();
  if (up == nullptr && type_ == S_IFREG && (flags & O_ACCMODE) != O_RDONLY) {
    up = TRY(CopyUp(ctx));
  }
  if (up != nullptr) return up->Open(ctx, flags);
  if (type_ != S_IFREG) return lower_->Open(ctx, flags);
  return OpenLowerRegular(ctx, std::static_pointer_cast<OverlayInode>(shared_from_this()), flags);
}

Result<std::string> OverlayInode::ReadLink(const CallContext& ctx) {
  if (Inode* const up = upper()) return up->ReadLink(state_->Own(ctx));
  return lower_->ReadLink(ctx);
}

Result<std::string> OverlayInode::GetXattr(const CallContext& ctx, std::string_view name) {
  if (IsOwn(name)) return Errno::kOPNOTSUPP;
  if (Inode* const up = upper()) return up->GetXattr(ctx, name);
  Result<std::string> value = lower_->GetXattr(ctx, name);
  if (!value.ok()) return WithoutXattr(value.error(), name);
  return value;
}

Result<void> OverlayInode::SetXattr(const CallContext& ctx, std::string_view name,
                                    std::string_view value, int flags) {
  if (IsOwn(name)) return Errno::kOPNOTSUPP;
  Inode* const up = TRY(CopyUp(ctx));
  return up->SetXattr(ctx, name, value, flags);
}

Result<std::vector<std::string>> OverlayInode::ListXattr(const CallContext& ctx) {
  Inode* const up = upper();
  Result<std::vector<std::string>> names =
      up == nullptr ? lower_->ListXattr(ctx) : up->ListXattr(ctx);
  if (!names.ok()) return names;
  std::erase_if(*names, [](const std::string& name) { return IsOwn(name); });
  return names;
}

Result<void> OverlayInode::RemoveXattr(const CallContext& ctx, std::string_view name) {
  // What is not there is no reason to copy anything.
  TRY(GetXattr(ctx, name));
  Inode* const up = TRY(CopyUp(ctx));
  return up->RemoveXattr(ctx, name);
}

Result<void> OverlayInode::Register(const CallContext& ctx) {
  raw_id_ = TRY(RawIdOf(state_->Own(ctx), *upper()));
  state_->Register(raw_id_, std::static_pointer_cast<OverlayInode>(shared_from_this()));
  return Ok();
}

}  // namespace ringfence::sentry
