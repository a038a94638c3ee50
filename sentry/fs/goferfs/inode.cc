#include "sentry/fs/goferfs/inode.h"

#include <sys/stat.h>

#include <algorithm>

namespace ringfence::sentry {
namespace {

Timespec FromGofer(const gofer::Time& t) { return Timespec{t.sec, int64_t{t.nsec}}; }

}  // namespace

uint64_t GoferState::DeviceFor(uint64_t host_device) {
  absl::MutexLock lock(&mutex);
  auto [it, fresh] = devices.try_emplace(host_device, 0);
  if (fresh) it->second = AllocateDeviceId();
  return it->second;
}

GoferInode::GoferInode(Init init)
    : Inode(init.fs),
      state_(std::move(init.state)),
      type_(init.attr.mode & S_IFMT),
      attr_(init.attr),
      device_(state_->DeviceFor(init.attr.dev)),
      node_(std::move(init.node)),
      place_(std::move(init.place)) {}

InodeRef GoferInode::Make(Init init) {
  switch (init.attr.mode & S_IFMT) {
    case S_IFDIR:
      return std::make_shared<GoferDirectory>(std::move(init));
    case S_IFREG:
      return std::make_shared<GoferRegular>(std::move(init));
    case S_IFLNK:
      return std::make_shared<GoferSymlink>(std::move(init));
    default:
      return std::make_shared<GoferInode>(std::move(init));
  }
}

Result<Attributes> GoferInode::GetAttr(const CallContext&) {
  Attributes attributes;
  attributes.dev = device_;
  attributes.ino = attr_.ino;
  attributes.mode = attr_.mode;
  attributes.nlink = attr_.nlink;
  attributes.uid = attr_.uid;
  attributes.gid = attr_.gid;
  attributes.rdev = attr_.rdev;
  attributes.size = attr_.size;
  attributes.blocks = attr_.blocks;
  attributes.blksize = attr_.blksize;
  attributes.atime = FromGofer(attr_.atime);
  attributes.mtime = FromGofer(attr_.mtime);
  attributes.ctime = FromGofer(attr_.ctime);
  attributes.btime = FromGofer(attr_.btime);
  return attributes;
}

NodeHandleRef GoferInode::KnownNode() const {
  absl::MutexLock lock(&mutex_);
  return node_;
}

NodeHandleRef GoferInode::SetNode(NodeHandleRef node) {
  absl::MutexLock lock(&mutex_);
  if (node_ == nullptr) node_ = std::move(node);
  return node_;
}

Result<NodeHandleRef> GoferInode::EnsureNode(const CallContext& ctx) {
  std::vector<GoferInode*> missing;  // from here up; without a node there is a place
  NodeHandleRef node;
  for (GoferInode* at = this; (node = at->KnownNode()) == nullptr;
       at = at->place_->directory.get()) {
    missing.push_back(at);
  }
  if (missing.empty()) return node;
  TRY(ctx.RequireBlocking());
  while (!missing.empty()) {
    std::vector<std::string_view> names;
    const size_t count = std::min(missing.size(), gofer::kMaxWalkComponents);
    for (size_t i = 0; i < count; ++i)
      names.push_back(missing[missing.size() - 1 - i]->place_->name);
    const gofer::WalkResult walked = TRY(state_->client().Walk(node->id(), names));
    std::vector<NodeHandleRef> found;  // owns them all, also those left over by an error
    for (const gofer::Node& n : walked.nodes) {
      found.push_back(std::make_shared<NodeHandle>(state_->options.client, n.id, true));
    }
    for (size_t i = 0; i < found.size(); ++i) {
      if (!missing.back()->IsSame(walked.nodes[i].attr)) return Errno::kSTALE;
      node = missing.back()->SetNode(std::move(found[i]));
      missing.pop_back();
    }
    if (found.size() < count) return walked.stopped == Errno{} ? Errno::kIO : walked.stopped;
  }
  return node;
}

GoferSymlink::GoferSymlink(Init init) : GoferInode(init), target_(std::move(init.target)) {}

Result<std::string> GoferSymlink::ReadLink(const CallContext& ctx) {
  {
    absl::MutexLock lock(&mutex_);
    if (!target_.empty()) return target_;
  }
  TRY(ctx.RequireBlocking());
  NodeHandleRef node = TRY(EnsureNode(ctx));
  std::string target = TRY(state_->client().ReadLink(node->id()));
  absl::MutexLock lock(&mutex_);
  target_ = target;
  return target;
}

Result<std::shared_ptr<GoferFs>> GoferFs::Create(const Options& options) {
  auto state = std::make_shared<GoferState>(options);
  const gofer::Node root = TRY(state->client().Attach(0));
  if (!S_ISDIR(root.attr.mode)) return Errno::kNOTDIR;
  std::shared_ptr<GoferFs> fs(new GoferFs(state));
  {
    absl::MutexLock lock(&state->mutex);
    state->devices[root.attr.dev] = fs->device_id();
  }
  fs->root_ = GoferInode::Make({fs.get(), state, root.attr, "",
                                std::make_shared<NodeHandle>(state->options.client, root.id, false),
                                std::nullopt});
  return fs;
}

Result<FsAttributes> GoferFs::StatFs(const CallContext& ctx) {
  TRY(ctx.RequireBlocking());
  const gofer::FsAttributes host = TRY(static_cast<GoferDirectory&>(*root_).StatFs(ctx));
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
  attributes.flags = host.flags | 1;  // ST_RDONLY
  attributes.fsid = host.fsid;
  return attributes;
}

}  // namespace ringfence::sentry
