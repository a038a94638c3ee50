// goferfs: the tree of a gofer as a read-only file system.
//
// The sandbox owns the tree ("exclusive"): what was learned of it is never asked again. Attributes
// and symlink targets come with lookups and directory listings, which are kept; a directory that
// was listed answers lookups, also of missing names, without a call. Nodes of entries that came
// with a listing are only asked for when something below them is. A program that walks through a
// tree gets many directories with one call (read_ahead.h).
//
// Data does not go through the gofer: an open regular file has a donated descriptor, from which it
// is read and mapped (fs/host/fd_pages.h). Idle descriptors are bounded in number; the least
// recently used are closed and asked for again when needed. Fifos, sockets and devices of the host
// are shown and never opened (ENXIO).
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
  struct Options {
    std::shared_ptr<gofer::Client> client;
    std::shared_ptr<ChunkCache> chunks;  // null: files cannot be mapped (ENODEV)
    size_t max_idle_descriptors = 1024;
    size_t max_listed_entries = 256 * 1024;  // kept in memory, of all directories together
  };
  // Attaches to the gofer: a call. Errors of Client::Attach.
  static Result<std::shared_ptr<GoferFs>> Create(const Options& options);

  std::string_view type() const override { return "goferfs"; }
  InodeRef root() override { return root_; }
  Result<FsAttributes> StatFs(const CallContext& ctx) override;
  bool read_only() const override { return true; }

 private:
  explicit GoferFs(std::shared_ptr<GoferState> state) : state_(std::move(state)) {}
  const std::shared_ptr<GoferState> state_;
  InodeRef root_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_GOFERFS_H_
