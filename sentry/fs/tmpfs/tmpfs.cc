#include "sentry/fs/tmpfs/tmpfs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "sentry/fs/tmpfs/inode.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

std::shared_ptr<TmpfsState> MakeState(const Tmpfs::Options& options, uint64_t device_id) {
  auto state = std::make_shared<TmpfsState>();
  state->memory = options.memory;
  state->devices = options.devices;
  state->quota = std::make_shared<PageQuota>(
      options.max_bytes == ~uint64_t{0} ? PageQuota::kNoLimit : options.max_bytes / kPageSize);
  state->max_inodes = options.max_inodes;
  state->device_id = device_id;
  state->next_ino = options.first_inode;
  return state;
}

}  // namespace

Tmpfs::Tmpfs(const Options& options)
    : FileSystem(options.device_id != 0 ? options.device_id : AllocateDeviceId()),
      type_(options.type),
      state_(MakeState(options, device_id())) {}

std::shared_ptr<Tmpfs> Tmpfs::Create(const Options& options) {
  std::shared_ptr<Tmpfs> fs(new Tmpfs(options));
  fs->state_->inode_bytes = TmpfsState::kInodeBytes;
  fs->root_ = std::make_shared<TmpfsDirectory>(TmpfsInode::Init{
      fs.get(), fs->state_, S_IFDIR | (options.root_mode & 07777), options.uid, options.gid, 2, 0});
  return fs;
}

Result<FsAttributes> Tmpfs::StatFs(const CallContext&) {
  FsAttributes attributes;
  attributes.type = 0x01021994;  // TMPFS_MAGIC
  const uint64_t limit = state_->quota->limit();
  if (limit != PageQuota::kNoLimit) {
    attributes.blocks = limit;
    attributes.bfree = attributes.bavail = limit - std::min(limit, state_->quota->used());
  }
  attributes.files = state_->max_inodes;
  const uint64_t bytes = state_->inode_bytes_limit();
  attributes.ffree =
      (bytes - std::min(bytes, state_->inode_bytes.load())) / TmpfsState::kInodeBytes;
  attributes.fsid = device_id();
  return attributes;
}

Result<FileRef> MakeMemfd(const CallContext& ctx, Tmpfs& fs, std::string_view name,
                          uint32_t seals) {
  InodeRef inode = TRY(fs.root()->CreateTemporary(ctx, S_IFREG | 0777));
  static_cast<TmpfsRegular&>(*inode).InitSeals(seals);
  FileRef file = TRY(inode->Open(ctx, O_RDWR));
  file->SetDentry(
      Dentry::MakeDetached(std::move(inode), "/memfd:" + std::string(name) + " (deleted)"));
  return file;
}

}  // namespace ringfence::sentry
