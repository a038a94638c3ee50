// File: an open file description (open(2), "file" of Linux): what descriptors refer to.
//
// Nothing here blocks: operations that cannot go on return EAGAIN and WaitQueue()/Poll() say when
// to try again. The syscall layer turns that into blocking for descriptors without O_NONBLOCK.
// Operations that need the gofer or the disk call ctx.RequireBlocking() before the first effect.
//
// Threads: any. The offset of seekable files is guarded by a mutex of the File.
#ifndef RINGFENCE_SENTRY_VFS_FILE_H_
#define RINGFENCE_SENTRY_VFS_FILE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"
#include "sentry/base/call_context.h"
#include "sentry/base/wait_queue.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/user_io.h"
#include "sentry/vfs/file_locks.h"
#include "sentry/vfs/stat.h"

namespace ringfence::sentry {

class Dentry;
class EpollFile;
class Inode;
class InotifyFile;
class Pipe;
class ProcessFd;
class SignalFd;
class SocketFile;
class TimerFd;
using DentryRef = std::shared_ptr<Dentry>;
using InodeRef = std::shared_ptr<Inode>;

struct DirEntry {
  uint64_t ino;
  int64_t next_offset;  // where the entry after this one starts (d_off)
  uint8_t type;         // DT_*
  std::string name;
};

class File {
 public:
  static constexpr uint32_t kNoControllingTerminal = 0400;  // O_NOCTTY

  // `flags`: access mode and status flags of open(2) (O_RDWR, O_APPEND, O_NONBLOCK, O_PATH, ...).
  // O_NOCTTY is for those who open a terminal and is not kept.
  explicit File(uint32_t flags) : flags_(flags & ~kNoControllingTerminal) {}
  virtual ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // --- data ---
  // At the file's own offset when `offset` is null (and moves it), else at *offset (pread; ESPIPE
  // when not seekable). EBADF is checked by the caller from flags(). EAGAIN: would block.
  virtual Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) = 0;
  virtual Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) = 0;
  // lseek(2), all of SEEK_*; ESPIPE by default.
  virtual Result<int64_t> Seek(const CallContext& ctx, int64_t offset, int whence);

  // Calls `emit` for entries from the directory position on until it returns false (that entry is
  // not consumed). ENOTDIR by default.
  using EmitFn = absl::FunctionRef<bool(const DirEntry&)>;
  virtual Result<void> ReadDir(const CallContext& ctx, EmitFn emit);

  // --- attributes and the rest; defaults go to the inode or give the errno Linux gives ---
  virtual Result<Attributes> GetAttr(const CallContext& ctx);
  virtual Result<void> Truncate(const CallContext& ctx, uint64_t size);  // EINVAL
  virtual Result<void> Allocate(const CallContext& ctx, int mode, int64_t offset,
                                int64_t length);                      // ENODEV
  virtual Result<void> Sync(const CallContext& ctx, bool data_only);  // EINVAL
  virtual Result<int64_t> Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                                uint64_t arg);  // ENOTTY
  // fcntl(2) commands that only some files know: F_GETPIPE_SZ and F_SETPIPE_SZ of pipes,
  // F_ADD_SEALS and F_GET_SEALS of memfds. EINVAL by default.
  virtual Result<int64_t> Fcntl(const CallContext& ctx, uint32_t command, uint64_t arg);
  // What mmap maps; ENODEV when the file cannot be mapped.
  virtual Result<MappableRef> GetMappable(const CallContext& ctx, bool shared_write);

  // --- readiness ---
  virtual EventMask Poll();                            // default: always readable and writable
  virtual WaitQueue* wait_queue() { return nullptr; }  // null: readiness never changes

  // How long a read that may block waits for its first byte, in ns; it then gives 0. Negative: as
  // long as it takes (all files but terminals with VTIME, termios(3)).
  virtual int64_t ReadTimeoutNs() { return -1; }
  // Where the other side of a pseudo-terminal is, from the directory that this file is in
  // (TIOCGPTPEER); ENOTTY for all other files.
  virtual Result<std::string> PeerPath();

  // Called for each descriptor of a table that is closed (flush), before the reference goes: the
  // record locks of that table on the file end, by whichever descriptor they were made (fcntl(2)).
  virtual void Flush(uint64_t owner);
  // The advisory locks of the file, to add one; null when it has no inode.
  FileLocksRef locks();

  // True while open(2) is not complete: a fifo opened without O_NONBLOCK waits for its other end
  // (fifo(7)). Whoever got the file from Vfs::Open waits on wait_queue() for kEventIn | kEventOut
  // until this is false and only then gives it a descriptor; when interrupted it drops the file.
  virtual bool OpenPending() { return false; }

  // --- identity ---
  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  void SetStatusFlags(uint32_t flags);  // F_SETFL: only the bits that may change
  bool nonblocking() const;
  bool readable() const;
  bool writable() const;
  // Where it was opened; null for pipes, sockets and anonymous files.
  const DentryRef& dentry() const { return dentry_; }
  void SetDentry(DentryRef dentry) { dentry_ = std::move(dentry); }
  // The dentry's inode. Pipes and host files have one without a dentry, for fstat and for opening
  // /proc/PID/fd/N again; null for files that have no inode of their own (eventfd).
  virtual InodeRef inode() const;
  // "pipe:[5]", "anon_inode:[eventfd]": the target of /proc/PID/fd links when dentry() is null.
  virtual std::string AnonymousName() const { return "anon_inode:[file]"; }
  virtual bool IsTty() const { return false; }
  virtual EpollFile* AsEpoll() { return nullptr; }            // fs/epoll
  virtual InotifyFile* AsInotify() { return nullptr; }        // fs/inotify
  virtual ProcessFd* AsProcess() { return nullptr; }          // fs/pidfd
  virtual SignalFd* AsSignal() { return nullptr; }            // fs/signalfd
  virtual SocketFile* AsSocket() { return nullptr; }          // sentry/net
  virtual TimerFd* AsTimer() { return nullptr; }              // fs/timerfd
  virtual std::shared_ptr<Pipe> AsPipe() { return nullptr; }  // fs/pipe; for splice(2)

 protected:
  absl::Mutex offset_mutex_;
  int64_t offset_ ABSL_GUARDED_BY(offset_mutex_) = 0;

 private:
  std::atomic<uint32_t> flags_;
  DentryRef dentry_;
  // Where this file may have locks of its own (flock, F_OFD_SETLK); they end with it.
  absl::Mutex locks_mutex_;
  FileLocksRef locks_ ABSL_GUARDED_BY(locks_mutex_);
};
using FileRef = std::shared_ptr<File>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_FILE_H_
