// Client: the sentry's view of a gofer, the process that reaches the container's files.
//
// The tree is addressed by nodes. A node is the gofer's handle for one file, directory, symlink
// or special file; its id is meaningful to that gofer only. Attach gives the root, Walk and ReadDir
// hand out further ones. Every id handed out is owned by the caller and given back with Close
// exactly once, in any order (a parent may go before its children); the root is never closed.
// Each call that hands out a node makes a new id, also for a file seen before: dev and ino of the
// attributes tell whether two nodes are the same file.
//
// The gofer follows no symlink: a walk stops there and the caller resolves it in its own mount
// tree. The gofer checks what it needs to protect the host, not the guest's permissions: those
// are the caller's business.
//
// Threads: any, concurrently. All calls but Close block for a round trip to another process (call
// CallContext::RequireBlocking first).
//
// Errors: the errno the host gave, and
//   EIO     the gofer is gone or answers nonsense; the first time, one line is logged
//   ESTALE  the node is not where it was found any more (the host renamed or replaced it)
//   ENFILE  the gofer's node table is full: close nodes and try again
//   EINVAL  a component or size outside the bounds below, or an id that was never handed out
//   EACCES  the object lies on a kernel file system of the host (proc, sysfs, ...), whose root can
//           be named and be a mount point but neither entered nor read
#ifndef RINGFENCE_GOFER_CLIENT_CLIENT_H_
#define RINGFENCE_GOFER_CLIENT_CLIENT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/result.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

using NodeId = uint64_t;  // never 0

inline constexpr size_t kMaxNameLength = 255;      // of a component (NAME_MAX)
inline constexpr size_t kMaxWalkComponents = 128;  // of one Walk
inline constexpr size_t kMaxLinkTarget = 4096;     // including a final NUL (PATH_MAX)
inline constexpr uint32_t kMaxReadDirBytes = 256 * 1024;
inline constexpr size_t kMaxCloseBatch = 4096;
inline constexpr size_t kMaxTreeDirectories = 256;  // names asked for and listings given, each

struct Time {
  int64_t sec = 0;
  uint32_t nsec = 0;  // < 1000000000
};

// As statx(2).
struct Attributes {
  uint64_t dev = 0, ino = 0;
  uint32_t mode = 0;  // type and permissions
  uint64_t nlink = 0;
  uint32_t uid = 0, gid = 0;
  uint64_t rdev = 0, size = 0, blocks = 0;  // blocks of 512 bytes
  uint32_t blksize = 4096;
  Time atime{}, mtime{}, ctime{}, btime{};
};

// As statfs(2).
struct FsAttributes {
  uint64_t type = 0, bsize = 0, blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0;
  uint64_t namelen = 0, frsize = 0, flags = 0, fsid = 0;
};

struct Node {
  NodeId id = 0;
  Attributes attr{};
  std::string target{};  // of a symlink; empty: ask with ReadLink
};

struct WalkResult {
  // One for each component resolved, in order; shorter than what was asked when the walk stopped.
  std::vector<Node> nodes;
  // Why it stopped, or Errno{} when it did not: ENOENT and the like for the component after the
  // last node; ENOTDIR when the last node is no directory and components remain; ELOOP when the
  // last node is a symlink and components remain (read it, resolve it, walk on).
  Errno stopped{};
};

struct OpenedFile {
  UniqueFd fd;      // a regular file's, O_RDONLY, close-on-exec: use pread and mmap
  Attributes attr;  // at the time of the open
};

// What ReadDir says of each entry; each level costs the gofer more.
enum class EntryDetail {
  kNames,       // attr.ino and the type bits of attr.mode only (mode 0: type unknown)
  kAttributes,  // all attributes, targets of symlinks
  kNodes,       // these and a node, as if walked to
};

struct DirectoryEntry {
  std::string name;         // any bytes but NUL and '/'; "." and ".." are left out
  int64_t next_cookie = 0;  // ReadDir from here starts after this entry
  NodeId id = 0;            // kNodes only; 0 also there for mount points: walk to them
  Attributes attr{};
  std::string target{};  // of a symlink; empty: ask with ReadLink
};

struct DirectoryPage {
  std::vector<DirectoryEntry> entries;
  bool end = false;  // nothing follows
};

// A directory that was read whole, entries as with EntryDetail::kAttributes but without cookies.
struct ListedDirectory {
  Attributes attr;  // of the directory itself: dev and ino tell which it is
  std::vector<DirectoryEntry> entries;
};

class Client {
 public:
  virtual ~Client() = default;

  // The root of the tree. Once, before anything else.
  virtual Result<Node> Attach() = 0;

  // Walks from directory `node` down `components`: 1 to kMaxWalkComponents names, each 1 to
  // kMaxNameLength bytes without '/' and NUL, neither "." nor "..". A missing component is not an
  // error of the call but WalkResult::stopped.
  virtual Result<WalkResult> Walk(NodeId node, std::span<const std::string_view> components) = 0;

  virtual Result<Attributes> GetAttr(NodeId node) = 0;

  // EINVAL for anything but a symlink.
  virtual Result<std::string> ReadLink(NodeId node) = 0;

  // Opens a regular file for reading: the node, or what a walk from it along `components` (at most
  // kMaxWalkComponents) leads to; then errors of such a walk too. `flags`: O_RDONLY, optionally
  // O_NOATIME or O_DIRECT as in open(2); anything else is EROFS (write access) or EINVAL. EISDIR
  // for a directory, ELOOP for a symlink, ENXIO for a fifo, socket or device.
  virtual Result<OpenedFile> Open(NodeId node, std::span<const std::string_view> components,
                                  uint32_t flags) = 0;

  // Entries of a directory from `cookie` (0: the start) on, about `max_bytes` (at most
  // kMaxReadDirBytes) of them, at least one unless the end is reached. Cookies are the host file
  // system's and stay valid as its d_off does.
  virtual Result<DirectoryPage> ReadDir(NodeId node, int64_t cookie, uint32_t max_bytes,
                                        EntryDetail detail) = 0;

  // Lists many directories for a walk through a whole tree: those called `names` in directory
  // `node`, in this order, each followed by those below it, depth first in the order of its
  // entries; at most `max_directories` (1 to kMaxTreeDirectories, as many names at most) and about
  // `max_bytes` (at most kMaxReadDirBytes) of entries. Each is whole. Those that cannot be read,
  // are no directories or lie too deep are left out; nothing is given when already the first is
  // larger than max_bytes: ReadDir tells more.
  virtual Result<std::vector<ListedDirectory>> ReadTree(NodeId node,
                                                        std::span<const std::string_view> names,
                                                        size_t max_directories,
                                                        uint32_t max_bytes) = 0;

  virtual Result<FsAttributes> StatFs(NodeId node) = 0;

  // Gives nodes back. Never blocks, never fails: they are queued and sent in batches along with
  // later calls. May be called on a service thread.
  virtual void Close(std::span<const NodeId> nodes) = 0;
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_CLIENT_CLIENT_H_
