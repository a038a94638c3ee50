#include "sentry/fs/goferfs/goferfs.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "sentry/fs/goferfs/inode.h"

namespace ringfence::sentry {
namespace {

// What the gofer's own mount says, which is none of the sandbox's.
constexpr uint64_t kMountFlags = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;

}  // namespace

Result<std::shared_ptr<GoferFs>> GoferFs::Create(const Options& options) {
  auto state = std::make_shared<GoferState>(options);
  const gofer::Node root = TRY(state->client().Attach(options.tree));
  if (!S_ISDIR(root.attr.mode) && !S_ISREG(root.attr.mode)) return Errno::kNOTDIR;
  std::shared_ptr<GoferFs> fs(new GoferFs(state));
  {
    absl::MutexLock lock(&state->mutex);
    state->devices[root.attr.dev] = fs->device_id();
  }
  fs->root_ =
      GoferInode::Make({.fs = fs.get(),
                        .state = state,
                        .attr = root.attr,
                        .node = std::make_shared<NodeHandle>(options.client, root.id, false)});
  return fs;
}

bool GoferFs::read_only() const { return !state_->writable(); }

Result<FsAttributes> GoferFs::StatFs(const CallContext& ctx) {
  TRY(ctx.RequireBlocking());
  const NodeHandleRef root = TRY(static_cast<GoferInode&>(*root_).EnsureNode(ctx));
  const gofer::FsAttributes host = TRY(state_->client().StatFs(root->id()));
  FsAttributes attributes;
  attributes.type = host.type;
  attributes.bsize = host.bsize;
  attributes.blocks = host.blocks;
  attributes.bfree = host.bfree;
  attributes.bavail = host.bavail;
  attributes.files = host.files;
  attributes.ffree = host.ffree;
  attributes.namelen = host.namelen;
  attributes.frsize = host.frsize;
  attributes.flags = (host.flags & ~kMountFlags) | (read_only() ? ST_RDONLY : 0);
  attributes.fsid = host.fsid;
  return attributes;
}

}  // namespace ringfence::sentry
