// The memory devices: null(4), zero, full(4), random(4) and urandom, and what stands in /dev.
#ifndef RINGFENCE_SENTRY_FS_DEV_DEVICES_H_
#define RINGFENCE_SENTRY_FS_DEV_DEVICES_H_

#include <memory>

#include "platform/mem/guest_memory.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/device_registry.h"

namespace ringfence::sentry {

// Registers null (1,3), zero (1,5), full (1,7), random (1,8) and urandom (1,9). Numbers as in
// Documentation/admin-guide/devices.txt. `memory` outlives the files: zero can be mapped.
void AddMemoryDevices(DeviceRegistry* registry, platform::GuestMemory* memory);

// A file system for /dev: nodes for the devices above and tty (5,0), links fd, stdin, stdout and
// stderr into /proc/self/fd, directories shm and pts. `devices` outlives it. ENOMEM, ENOSPC.
Result<std::shared_ptr<Tmpfs>> MakeDevFs(const CallContext& ctx, platform::GuestMemory* memory,
                                         const DeviceRegistry* devices);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_DEV_DEVICES_H_
