// overlay: a writable view of a read-only tree (Documentation/filesystems/overlayfs of Linux).
//
// Two trees are shown as one. `lower` is never changed; whatever is written goes to `upper`. An
// object of the lower tree is copied to the upper one when it is first changed (copy-up); a name
// that was removed is covered by a whiteout there (a character device 0/0); directories that both
// have are merged unless the upper one is opaque ("trusted.overlay.opaque" = "y"). A merged
// directory that was renamed says where its lower part is ("trusted.overlay.redirect").
//
// Only what Inode and FileSystem offer is used: any file system can be below, any writable one that
// has device nodes, extended attributes, O_TMPFILE and links can be above. Nobody else may change
// either tree meanwhile.
//
// Files that are not copied up are the lower file's own: reads take one branch more, mappings are
// those of the lower file and share its pages. A file that is open for reading when it is copied up
// is read from the copy from then on; a mapping made before keeps showing the lower file. (Both as
// on Linux.)
//
// Threads: any. Locks: README.md.
#ifndef RINGFENCE_SENTRY_FS_OVERLAY_OVERLAY_H_
#define RINGFENCE_SENTRY_FS_OVERLAY_OVERLAY_H_

#include <functional>
#include <memory>

#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

struct OverlayState;

// Inode numbers of the upper tree have this bit, which those of the lower one, a host's, do not
// have; as a double (JavaScript) they are still exact.
inline constexpr uint64_t kUpperInode = uint64_t{1} << 52;

class OverlayFs : public FileSystem {
 public:
  struct Options {
    std::shared_ptr<FileSystem> lower;
    std::shared_ptr<FileSystem> upper;
    // The upper tree is new: its root takes over owner, mode and times of the lower root.
    bool new_upper = true;
    // Is the caller to end, so that a copy is given up (EINTR)? Any thread; null: never.
    std::function<bool(const CallContext& ctx)> caller_ends{};
  };
  // st_dev is that of the lower tree, and should be that of the upper one with numbers from
  // kUpperInode on: /proc/PID/maps, which asks the mapped file itself, then agrees with stat(2) but
  // for files that were copied up.
  // EROFS: the upper tree cannot be written. ENOTDIR: a root is no directory. Asks both roots for
  // their attributes: may block.
  static Result<std::shared_ptr<OverlayFs>> Create(const Options& options);

  std::string_view type() const override { return "overlay"; }
  InodeRef root() override { return root_; }
  // Room and limits are those of the upper tree.
  Result<FsAttributes> StatFs(const CallContext& ctx) override;

 private:
  OverlayFs(const Options& options, uint64_t device_id);
  const std::shared_ptr<OverlayState> state_;
  InodeRef root_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_OVERLAY_OVERLAY_H_
