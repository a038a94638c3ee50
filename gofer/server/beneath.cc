#include "gofer/server/beneath.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <utility>

namespace ringfence::gofer {
namespace {

// How often openat2 is tried when a rename on the host ran beside it (openat2(2), EAGAIN).
constexpr int kRaceRetries = 64;

// statfs(2) types of file systems whose files are windows into the host's kernel. Those without a
// name in linux/magic.h are from the kernel sources of the file system.
constexpr uint32_t kMqueueMagic = 0x19800202;
constexpr uint32_t kRpcPipeMagic = 0x67596969;
constexpr uint32_t kFuseCtlMagic = 0x65735543;
constexpr uint32_t kNfsdMagic = 0x6e667364;
constexpr uint32_t kConfigFsMagic = 0x62656570;
constexpr uint32_t kKernelFileSystems[] = {
    PROC_SUPER_MAGIC,     SYSFS_MAGIC,         DEBUGFS_MAGIC, TRACEFS_MAGIC,      SECURITYFS_MAGIC,
    CGROUP_SUPER_MAGIC,   CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC,  EFIVARFS_MAGIC,     SELINUX_MAGIC,
    SMACK_MAGIC,          PSTOREFS_MAGIC,      NSFS_MAGIC,    DEVPTS_SUPER_MAGIC, BINFMTFS_MAGIC,
    BINDERFS_SUPER_MAGIC, kMqueueMagic,        kRpcPipeMagic, kFuseCtlMagic,      kNfsdMagic,
    kConfigFsMagic,
};

Time FromStatx(const statx_timestamp& t) { return {.sec = t.tv_sec, .nsec = t.tv_nsec}; }

Result<Attributes> Statx(int dir, const char* name, int flags) {
  struct statx s;
  if (statx(dir, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
            STATX_BASIC_STATS | STATX_BTIME, &s) != 0) {
    return LastHostErrno();
  }
  return Attributes{.dev = makedev(s.stx_dev_major, s.stx_dev_minor),
                    .ino = s.stx_ino,
                    .mode = s.stx_mode,
                    .nlink = s.stx_nlink,
                    .uid = s.stx_uid,
                    .gid = s.stx_gid,
                    .rdev = makedev(s.stx_rdev_major, s.stx_rdev_minor),
                    .size = s.stx_size,
                    .blocks = s.stx_blocks,
                    .blksize = s.stx_blksize,
                    .atime = FromStatx(s.stx_atime),
                    .mtime = FromStatx(s.stx_mtime),
                    .ctime = FromStatx(s.stx_ctime),
                    .btime = (s.stx_mask & STATX_BTIME) != 0 ? FromStatx(s.stx_btime) : Time{}};
}

}  // namespace

Result<UniqueFd> OpenPath(int dir, const std::string& name) {
  open_how how = {};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0; attempt < kRaceRetries; ++attempt) {
    const long fd = syscall(SYS_openat2, dir, name.c_str(), &how, sizeof(how));
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno != EAGAIN && errno != EINTR) return LastHostErrno();
  }
  return Errno::kAGAIN;
}

Result<PathStep> StepDown(int dir, uint64_t device, const std::string& name) {
  UniqueFd fd = TRY(OpenPath(dir, name));
  const Attributes attr = TRY(StatPath(fd.get()));
  const bool crossed = attr.dev != device;
  const bool on_kernel_fs = crossed && TRY(IsOnKernelFileSystem(fd.get()));
  return PathStep{.fd = std::move(fd), .attr = attr, .on_kernel_fs = on_kernel_fs};
}

Result<Attributes> StatPath(int path_fd) { return Statx(path_fd, "", AT_EMPTY_PATH); }

Result<Attributes> StatEntry(int dir, const std::string& name) {
  return Statx(dir, name.c_str(), 0);
}

Result<FsAttributes> StatFileSystem(int path_fd) {
  struct statfs s;
  if (fstatfs(path_fd, &s) != 0) return LastHostErrno();
  FsAttributes out = {.type = static_cast<uint32_t>(s.f_type),
                      .bsize = static_cast<uint64_t>(s.f_bsize),
                      .blocks = s.f_blocks,
                      .bfree = s.f_bfree,
                      .bavail = s.f_bavail,
                      .files = s.f_files,
                      .ffree = s.f_ffree,
                      .namelen = static_cast<uint64_t>(s.f_namelen),
                      .frsize = static_cast<uint64_t>(s.f_frsize),
                      .flags = static_cast<uint64_t>(s.f_flags)};
  static_assert(sizeof(s.f_fsid) == sizeof(out.fsid));
  std::memcpy(&out.fsid, &s.f_fsid, sizeof(out.fsid));
  return out;
}

Identity Identity::Of(const Attributes& attr) {
  return {.dev = attr.dev, .ino = attr.ino, .type = attr.mode & S_IFMT, .birth = attr.btime};
}

Result<std::string> ReadLinkAt(int path_fd) {
  char target[PATH_MAX];
  const ssize_t size = readlinkat(path_fd, "", target, sizeof(target));
  // An O_PATH descriptor of something else gives ENOENT for an empty path (readlinkat(2)).
  if (size < 0) return errno == ENOENT ? Errno::kINVAL : LastHostErrno();
  return std::string(target, static_cast<size_t>(size));
}

std::string LinkTarget(int dir, const std::string& name) {
  char target[PATH_MAX];
  const ssize_t size = readlinkat(dir, name.c_str(), target, sizeof(target));
  // A target that fills the buffer is cut off.
  if (size < 0 || static_cast<size_t>(size) >= sizeof(target)) return "";
  return std::string(target, static_cast<size_t>(size));
}

Result<UniqueFd> OpenDirectory(int path_fd) {
  const int fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return LastHostErrno();
  return UniqueFd(fd);
}

Result<bool> IsOnKernelFileSystem(int path_fd) {
  struct statfs s;
  if (fstatfs(path_fd, &s) != 0) return LastHostErrno();
  const auto type = static_cast<uint32_t>(s.f_type);
  for (const uint32_t magic : kKernelFileSystems) {
    if (magic == type) return true;
  }
  return false;
}

Result<Reopener> Reopener::Make(UniqueFd self_fd) {
  if (self_fd.valid()) return Reopener(std::move(self_fd));
  self_fd.Reset(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!self_fd.valid()) return LastHostErrno();
  return Reopener(std::move(self_fd));
}

Result<UniqueFd> Reopener::Open(int path_fd, int flags) const {
  const std::string name = std::to_string(path_fd);
  const int fd = openat(self_fd_.get(), name.c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return LastHostErrno();
  return UniqueFd(fd);
}

Result<void> Reopener::ChangeMode(int path_fd, uint32_t mode) const {
  if (fchmodat(self_fd_.get(), std::to_string(path_fd).c_str(), mode, 0) != 0) {
    return LastHostErrno();
  }
  return Ok();
}

Result<void> Reopener::Link(int path_fd, int dir, const std::string& name) const {
  if (linkat(self_fd_.get(), std::to_string(path_fd).c_str(), dir, name.c_str(),
             AT_SYMLINK_FOLLOW) != 0) {
    return LastHostErrno();
  }
  return Ok();
}

}  // namespace ringfence::gofer
