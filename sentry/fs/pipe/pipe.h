// Pipe: the buffer behind pipe(2) and named fifos (pipe(7), fifo(7)).
//
// A ring of at most `capacity` bytes that grows as data comes. Writes of up to PIPE_BUF bytes are
// atomic: all or EAGAIN. A read at the end gives 0 once no writer is left; a write without readers
// gives EPIPE (the syscall layer raises SIGPIPE). Packet mode (O_DIRECT): a read takes at most one
// write of up to PIPE_BUF bytes and drops what does not fit its buffer.
//
// The capacities of all pipes of the sandbox are counted, as Linux does for each user
// (pipe-user-pages-soft): beyond kSoftTotal a new pipe gets kMinCapacity and none may grow, with
// whatever privilege.
//
// Threads: any. One mutex per pipe, held while guest memory is copied (the copy may fault in the
// guest's memory but never waits for another pipe user); it is above the WaitQueue's.
#ifndef RINGFENCE_SENTRY_FS_PIPE_PIPE_H_
#define RINGFENCE_SENTRY_FS_PIPE_PIPE_H_

#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "sentry/base/wait_queue.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

class Pipe {
 public:
  static constexpr uint64_t kDefaultCapacity = 64 * 1024;
  static constexpr uint64_t kMaxCapacity = 1024 * 1024;  // /proc/sys/fs/pipe-max-size
  static constexpr uint64_t kAtomic = 4096;              // PIPE_BUF
  static constexpr uint64_t kSoftTotal = 64 * 1024 * 1024;
  static constexpr uint64_t kMinCapacity = 2 * 4096;

  Pipe();
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  // EAGAIN while empty with writers left.
  Result<size_t> Read(UserIo& io, bool packets);
  // EPIPE, EAGAIN. May write less than asked (more than PIPE_BUF bytes, little room).
  Result<size_t> Write(UserIo& io, bool packets);
  // For splice(2) and tee(2). Peek copies from the front and takes nothing; EAGAIN and the end as
  // Read. Unread puts bytes back that a read took and nobody got, over the capacity if need be.
  Result<size_t> Peek(UserIo& io) const;
  void Unread(absl::Span<const std::byte> bytes);
  // F_SETPIPE_SZ: rounded up to a power of two of pages. EBUSY when more is in it, EPERM when
  // over the maximum or when all pipes together get too large. Returns the new capacity.
  Result<uint64_t> SetCapacity(const CallContext& ctx, uint64_t bytes);
  uint64_t capacity() const;
  uint64_t available() const;  // FIONREAD

  // What poll(2) says of an end with the given access. No hang-up while the count of writers that
  // ever opened is `quiet_generation` (a fifo whose reader came before any writer).
  EventMask Poll(bool reader, bool writer, uint64_t quiet_generation) const;
  WaitQueue& wait_queue() { return wait_queue_; }

  // Opens and closes of ends. Generations count opens, so that a fifo's open sees a peer that came
  // and went.
  struct Ends {
    uint32_t readers, writers;
    uint64_t reader_generation, writer_generation;
  };
  // The ends as they are with the new one: a peer may be gone a moment later.
  Ends OpenEnd(bool reader, bool writer);
  void CloseEnd(bool reader, bool writer);
  Ends ends() const;

 private:
  size_t RoomLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void GrowLocked(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool FillPieceLocked(UserIo& io, size_t n) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<size_t> FillLocked(UserIo& io, size_t n) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<size_t> DrainLocked(UserIo& io, size_t n) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SkipLocked(size_t n) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::vector<std::byte> ring_ ABSL_GUARDED_BY(mutex_);
  size_t head_ ABSL_GUARDED_BY(mutex_) = 0;  // of the first byte
  size_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t capacity_ ABSL_GUARDED_BY(mutex_);
  std::deque<size_t> packets_ ABSL_GUARDED_BY(mutex_);  // sizes, from the front; see Read
  uint32_t readers_ ABSL_GUARDED_BY(mutex_) = 0, writers_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t reader_generation_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t writer_generation_ ABSL_GUARDED_BY(mutex_) = 0;
  WaitQueue wait_queue_;
};

// pipe2(2): `flags` of O_NONBLOCK, O_DIRECT (O_CLOEXEC is the caller's).
struct PipeEnds {
  FileRef read_end, write_end;
};
PipeEnds MakePipe(const CallContext& ctx, uint32_t flags);

// Opens an end of a fifo whose inode keeps `pipe` (file systems' Inode::Open). ENXIO for a
// non-blocking writer without a reader; otherwise the file may be OpenPending().
Result<FileRef> OpenFifo(std::shared_ptr<Pipe> pipe, uint32_t flags);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_PIPE_PIPE_H_
