// tmpfs: files in the sandbox's own memory (tmpfs(5)), also behind memfd_create(2).
//
// File contents are AnonymousPages (mm/shared_pages.h): read, written and mapped as the same
// frames. size= and nr_inodes= bound what a guest can take. Directory positions fall with age, so
// a scan never meets names made after it began and ends while others create.
//
// Threads: any. Lock order: a file's write mutex, (memory manager), an inode's mutex (leaf; of two
// directories the one at the lower address first).
#ifndef RINGFENCE_SENTRY_FS_TMPFS_TMPFS_H_
#define RINGFENCE_SENTRY_FS_TMPFS_TMPFS_H_

#include <memory>
#include <string_view>

#include "platform/mem/guest_memory.h"
#include "sentry/vfs/device_registry.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

struct TmpfsState;

class Tmpfs : public FileSystem {
 public:
  struct Options {
    platform::GuestMemory* memory = nullptr;  // outlives the file system and all its files
    const DeviceRegistry* devices = nullptr;  // for device nodes; null: they give ENXIO
    uint64_t max_bytes = ~uint64_t{0};        // size=; only GuestMemory's own limit by default
    uint64_t max_inodes = uint64_t{1} << 20;  // nr_inodes=
    uint32_t root_mode = 01777;
    Uid uid = 0;
    Gid gid = 0;
    std::string_view type = "tmpfs";  // "devtmpfs" for /dev
    // For one that is a part of another file system: what stat(2) and /proc/PID/maps say. 0: its
    // own.
    uint64_t device_id = 0, first_inode = 1;
  };
  static std::shared_ptr<Tmpfs> Create(const Options& options);

  std::string_view type() const override { return type_; }
  InodeRef root() override { return root_; }
  Result<FsAttributes> StatFs(const CallContext& ctx) override;

 private:
  explicit Tmpfs(const Options& options);
  const std::string type_;
  std::shared_ptr<TmpfsState> state_;
  InodeRef root_;
};

// memfd_create(2): an unnamed file; `seals` is F_SEAL_SEAL unless MFD_ALLOW_SEALING was given.
// One Tmpfs of the kernel's own is passed for all of them. ENOSPC.
Result<FileRef> MakeMemfd(const CallContext& ctx, Tmpfs& fs, std::string_view name, uint32_t seals);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TMPFS_TMPFS_H_
