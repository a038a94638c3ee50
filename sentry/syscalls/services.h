// SyscallServices: what handlers need of the sandbox besides its Kernel; made by boot, the same
// for all tasks, never changed afterwards.
#ifndef RINGFENCE_SENTRY_SYSCALLS_SERVICES_H_
#define RINGFENCE_SENTRY_SYSCALLS_SERVICES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class SharedSegments;
class UnixDomain;

struct SyscallServices {
  std::shared_ptr<Tmpfs> memfds;             // memfd_create(2); null: ENOSYS
  std::shared_ptr<MountNamespace> mounts;    // mount(2), umount2(2); null: EPERM
  std::shared_ptr<UnixDomain> unix_domain;   // unix sockets; null: EAFNOSUPPORT
  std::shared_ptr<SharedSegments> segments;  // System V shared memory; null: ENOSYS
  uint64_t memory_bytes = 0;                 // RAM that sysinfo(2) reports
  uint32_t cpus = 1;                         // numbered from 0
  // A new file system for mount(2): ENODEV for an unknown type, EINVAL for bad data.
  std::function<Result<std::shared_ptr<FileSystem>>(const CallContext& ctx, std::string_view type,
                                                    std::string_view data)>
      make_file_system;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_SERVICES_H_
