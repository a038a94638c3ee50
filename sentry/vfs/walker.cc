#include "sentry/vfs/walker.h"

#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "sentry/vfs/permission.h"

namespace ringfence::sentry {
namespace {

constexpr int kMaxLinks = 40;
constexpr uint64_t kNoSymFollow = 256;  // MS_NOSYMFOLLOW

Walker::LastKind KindOf(std::string_view name) {
  if (name.empty()) return Walker::LastKind::kNone;
  if (name == ".") return Walker::LastKind::kDot;
  if (name == "..") return Walker::LastKind::kDotDot;
  return Walker::LastKind::kName;
}

}  // namespace

Walker::Walker(const CallContext& ctx, const PathBase& base, uint32_t resolve)
    : ctx_(ctx),
      resolve_(resolve),
      start_(base.start != nullptr ? base.start : base.fs->cwd()),
      current_(PathOfDentry(start_)) {
  // Beneath and in-root walks are confined to where they start.
  const bool scoped = (resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0;
  root_ = scoped || base.fs == nullptr ? current_ : PathOfDentry(base.fs->root());
}

Result<void> Walker::Start(std::string_view path) {
  if (path.empty()) return Errno::kNOENT;
  if (path.size() >= PATH_MAX) return Errno::kNAMETOOLONG;
  rest_ = std::string(path);
  position_ = 0;
  if (path[0] == '/') return GoToRoot();
  return Ok();
}

Result<void> Walker::GoToRoot() {
  if ((resolve_ & RESOLVE_BENEATH) != 0) return Errno::kXDEV;
  if ((resolve_ & RESOLVE_NO_XDEV) != 0 && root_.mount != current_.mount) return Errno::kXDEV;
  current_ = root_;
  return Ok();
}

std::string Walker::NextComponent() {
  const size_t begin = rest_.find_first_not_of('/', position_);
  if (begin == std::string::npos) {
    position_ = rest_.size();
    return "";
  }
  size_t end = rest_.find('/', begin);
  if (end == std::string::npos) end = rest_.size();
  position_ = end;
  return rest_.substr(begin, end - begin);
}

Result<void> Walker::ToParent() {
  for (;;) {
    std::string component = NextComponent();
    kind_ = KindOf(component);
    if (kind_ == LastKind::kNone) {
      name_.clear();
      trailing_slash_ = false;
      return Ok();
    }
    TRY(CheckSearch(ctx_, *current_.node->inode()));
    if (component.size() > NAME_MAX) return Errno::kNAMETOOLONG;
    if (rest_.find_first_not_of('/', position_) == std::string::npos) {
      trailing_slash_ = position_ < rest_.size();
      name_ = std::move(component);
      return Ok();
    }
    TRY(Step(component));
  }
}

// An intermediate component: "."; ".."; or a name whose symlinks are followed.
Result<void> Walker::Step(const std::string& component) {
  switch (KindOf(component)) {
    case LastKind::kDot:
    case LastKind::kNone:
      return Ok();
    case LastKind::kDotDot:
      return GoUp();
    case LastKind::kName:
      break;
  }
  Path child = TRY(Child(component, LookupUse::kPass));
  if (child.node->inode()->type() == S_IFLNK) return Expand(child, rest_.substr(position_));
  if (child.node->inode()->type() != S_IFDIR) return Errno::kNOTDIR;
  current_ = std::move(child);
  return Ok();
}

Result<void> Walker::GoUp() {
  for (;;) {
    if (current_ == root_) {
      if ((resolve_ & RESOLVE_BENEATH) != 0) return Errno::kXDEV;
      break;
    }
    if (current_.node != current_.mount->root()) {
      NodeRef up = current_.mount->superblock().ParentOf(*current_.node);
      if (up != nullptr) current_.node = std::move(up);
      break;
    }
    std::optional<Path> below = MountTree::Below(current_);
    if (!below) break;
    if ((resolve_ & RESOLVE_NO_XDEV) != 0) return Errno::kXDEV;
    current_ = std::move(*below);
  }
  current_ = MountTree::Cover(std::move(current_));
  return Ok();
}

Result<Path> Walker::Child(const std::string& name, LookupUse use) {
  NodeRef node = TRY(current_.mount->superblock().Lookup(ctx_, current_.node, name, use));
  Path child = MountTree::Cover(Path{current_.mount, std::move(node)});
  if ((resolve_ & RESOLVE_NO_XDEV) != 0 && child.mount != current_.mount) return Errno::kXDEV;
  return child;
}

Result<Path> Walker::LookupName(LookupUse use) { return Child(name_, use); }

Result<void> Walker::Follow(const Path& link) { return Expand(link, trailing_slash_ ? "/" : ""); }

Result<void> Walker::Expand(const Path& link, std::string_view rest) {
  if (++links_ > kMaxLinks || (resolve_ & RESOLVE_NO_SYMLINKS) != 0 ||
      (link.mount->flags() & kNoSymFollow) != 0) {
    return Errno::kLOOP;
  }
  Inode& inode = *link.node->inode();
  std::string tail(rest);  // `rest` may point into rest_
  std::optional<DentryRef> magic = TRY(inode.MagicLink(ctx_));
  if (magic) {
    TRY(Jump(*magic));
    rest_ = std::move(tail);
    position_ = 0;
    return Ok();
  }
  std::string target = TRY(inode.ReadLink(ctx_));
  if (target.empty()) return Errno::kNOENT;
  if (target.size() >= PATH_MAX) return Errno::kNAMETOOLONG;
  if (target[0] == '/') TRY(GoToRoot());
  rest_ = std::move(target) + tail;
  position_ = 0;
  return Ok();
}

Result<void> Walker::Jump(const DentryRef& target) {
  if ((resolve_ & RESOLVE_NO_MAGICLINKS) != 0) return Errno::kLOOP;
  Path path = PathOfDentry(target);
  if ((resolve_ & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0) return Errno::kXDEV;
  if ((resolve_ & RESOLVE_NO_XDEV) != 0 && path.mount != current_.mount) return Errno::kXDEV;
  current_ = std::move(path);
  return Ok();
}

Result<Path> Walker::Last(bool follow) {
  for (;;) {
    switch (kind_) {
      case LastKind::kNone:
        // A trailing slash after a magic link, or "/": the place itself.
        if (!rest_.empty() && current_.node->inode()->type() != S_IFDIR) return Errno::kNOTDIR;
        return current_;
      case LastKind::kDot:
        return current_;
      case LastKind::kDotDot:
        TRY(GoUp());
        return current_;
      case LastKind::kName:
        break;
    }
    Path child = TRY(LookupName());
    const uint32_t type = child.node->inode()->type();
    if (type == S_IFLNK && (follow || trailing_slash_)) {
      TRY(Follow(child));
      TRY(ToParent());
      continue;
    }
    if (trailing_slash_ && type != S_IFDIR) return Errno::kNOTDIR;
    return child;
  }
}

}  // namespace ringfence::sentry
