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

// Terminals: tty 5:0 is the controlling one of the caller, console 5:1 that of the sandbox, ptmx
// 5:2 makes a new one (pty(7)). Each says ENXIO or the like where there is none.
struct TerminalDevices {
  DeviceRegistry::Factory tty, console, ptmx;
};
void RegisterTerminals(DeviceRegistry& registry, TerminalDevices devices);

// A tmpfs with the usual nodes and links of /dev and the directories shm and pts to mount on.
// `options.devices` is the registry above; root_mode and type are set here.
Result<std::shared_ptr<Tmpfs>> MakeDevFs(Tmpfs::Options options);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_DEV_DEV_H_
