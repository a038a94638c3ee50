// Volumes: trees of the gofer mounted at places of their own.
#ifndef RINGFENCE_SENTRY_BOOT_VOLUMES_H_
#define RINGFENCE_SENTRY_BOOT_VOLUMES_H_

#include "absl/status/status.h"
#include "sentry/boot/layers.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

// Mounts `volume`. A destination that is not there is made if `may_make` (with the directories
// above it; a file for a volume that is one). `gofer`: the client and the chunk cache of all trees.
// InvalidArgument, with what is wrong; Unavailable: the gofer.
enum class MissingPlaces { kMake, kRefuse };
absl::Status MountVolume(MountNamespace& tree, const Volume& volume, GoferFs::Options gofer,
                         MissingPlaces missing);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_VOLUMES_H_
