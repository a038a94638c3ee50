// The mount tree of a new sandbox, and the file systems that mount(2) can make.
//
//   /         the gofer's tree; over it, writable, an upper tree: see RootLayers
//   /dev      devtmpfs; /dev/shm a tmpfs; /dev/pts devpts
//   /proc     procfs
//   /sys      sysfs
//   /tmp      tmpfs, unless the root is the host's itself (RootLayers::Upper::kDirect)
//   volumes   where they are asked for
//
// A place that the gofer's tree does not have is made in the upper one; where there is none it
// cannot be mounted on and is left out, with a line in the log.
#ifndef RINGFENCE_SENTRY_BOOT_MOUNT_TREE_H_
#define RINGFENCE_SENTRY_BOOT_MOUNT_TREE_H_

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/client/client.h"
#include "platform/mem/guest_memory.h"
#include "sentry/boot/layers.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/proc/proc_source.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/device_registry.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class MountTree {
 public:
  struct Options {
    platform::GuestMemory* memory;  // all of these outlive what is mounted
    gofer::Client* gofer;
    const DeviceRegistry* devices;
    const ProcSource* processes;
    std::shared_ptr<FileSystem> devpts;  // null: there is none
    uint64_t memory_bytes;               // a tmpfs may take half of it, as on Linux
    std::function<void(std::string_view)> log;
    RootLayers root = {};
    std::vector<Volume> volumes{};  // in the order in which they are mounted
    std::function<bool(const CallContext&)> caller_ends{};  // OverlayFs::Options
  };
  explicit MountTree(Options options) : options_(std::move(options)) {}

  // Unavailable: the gofer. ResourceExhausted. InvalidArgument: a volume that cannot be mounted.
  absl::StatusOr<std::shared_ptr<MountNamespace>> Make();

  // tmpfs (size=, nr_inodes=, mode=, uid=, gid=), proc, sysfs, devtmpfs, devpts (the one there is;
  // its data is not looked at). ENODEV, EINVAL, ENOMEM.
  Result<std::shared_ptr<FileSystem>> MakeFileSystem(const CallContext& ctx, std::string_view type,
                                                     std::string_view data) const;

 private:
  absl::StatusOr<std::shared_ptr<MountNamespace>> MakeRoot(const GoferFs::Options& gofer) const;
  Tmpfs::Options TmpfsDefaults() const;
  void MountAt(MountNamespace& tree, std::string_view type, std::string_view path,
               std::string_view data, uint64_t flags) const;

  const Options options_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_MOUNT_TREE_H_
