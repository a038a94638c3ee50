#include "sentry/fs/overlay/overlay.h"

#include <charconv>

#include "sentry/fs/overlay/inode.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMagic = 0x794c7630;  // OVERLAYFS_SUPER_MAGIC

// The root of a new upper tree looks like the lower one.
Result<void> TakeOver(const CallContext& own, const Attributes& lower, Inode& upper) {
  SetAttrRequest request;
  request.mode = lower.mode & 07777;
  request.uid = lower.uid;
  request.gid = lower.gid;
  request.atime = lower.atime;
  request.mtime = lower.mtime;
  return upper.SetAttr(own, request);
}

}  // namespace

CallContext OverlayState::Own(const CallContext& ctx) const {
  CallContext own;
  own.creds = creds;
  own.may_block = ctx.may_block;
  return own;
}

FileId OverlayState::UpperId(const Attributes& attr) const {
  return {device_id, attr.ino | kUpperInode};
}

Result<std::optional<FileId>> OverlayState::OriginOf(const CallContext& ctx, Inode& upper) const {
  const Result<std::string> text = upper.GetXattr(Own(ctx), kOrigin);
  if (!text.ok()) {
    if (text.error() == Errno::kNODATA || text.error() == Errno::kOPNOTSUPP) {
      return std::optional<FileId>();
    }
    return text.error();
  }
  FileId id;
  const char* const end = text->data() + text->size();
  const auto dev = std::from_chars(text->data(), end, id.dev);
  if (dev.ec != std::errc() || dev.ptr == end || *dev.ptr != ' ') return Errno::kIO;
  const auto ino = std::from_chars(dev.ptr + 1, end, id.ino);
  if (ino.ec != std::errc() || ino.ptr != end || id.ino == 0) return Errno::kIO;
  if (id.dev == 0) id.dev = device_id;
  return std::optional<FileId>(id);
}

void OverlayState::Register(const FileId& raw, const std::shared_ptr<OverlayInode>& inode) {
  absl::MutexLock lock(&mutex);
  upper_files[raw] = inode;
}

void OverlayState::Forget(const FileId& raw) {
  absl::MutexLock lock(&mutex);
  const auto found = upper_files.find(raw);
  // Another one may have come in its place meanwhile.
  if (found != upper_files.end() && found->second.expired()) upper_files.erase(found);
}

void OverlayState::ForgetIfGone(const CallContext& own, OverlayInode& inode) {
  if (inode.upper() == nullptr || inode.raw_id_.ino == 0) return;
  const Result<Attributes> attr = inode.upper()->GetAttr(own);
  if (!attr.ok() || attr->nlink != 0) return;
  absl::MutexLock lock(&mutex);
  upper_files.erase(inode.raw_id_);
}

Result<InodeRef> OverlayState::UpperFile(const CallContext& ctx, InodeRef upper_inode) {
  const FileId raw = TRY(RawIdOf(Own(ctx), *upper_inode));
  {
    absl::MutexLock lock(&mutex);
    const auto found = upper_files.find(raw);
    if (found != upper_files.end()) {
      if (std::shared_ptr<OverlayInode> known = found->second.lock()) return InodeRef(known);
    }
  }
  const std::optional<FileId> origin = TRY(OriginOf(ctx, *upper_inode));
  OverlayInode::Init init{
      .state = shared_from_this(), .lower = nullptr, .upper = std::move(upper_inode)};
  if (origin) init.id = *origin;
  auto made = std::make_shared<OverlayInode>(std::move(init));
  made->raw_id_ = raw;
  absl::MutexLock lock(&mutex);
  std::weak_ptr<OverlayInode>& slot = upper_files[raw];
  // Somebody else was faster.
  if (std::shared_ptr<OverlayInode> known = slot.lock()) return InodeRef(known);
  slot = made;
  return InodeRef(made);
}

OverlayFs::OverlayFs(const Options& options, uint64_t device_id)
    : FileSystem(device_id), state_(std::make_shared<OverlayState>()) {
  state_->lower = options.lower;
  state_->upper = options.upper;
  state_->fs = this;
  state_->device_id = device_id;
  state_->caller_ends = options.caller_ends;
}

Result<std::shared_ptr<OverlayFs>> OverlayFs::Create(const Options& options) {
  if (options.upper->read_only()) return Errno::kROFS;
  CallContext own;
  own.creds = std::make_shared<Credentials>();
  const InodeRef lower = options.lower->root(), upper = options.upper->root();
  // The root of a gofer's tree can be a file, and a hostile gofer's be one when it suits it.
  if (lower->type() != S_IFDIR || upper->type() != S_IFDIR) return Errno::kNOTDIR;
  const Attributes attr = TRY(lower->GetAttr(own));
  std::shared_ptr<OverlayFs> fs(new OverlayFs(options, attr.dev));
  OverlayState& state = *fs->state_;
  state.lower_root = lower;
  state.upper_root = upper;
  // The overlay works as the one whose tree the upper one is, which is root or, where only one id
  // can own files of the host, that.
  const Attributes kept = TRY(upper->GetAttr(own));
  auto creds = std::make_shared<Credentials>();
  creds->fsuid = kept.uid;
  creds->fsgid = kept.gid;
  state.creds = std::move(creds);
  if (options.new_upper) TRY(TakeOver(own, attr, *upper));
  fs->root_ = std::make_shared<OverlayDirectory>(
      OverlayInode::Init{
          .state = fs->state_, .lower = lower, .upper = upper, .id = FileId{attr.dev, attr.ino}},
      "/");
  return fs;
}

Result<FsAttributes> OverlayFs::StatFs(const CallContext& ctx) {
  FsAttributes attributes = TRY(state_->upper->StatFs(state_->Own(ctx)));
  attributes.type = kMagic;
  attributes.fsid = device_id();
  return attributes;
}

}  // namespace ringfence::sentry
