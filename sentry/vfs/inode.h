// Inode: a file system object (inode_operations of Linux). File systems derive from it; path
// walking, permissions, mounts and dentries are in vfs.h and not their business.
//
// Names passed to directory operations are single components, neither empty nor "." or "..",
// 1 to 255 bytes without NUL and '/'. Directory-changing calls on one directory are serialised by
// the VFS (a lock of the parent, dcache.h); Lookup and GetAttr may run beside them. What such a
// call does must be complete when it returns: the VFS changes its cache right after.
//
// An inode may outlive its FileSystem when a mapping or an open file keeps it after the last
// unmount; fs() must not be used then by code other than the VFS (which holds the mount).
#ifndef RINGFENCE_SENTRY_VFS_INODE_H_
#define RINGFENCE_SENTRY_VFS_INODE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/vfs/file.h"

namespace ringfence::sentry {

// A st_dev that nothing else in the sandbox has.
uint64_t AllocateDeviceId();

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual std::string_view type() const = 0;  // "tmpfs", "proc": as in /proc/filesystems
  virtual InodeRef root() = 0;
  virtual Result<FsAttributes> StatFs(const CallContext& ctx) = 0;
  virtual bool read_only() const { return false; }
  uint64_t device_id() const { return device_id_; }  // st_dev, unique in the sandbox

 protected:
  FileSystem();
  // Takes over the number of another one, which nobody sees but through this one.
  explicit FileSystem(uint64_t device_id) : device_id_(device_id) {}

 private:
  uint64_t device_id_;
};

// What a lookup is for.
enum class LookupUse {
  kPass,    // a path goes on from there
  kReach,   // it ends there: open, stat
  kCreate,  // to make the name: the file system will say so if it is there after all
  kRemove,  // to remove the name: the file system will say so if it is not
};

struct SetAttrRequest {
  std::optional<uint32_t> mode;  // permission bits only
  std::optional<Uid> uid;
  std::optional<Gid> gid;
  std::optional<uint64_t> size;
  std::optional<Timespec> atime, mtime;
  bool atime_now = false, mtime_now = false;
};

class Inode : public std::enable_shared_from_this<Inode> {
 public:
  explicit Inode(FileSystem* fs) : fs_(fs) {}
  virtual ~Inode() = default;
  FileSystem* fs() const { return fs_; }

  // The advisory locks of the file. `FindLocks` is null as long as nobody has asked for Locks().
  FileLocksRef Locks();
  FileLocksRef FindLocks();

  virtual Result<Attributes> GetAttr(const CallContext& ctx) = 0;
  // Ownership rules (chmod(2), chown(2), utimensat(2)) have been checked. Default EPERM.
  virtual Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request);
  // S_IFMT part of the mode; never changes.
  virtual uint32_t type() const = 0;

  // Opens the object itself (type and permissions have been checked). O_TRUNC, O_CREAT are done.
  virtual Result<FileRef> Open(const CallContext& ctx, uint32_t flags) = 0;

  // --- directories; defaults ENOTDIR, or EPERM/EROFS for changes ---
  virtual Result<InodeRef> Lookup(const CallContext& ctx, std::string_view name);  // ENOENT
  // Makes a regular file, fifo, socket node or device node. EEXIST, ENOSPC.
  virtual Result<InodeRef> Create(const CallContext& ctx, std::string_view name, uint32_t mode,
                                  uint64_t rdev);
  // O_TMPFILE: a regular file without a name, nlink 0. Link() may name it later. EOPNOTSUPP.
  virtual Result<InodeRef> CreateTemporary(const CallContext& ctx, uint32_t mode);
  virtual Result<InodeRef> Mkdir(const CallContext& ctx, std::string_view name, uint32_t mode);
  virtual Result<InodeRef> Symlink(const CallContext& ctx, std::string_view name,
                                   std::string_view target);
  virtual Result<void> Link(const CallContext& ctx, std::string_view name, Inode& target);
  virtual Result<void> Unlink(const CallContext& ctx, std::string_view name, Inode& victim);
  virtual Result<void> Rmdir(const CallContext& ctx, std::string_view name, Inode& victim);
  // Same file system. `replaced` is what new_name is now, if anything.
  virtual Result<void> Rename(const CallContext& ctx, std::string_view old_name, Inode& moved,
                              Inode& new_parent, std::string_view new_name, Inode* replaced,
                              uint32_t flags);
  // May the VFS keep what Lookup said (found or ENOENT) without asking again? False for /proc.
  virtual bool CacheLookups() const { return true; }
  // Where it keeps it: is it still good enough for this use? `child` is what was found, null for
  // ENOENT. If not, Lookup is asked again and gives the same inode when nothing has changed. False
  // for directories that others than the VFS change.
  virtual bool LookupHolds(const Inode* child, LookupUse use) const {
    (void)child, (void)use;
    return true;
  }

  // --- symlinks ---
  virtual Result<std::string> ReadLink(const CallContext& ctx);  // EINVAL
  // Magic links (/proc/PID/fd/N, exe, cwd): the dentry they lead to instead of a path.
  virtual Result<std::optional<DentryRef>> MagicLink(const CallContext& ctx);

  // The process that a directory of /proc stands for, 0 otherwise: pidfd_send_signal(2) takes it.
  virtual int32_t ProcessId() const { return 0; }

  // --- extended attributes; default EOPNOTSUPP ---
  virtual Result<std::string> GetXattr(const CallContext& ctx, std::string_view name);
  virtual Result<void> SetXattr(const CallContext& ctx, std::string_view name,
                                std::string_view value, int flags);
  virtual Result<std::vector<std::string>> ListXattr(const CallContext& ctx);
  virtual Result<void> RemoveXattr(const CallContext& ctx, std::string_view name);

 private:
  FileSystem* fs_;
  std::atomic<bool> has_locks_{false};
  FileLocksRef locks_;  // guarded by a mutex of inode.cc
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_INODE_H_
