// EpollFile: an interest list and its ready list (epoll(7), epoll_ctl(2), epoll_wait(2)).
//
// An item is keyed by descriptor number and open file description, as on Linux; it ends with
// EPOLL_CTL_DEL or with the description, which it does not keep alive. A notification of the
// file's wait queue puts the item on the ready list; Collect asks each file on it what it is ready
// for now, reports that, and keeps level-triggered items on the list.
//
// Lock order: graph mutex (process-wide, adding epoll files to epoll files) > mutex_ (interest
// list) > locks of watched files and their wait queues > ready_mutex_ > locks of own queue_.
// Threads: any.
#ifndef RINGFENCE_SENTRY_FS_EPOLL_EPOLL_H_
#define RINGFENCE_SENTRY_FS_EPOLL_EPOLL_H_

#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/base/wait_queue.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

// Bits of epoll_event.events beyond those of poll(2).
inline constexpr uint32_t kEpollExclusive = 1u << 28, kEpollWakeup = 1u << 29,
                          kEpollOneShot = 1u << 30, kEpollEdge = 1u << 31;

class EpollFile final : public File {
 public:
  struct Event {
    uint32_t events;
    uint64_t data;
  };

  EpollFile();
  ~EpollFile() override;

  // epoll_ctl(2). EEXIST, EINVAL, ELOOP, EPERM (the file's readiness never changes, as with
  // regular files and directories), ENOENT, ENOSPC.
  Result<void> Add(Fd fd, const FileRef& file, const Event& event);
  Result<void> Modify(Fd fd, const FileRef& file, const Event& event);
  Result<void> Remove(Fd fd, const FileRef& file);

  // Up to `max` ready items, none when nothing is ready. What is reported is taken (edge-triggered
  // and one-shot items).
  std::vector<Event> Collect(size_t max);

  Result<size_t> Read(const CallContext&, UserIo&, const int64_t*) override;
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override;
  // As on Linux, seeking does nothing (noop_llseek).
  Result<int64_t> Seek(const CallContext&, int64_t, int) override { return int64_t{0}; }
  EventMask Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  EpollFile* AsEpoll() override { return this; }
  std::string AnonymousName() const override { return "anon_inode:[eventpoll]"; }

 private:
  class Item;
  using Key = std::pair<int32_t, File*>;
  static constexpr size_t kMaxItems = 1 << 20;
  static constexpr int kMaxDepth = 5;

  // The file's present readiness as far as the item asks for it.
  static EventMask ReadyEvents(const Item& item, File& file);
  void MarkReady(Item* item);
  void Unready(Item* item);
  using Items = std::map<Key, std::unique_ptr<Item>>;
  void DropLocked(Items::iterator it) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drops items whose file is gone, when there may be many.
  void SweepLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what is ready from `candidates` to the result; `keep` is still ready afterwards.
  std::vector<Event> TakeLocked(size_t max, std::list<Item*>* candidates, std::list<Item*>* keep,
                                std::vector<FileRef>* used) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // ELOOP when `target` is this, is watched by way of this, or the chain is longer than
  // kMaxDepth.
  Result<void> CheckNesting(const EpollFile* target, int level) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;
  Items items_ ABSL_GUARDED_BY(mutex_);
  size_t next_sweep_ ABSL_GUARDED_BY(mutex_) = 64;
  absl::Mutex ready_mutex_;
  std::list<Item*> ready_ ABSL_GUARDED_BY(ready_mutex_);
  WaitQueue queue_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_EPOLL_EPOLL_H_
