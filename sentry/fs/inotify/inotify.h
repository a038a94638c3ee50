// InotifyFile: a queue of events of watched files (inotify(7)).
//
// A watch holds the dentry of what it watches, so that the inode that the VFS finds there stays the
// same object. Watches of all instances are in one table, by inode (WatchTable, inotify.cc), which
// is the sink of sentry/vfs/watch.h while there are any.
//
// Threads: any. Lock order: the table's mutex, mutex_, WaitQueue.
#ifndef RINGFENCE_SENTRY_FS_INOTIFY_INOTIFY_H_
#define RINGFENCE_SENTRY_FS_INOTIFY_INOTIFY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/base/wait_queue.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class InotifyFile final : public File {
 public:
  // fs.inotify: max_queued_events, max_user_watches, max_user_instances.
  static constexpr size_t kMaxEvents = 16384, kMaxWatches = 65536, kMaxInstances = 128;

  // EMFILE. `flags`: O_NONBLOCK or 0.
  static Result<std::shared_ptr<InotifyFile>> Make(uint32_t flags);
  explicit InotifyFile(uint32_t flags);  // use Make
  ~InotifyFile() override;

  // Watches `place` for `mask`, or changes the watch that is there, and returns its number. EEXIST
  // (IN_MASK_CREATE), ENOSPC.
  Result<int32_t> AddWatch(const DentryRef& place, uint32_t mask);
  Result<void> RemoveWatch(int32_t number);  // EINVAL

  // Whole events; EINVAL when the first does not fit, EAGAIN.
  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override;
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kBADF;
  }
  // As on Linux, seeking does nothing (noop_llseek).
  Result<int64_t> Seek(const CallContext&, int64_t, int) override { return int64_t{0}; }
  Result<int64_t> Ioctl(const CallContext& ctx, MemoryManager& mm, uint32_t command,
                        uint64_t arg) override;
  EventMask Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  InotifyFile* AsInotify() override { return this; }
  std::string AnonymousName() const override { return "anon_inode:inotify"; }

 private:
  friend class WatchTable;
  struct Queued {
    int32_t watch;
    uint32_t mask, cookie;
    std::string name;
    bool operator==(const Queued&) const = default;
    size_t size() const;  // in a read
  };
  void Enqueue(Queued event);

  absl::Mutex mutex_;
  std::deque<Queued> events_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  WaitQueue queue_;
  // By number; guarded by the table's mutex.
  std::map<int32_t, const Inode*> watched_;
  int32_t last_number_ = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_INOTIFY_INOTIFY_H_
