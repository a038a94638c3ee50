// goferfs: a tree of a gofer as a file system.
//
// Who owns the tree decides what is believed. Of one that the sandbox owns, what was learned is
// never asked again: attributes and symlink targets come with lookups and directory listings, which
// are kept; a directory that was listed answers lookups, also of missing names, without a call.
// Nodes of entries that came with a listing are only asked for when something below them is. A
// program that walks through a tree gets many directories with one call (read_ahead.h). A tree that
// others change too is asked each time a path ends in it; see README.md.
//
// Data does not go through the gofer: an open regular file has a donated descriptor, from which it
// is read, written and mapped (fs/host/fd_pages.h). Idle descriptors are bounded in number; the
// least recently used are closed and asked for again when needed. Fifos, sockets and devices of the
// host are shown and never opened (ENXIO; fifos of a writable tree are pipes of the sandbox).
//
// Calls to the gofer need ctx.may_block. Threads: any. Locks, all leaves and never held across a
// call: GoferInode::mutex_, GoferState::mutex.
#ifndef RINGFENCE_SENTRY_FS_GOFERFS_GOFERFS_H_
#define RINGFENCE_SENTRY_FS_GOFERFS_GOFERFS_H_

#include <memory>

#include "gofer/client/client.h"
#include "platform/mem/guest_memory.h"
#include "sentry/fs/host/fd_pages.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

struct GoferState;

class GoferFs : public FileSystem {
 public:
  enum class Access { kReadOnly, kReadWrite };
  enum class Owner {
    kSandbox,  // nobody else changes it meanwhile
    kShared,
  };
  struct Options {
    std::shared_ptr<gofer::Client> client;
    uint32_t tree = 0;                  // Client::Attach
    Access access = Access::kReadOnly;  // no more than the gofer allows for this tree
    Owner owner = Owner::kSandbox;
    // An overlay has its upper layer here: extended attributes called "trusted.overlay." are those
    // called "user.overlay." of the host, as with overlayfs's option userxattr.
    bool is_overlay_upper = false;
    std::shared_ptr<ChunkCache> chunks;  // null: files cannot be mapped (ENODEV)
    size_t max_idle_descriptors = 1024;
    size_t max_listed_entries = 256 * 1024;  // kept in memory, of all directories together
  };
  // Attaches to the gofer: a call. Errors of Client::Attach. The root may be a regular file.
  static Result<std::shared_ptr<GoferFs>> Create(const Options& options);

  std::string_view type() const override { return "goferfs"; }
  InodeRef root() override { return root_; }
  Result<FsAttributes> StatFs(const CallContext& ctx) override;
  bool read_only() const override;

 private:
  explicit GoferFs(std::shared_ptr<GoferState> state) : state_(std::move(state)) {}
  const std::shared_ptr<GoferState> state_;
  InodeRef root_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_GOFERFS_H_
