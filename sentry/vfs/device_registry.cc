#include "sentry/vfs/device_registry.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace ringfence::sentry {

void DeviceRegistry::AddCharacter(uint32_t major, uint32_t minor, Factory factory) {
  absl::MutexLock lock(&mutex_);
  characters_[makedev(major, minor)] = std::move(factory);
}

Result<FileRef> DeviceRegistry::Open(const CallContext& ctx, uint32_t type, uint64_t rdev,
                                     uint32_t flags) const {
  Factory factory;
  {
    absl::ReaderMutexLock lock(&mutex_);
    auto it = characters_.find(rdev);
    if (type != S_IFCHR || it == characters_.end()) return Errno::kNXIO;
    factory = it->second;
  }
  return factory(ctx, flags);
}

}  // namespace ringfence::sentry
