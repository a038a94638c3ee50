// HostFile: a descriptor of the host as a file of the sandbox: the standard streams of
// `ringfence do`, later what the runtime passes in.
//
// The open file description is shared with processes outside of the sandbox, so its O_NONBLOCK is
// never changed. Where the host kernel knows RWF_NOWAIT for the kind of file, every transfer uses
// it and nothing blocks. Elsewhere (terminals; pipes before Linux 6.4) poll(2) is asked first and
// the transfer runs on the task's own thread only; a race with another reader of the same
// description can then block that thread until data comes or a signal kicks it (EINTR is EAGAIN
// here: the caller asks again).
//
// A regular file has one offset with those outside, as natively: reads and writes move it.
// SIGPIPE must be ignored in the process: EPIPE comes back and the syscall layer raises the
// guest's own signal.
//
// Threads: any. Lock: HostDescription::mutex_, a leaf but for WaitQueue.
#ifndef RINGFENCE_SENTRY_FS_HOST_HOST_FILE_H_
#define RINGFENCE_SENTRY_FS_HOST_HOST_FILE_H_

#include <memory>
#include <string>

#include "platform/base/unique_fd.h"
#include "sentry/fs/host/fd_pages.h"
#include "sentry/fs/host/notifier.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/job_control.h"

namespace ringfence::sentry {

struct HostFileOptions {
  std::shared_ptr<Notifier> notifier;
  std::shared_ptr<JobControl> job_control;  // for terminals; null: ENOTTY for their job control
  std::shared_ptr<ChunkCache> chunks;       // to map regular files; null: ENODEV
  std::string name;                         // of /proc/PID/fd links; "" = by kind
};

// Wraps `fd` with the access mode and status flags it has. EBADF when it is not open.
Result<FileRef> MakeHostFile(UniqueFd fd, HostFileOptions options);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_HOST_HOST_FILE_H_
