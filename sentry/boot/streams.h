// The standard streams: descriptors 0, 1 and 2 of init, and the terminal behind them.
#ifndef RINGFENCE_SENTRY_BOOT_STREAMS_H_
#define RINGFENCE_SENTRY_BOOT_STREAMS_H_

#include <array>
#include <memory>

#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"
#include "sentry/fs/host/host_file.h"
#include "sentry/kernel/kernel.h"
#include "sentry/vfs/fd_table.h"

namespace ringfence::sentry {

// The first stream that is a terminal becomes init's controlling terminal.
class StandardStreams {
 public:
  static absl::StatusOr<StandardStreams> Make(Kernel& kernel, std::array<UniqueFd, 3> streams);

  const std::shared_ptr<FdTable>& fds() const { return fds_; }
  JobControl* terminal() const { return terminal_.get(); }  // null: none
  // Another description of the terminal, for /dev/tty. ENXIO: there is none.
  Result<FileRef> OpenTerminal(const CallContext& ctx) const;

 private:
  std::shared_ptr<FdTable> fds_;
  std::shared_ptr<JobControl> terminal_;
  UniqueFd terminal_fd_;
  HostFileOptions terminal_options_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_STREAMS_H_
