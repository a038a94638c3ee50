// sysfs: the few files of /sys that programs read (lscpu, glibc, node, java, go): CPUs and their
// caches, one memory node, huge pages, the loopback device. All of it follows what the sandbox has;
// of the host only what CPUID tells every program anyway.
//
// Threads: any.
#ifndef RINGFENCE_SENTRY_FS_SYS_SYS_H_
#define RINGFENCE_SENTRY_FS_SYS_SYS_H_

#include <memory>

#include "sentry/fs/proc/proc_source.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

// `source` outlives the file system and everything opened in it.
std::shared_ptr<FileSystem> MakeSysFs(const ProcSource* source);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_SYS_SYS_H_
