// /dev: the drivers of memory devices (null(4), full(4), random(4)) and the tree they show in.
#ifndef RINGFENCE_SENTRY_FS_DEV_DEV_H_
#define RINGFENCE_SENTRY_FS_DEV_DEV_H_

#include <memory>

#include "platform/mem/guest_memory.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/device_registry.h"

namespace ringfence::sentry {

// null 1:3, zero 1:5, full 1:7, random 1:8, urandom 1:9. `memory` (to map zero) outlives the
// registry; null: zero cannot be mapped.
void RegisterMemoryDevices(DeviceRegistry& registry, platform::GuestMemory* memory);

// tty 5:0, the controlling terminal of the caller: `open` finds it; ENXIO when there is none.
void RegisterTty(DeviceRegistry& registry, DeviceRegistry::Factory open);

// A tmpfs with the usual nodes and links of /dev and the directories shm and pts to mount on.
// `options.devices` is the registry above; root_mode and type are set here.
Result<std::shared_ptr<Tmpfs>> MakeDevFs(Tmpfs::Options options);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_DEV_DEV_H_
