// DeviceRegistry: which driver opens a character or block device node (major, minor).
//
// Device nodes live in any file system that can hold them (tmpfs); what they open is the same
// everywhere. Filled at boot, read afterwards. Threads: any.
#ifndef RINGFENCE_SENTRY_VFS_DEVICE_REGISTRY_H_
#define RINGFENCE_SENTRY_VFS_DEVICE_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class DeviceRegistry {
 public:
  using Factory = std::function<Result<FileRef>(const CallContext& ctx, uint32_t flags)>;

  void AddCharacter(uint32_t major, uint32_t minor, Factory factory);
  // `type` is S_IFCHR or S_IFBLK, `rdev` as in stat(2). ENXIO when nobody serves it.
  Result<FileRef> Open(const CallContext& ctx, uint32_t type, uint64_t rdev, uint32_t flags) const;

 private:
  mutable absl::Mutex mutex_;
  std::map<uint64_t, Factory> characters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_DEVICE_REGISTRY_H_
