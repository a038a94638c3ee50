// devpts: the pseudo-terminals of the sandbox and the file system that shows them (pts(4),
// ptmx(4)).
//
//   ptmx   opens a new terminal, as the device 5:2 does
//   N      the program's side of terminal N while its other side is open
//
// There is one set of terminals: each mount of devpts shows the same.
//
// Threads: any. Lock order: mutex_ is a leaf; a terminal is made and dropped without it.
#ifndef RINGFENCE_SENTRY_FS_TTY_DEVPTS_H_
#define RINGFENCE_SENTRY_FS_TTY_DEVPTS_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/tty/terminal.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

class TtyInode;

class Devpts final : public FileSystem, public std::enable_shared_from_this<Devpts> {
 public:
  static constexpr uint32_t kMaxTerminals = 1024;  // /proc/sys/kernel/pty/max
  static constexpr Gid kTtyGroup = 5;              // "tty" of every distribution
  static constexpr uint64_t kMagic = 0x1cd1;       // statfs(2)

  struct Options {
    // The job control of a terminal with this st_rdev; null: terminals have none.
    std::function<std::unique_ptr<JobControl>(uint64_t device)> new_job_control;
    TimerQueue* timers = nullptr;  // outlives all terminals; null: see Terminal
  };
  static std::shared_ptr<Devpts> Create(Options options);

  // A terminal without a file for its other side: `do -t`. It is listed until Forget. ENOSPC.
  Result<TerminalRef> NewTerminal(const Credentials& owner, const Termios& settings,
                                  const WindowSize& size);
  void Forget(uint32_t index);
  // open(2) of a ptmx. ENOSPC.
  Result<FileRef> OpenPtmx(const CallContext& ctx, uint32_t flags);
  // open(2) of /dev/tty by a caller whose terminal has this job control; null: it is none of ours.
  Result<FileRef> OpenControlling(const CallContext& ctx, const JobControl* job_control,
                                  uint32_t flags);

  static uint64_t DeviceOf(uint32_t index);  // st_rdev
  uint32_t count() const;
  std::vector<uint32_t> Indexes() const;  // ascending
  std::shared_ptr<TtyInode> Find(uint32_t index) const;

  std::string_view type() const override { return "devpts"; }
  InodeRef root() override { return root_; }
  Result<FsAttributes> StatFs(const CallContext&) override {
    FsAttributes attributes;
    attributes.type = kMagic;
    return attributes;
  }

 private:
  explicit Devpts(Options options) : options_(std::move(options)) {}
  std::optional<uint32_t> FreeIndexLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const Options options_;
  InodeRef root_;
  mutable absl::Mutex mutex_;
  std::map<uint32_t, std::shared_ptr<TtyInode>> terminals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TTY_DEVPTS_H_
