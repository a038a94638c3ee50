// Walker: one walk along a path (path_resolution(7)), the base of every path-based call.
//
// Order of use: Start, ToParent, then either Last (what the last component names) or the caller
// works with parent() and name(). When the last component turns out to be a symlink that must be
// followed, Follow and ToParent again.
#ifndef RINGFENCE_SENTRY_VFS_WALKER_H_
#define RINGFENCE_SENTRY_VFS_WALKER_H_

#include <string>
#include <string_view>

#include "sentry/vfs/mount.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class Walker {
 public:
  // What the last component is. kNone: there is none ("/", or all was consumed by a link).
  enum class LastKind { kName, kDot, kDotDot, kNone };

  Walker(const CallContext& ctx, const PathBase& base, uint32_t resolve);
  // ENOENT for "", ENAMETOOLONG.
  Result<void> Start(std::string_view path);
  // Walks up to the last component, following symlinks; the parent has been checked for search
  // permission.
  Result<void> ToParent();
  // Does the last step. `follow`: also symlinks (a trailing slash always does).
  Result<Path> Last(bool follow);

  const Path& parent() const { return current_; }
  const std::string& name() const { return name_; }
  LastKind kind() const { return kind_; }
  bool trailing_slash() const { return trailing_slash_; }

  // The child `name()` of parent() with mounts crossed. ENOENT.
  Result<Path> LookupName(LookupUse use = LookupUse::kReach);
  // Continues at the target of the symlink `link` in place of the last component. ELOOP.
  Result<void> Follow(const Path& link);

 private:
  Result<void> Step(const std::string& component);
  Result<void> GoUp();
  Result<Path> Child(const std::string& name, LookupUse use);
  Result<void> GoToRoot();
  Result<void> Expand(const Path& link, std::string_view rest);
  Result<void> Jump(const DentryRef& target);
  std::string NextComponent();

  const CallContext& ctx_;
  const uint32_t resolve_;
  DentryRef start_;
  Path root_;
  Path current_;
  std::string rest_;  // what is still to be walked, from position_ on
  size_t position_ = 0;
  std::string name_;
  LastKind kind_ = LastKind::kNone;
  bool trailing_slash_ = false;
  int links_ = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_WALKER_H_
