// For the tests of overlay: an overlay whose lower and upper trees are tmpfs.
#ifndef RINGFENCE_SENTRY_FS_OVERLAY_TEST_TREE_H_
#define RINGFENCE_SENTRY_FS_OVERLAY_TEST_TREE_H_

#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {

// Everything below `path`, one line each, sorted: type, mode, owner, link count (not of
// directories), size, and contents or target. Times with kTimes.
enum class Dump { kPlain, kTimes };
inline void DumpInto(TreeFixture& tree, const std::string& path, Dump how,
                     std::vector<std::string>* lines) {
  std::vector<std::string> names = tree.List(path);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string at = path == "/" ? "/" + name : path + "/" + name;
    const Result<Attributes> attr = tree.Stat(at, false);
    if (!attr.ok()) {
      lines->push_back(at + " " + std::string(ErrnoName(attr.error())));
      continue;
    }
    std::string line = at + " " + std::to_string(attr->mode) + " " + std::to_string(attr->uid);
    if (how == Dump::kTimes) {
      line += " " + std::to_string(attr->mtime.sec) + "." + std::to_string(attr->mtime.nsec);
    }
    if (!S_ISDIR(attr->mode)) line += " " + std::to_string(attr->nlink);
    if (S_ISREG(attr->mode)) line += " " + tree.Contents(at);
    if (S_ISLNK(attr->mode)) line += " " + *Vfs::ReadLink(tree.ctx, tree.base, at);
    lines->push_back(line);
    if (S_ISDIR(attr->mode)) DumpInto(tree, at, how, lines);
  }
}
inline std::vector<std::string> DumpOf(TreeFixture& tree, Dump how = Dump::kPlain) {
  std::vector<std::string> lines;
  DumpInto(tree, "/", how, &lines);
  return lines;
}

// The calls of TreeFixture go to the overlay; `below` fills and shows the lower tree, `above` the
// upper one.
class OverlayTree : public TreeFixture {
 public:
  explicit OverlayTree(const std::function<void(TreeFixture&)>& fill,
                       Tmpfs::Options upper_options = {})
      : above(upper_options) {
    fill(below);
    lower_before = DumpOf(below, Dump::kTimes);
    Mount(true);
  }

  ~OverlayTree() {
    // Before the memory of the two trees.
    context.reset();
    ns.reset();
    overlay.reset();
  }

  // A new overlay on the same trees: nothing is known but what they say.
  void Remount() { Mount(false); }
  bool LowerIsUnchanged() { return DumpOf(below, Dump::kTimes) == lower_before; }

  Errno SetAttr(std::string_view path, const SetAttrRequest& request) {
    const Result<DentryRef> dentry = Vfs::Resolve(ctx, base, path);
    if (!dentry.ok()) return dentry.error();
    return ErrorOf(Vfs::SetAttr(ctx, *dentry, request));
  }
  Errno Chmod(std::string_view path, uint32_t mode) {
    SetAttrRequest request;
    request.mode = mode;
    return SetAttr(path, request);
  }
  Errno Append(std::string_view path, std::string_view data) {
    const Result<FileRef> file = Open(path, O_WRONLY | O_APPEND);
    return file.ok() ? ErrorOf(WriteTo(ctx, **file, data)) : file.error();
  }
  bool HasUpper(std::string_view path) { return above.Stat(path, false).ok(); }

  std::function<bool(const CallContext&)> caller_ends;  // OverlayFs::Options
  TreeFixture below, above;
  std::vector<std::string> lower_before;

 private:
  void Mount(bool fresh) {
    Result<std::shared_ptr<OverlayFs>> made =
        OverlayFs::Create({.lower = below.fs,
                           .upper = above.fs,
                           .new_upper = fresh,
                           .caller_ends = [this](const CallContext& caller) {
                             return caller_ends && caller_ends(caller);
                           }});
    overlay = *made;
    ns = MountNamespace::Create(overlay, "overlay");
    context = std::make_shared<FsContext>(ns->root(), ns->root(), 022);
    base.fs = context.get();
  }

 public:
  std::shared_ptr<OverlayFs> overlay;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_OVERLAY_TEST_TREE_H_
