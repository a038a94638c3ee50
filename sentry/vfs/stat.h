// Attributes of an inode (statx(2)) and of a file system (statfs(2)), independent of the arch.
#ifndef RINGFENCE_SENTRY_VFS_STAT_H_
#define RINGFENCE_SENTRY_VFS_STAT_H_

#include <cstdint>

#include "sentry/base/credentials.h"

namespace ringfence::sentry {

struct Timespec {
  int64_t sec = 0;
  int64_t nsec = 0;
};

struct Attributes {
  uint64_t dev = 0, ino = 0;
  uint32_t mode = 0;  // type and permissions, S_IF* | 07777
  uint64_t nlink = 1;
  Uid uid = 0;
  Gid gid = 0;
  uint64_t rdev = 0, size = 0, blocks = 0;  // blocks of 512 bytes
  uint32_t blksize = 4096;
  Timespec atime, mtime, ctime, btime;
};

struct FsAttributes {
  uint64_t type = 0, bsize = 4096, blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0;
  uint64_t namelen = 255, frsize = 4096, flags = 0, fsid = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_STAT_H_
