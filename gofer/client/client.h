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
//   EROFS   a change in a tree that the gofer serves read-only
//   EXDEV   two nodes of one call are of different trees
//
// Calls that change files do what the system call of that name does, without the guest's umask and
// permissions. What is made belongs to the ids asked for, or is not made: EPERM where the gofer may
// not give it away, EINVAL for an id that its user namespace does not have.
#ifndef RINGFENCE_GOFER_CLIENT_CLIENT_H_
#define RINGFENCE_GOFER_CLIENT_CLIENT_H_

#include <cstdint>
#include <optional>
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
inline constexpr size_t kMaxXattrName = 255;
inline constexpr size_t kMaxXattrValue = 65536;  // XATTR_SIZE_MAX
inline constexpr size_t kMaxXattrNames = 4096;   // of one file; XATTR_LIST_MAX allows no more

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
  UniqueFd fd;      // a regular file's, close-on-exec: use pread, pwrite and mmap
  Attributes attr;  // at the time of the open
};

// What Make makes: a directory, regular file, symlink, fifo, socket, or the character device 0/0
// that stands for a removed name in an overlay. Other devices: EPERM.
struct NewObject {
  uint32_t mode = 0;  // type and permissions, exactly those it will have
  uint32_t uid = 0, gid = 0;
  uint64_t rdev = 0;
  std::string_view target{};  // of a symlink
};

struct MadeObject {
  Node node;
  UniqueFd fd;           // of a regular file, if asked for
  Attributes directory;  // afterwards
};

struct LinkedFile {
  Attributes attr;
  Attributes directory;
};

struct RenamedDirectories {
  Attributes old_directory, new_directory;
};

// Which of them to change, and to what.
struct AttributeChange {
  struct When {
    bool now = false;
    Time time{};  // unless now
  };
  std::optional<uint32_t> mode{};  // permissions only
  std::optional<uint32_t> uid{}, gid{};
  std::optional<uint64_t> size{};  // of a regular file
  std::optional<When> atime{}, mtime{};
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

  // The root of tree number `tree`: 0 is the container's root, others are its volumes, whose root
  // may be a regular file. Before anything else in that tree. EINVAL: there is no such tree.
  virtual Result<Node> Attach(uint32_t tree) = 0;

  // Walks from directory `node` down `components`: 1 to kMaxWalkComponents names, each 1 to
  // kMaxNameLength bytes without '/' and NUL, neither "." nor "..". A missing component is not an
  // error of the call but WalkResult::stopped.
  virtual Result<WalkResult> Walk(NodeId node, std::span<const std::string_view> components) = 0;

  virtual Result<Attributes> GetAttr(NodeId node) = 0;

  // EINVAL for anything but a symlink.
  virtual Result<std::string> ReadLink(NodeId node) = 0;

  // Opens a regular file: the node, or what a walk from it along `components` (at most
  // kMaxWalkComponents) leads to; then errors of such a walk too. `flags`: the access mode,
  // optionally O_APPEND, O_TRUNC, O_NOATIME or O_DIRECT as in open(2); anything else is EINVAL.
  // EISDIR for a directory, ELOOP for a symlink, ENXIO for a fifo, socket or device.
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
  // later calls, at the latest with the next one that opens, makes or removes a file or asks how
  // much room there is: what has no name any more takes room until then. May be called on a service
  // thread.
  virtual void Close(std::span<const NodeId> nodes) = 0;

  // --- changes; by default EROFS, as of a tree that is served read-only ---

  // Makes `name` in `directory`: EEXIST when it is there. A `name` of "" makes a regular file
  // without one (O_TMPFILE; Link may give it one). A regular file is opened too, with `open_flags`
  // as for Open, if `open` says so.
  enum class AlsoOpen { kNo, kYes };
  virtual Result<MadeObject> Make(NodeId directory, std::string_view name, const NewObject& object,
                                  AlsoOpen open, uint32_t open_flags);
  virtual Result<LinkedFile> Link(NodeId node, NodeId directory, std::string_view name);
  // The attributes of the directory afterwards.
  enum class Victim { kFile, kDirectory };
  virtual Result<Attributes> Unlink(NodeId directory, std::string_view name, Victim victim);
  // `flags`: RENAME_NOREPLACE or RENAME_EXCHANGE. `moved` and `exchanged` are the nodes of what is
  // moved, which follow to their new names; 0 where the caller has none.
  struct RenameArgs {
    NodeId old_directory;
    std::string_view old_name;
    NodeId new_directory;
    std::string_view new_name;
    uint32_t flags = 0;
    NodeId moved = 0, exchanged = 0;
  };
  virtual Result<RenamedDirectories> Rename(const RenameArgs& args);
  // All of `change` or, after an error, a part of it. The attributes afterwards.
  virtual Result<Attributes> SetAttr(NodeId node, const AttributeChange& change);
  // fsync(2) of a directory or regular file. Not refused in a tree that is served read-only.
  virtual Result<void> Sync(NodeId node);

  // Extended attributes of regular files and directories, of the user namespace ("user.") only:
  // others are not there (ENODATA) and cannot be set (EOPNOTSUPP), xattr(7). Default EOPNOTSUPP.
  virtual Result<std::string> GetXattr(NodeId node, std::string_view name);
  virtual Result<std::vector<std::string>> ListXattr(NodeId node);
  virtual Result<void> SetXattr(NodeId node, std::string_view name, std::string_view value,
                                uint32_t flags);
  virtual Result<void> RemoveXattr(NodeId node, std::string_view name);

  // Round trips so far; any thread.
  virtual uint64_t RoundTrips() const { return 0; }
};

inline Result<MadeObject> Client::Make(NodeId, std::string_view, const NewObject&, AlsoOpen,
                                       uint32_t) {
  return Errno::kROFS;
}
inline Result<LinkedFile> Client::Link(NodeId, NodeId, std::string_view) { return Errno::kROFS; }
inline Result<Attributes> Client::Unlink(NodeId, std::string_view, Victim) { return Errno::kROFS; }
inline Result<RenamedDirectories> Client::Rename(const RenameArgs&) { return Errno::kROFS; }
inline Result<Attributes> Client::SetAttr(NodeId, const AttributeChange&) { return Errno::kROFS; }
inline Result<void> Client::Sync(NodeId) { return Ok(); }
inline Result<std::string> Client::GetXattr(NodeId, std::string_view) { return Errno::kOPNOTSUPP; }
inline Result<std::vector<std::string>> Client::ListXattr(NodeId) { return Errno::kOPNOTSUPP; }
inline Result<void> Client::SetXattr(NodeId, std::string_view, std::string_view, uint32_t) {
  return Errno::kOPNOTSUPP;
}
inline Result<void> Client::RemoveXattr(NodeId, std::string_view) { return Errno::kOPNOTSUPP; }

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_CLIENT_CLIENT_H_
