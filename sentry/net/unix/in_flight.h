// InFlight: open files that are in messages and not yet received (SCM_RIGHTS, unix(7)).
//
// A unix socket in flight may be kept by nothing but messages, even by one in its own queue: nobody
// can ever receive it, and reference counts do not see that. Collect finds such sockets, as Linux's
// collector does: those that only messages refer to, and that no message refers to which somebody
// can still receive. Their queues lose the messages with files.
//
// Collect runs when a socket goes away, at once while few are in flight, else when their number has
// doubled since the last time; so what is not found yet is bounded. Files in flight are bounded,
// too.
//
// Threads: any. Lock order: mutex_ is above the mutexes of sockets; files are dropped without
// locks.
#ifndef RINGFENCE_SENTRY_NET_UNIX_IN_FLIGHT_H_
#define RINGFENCE_SENTRY_NET_UNIX_IN_FLIGHT_H_

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class InFlight;
class UnixSocket;

// Files of one message, counted as in flight until taken or destroyed.
class FlyingFiles {
 public:
  FlyingFiles() = default;
  FlyingFiles(InFlight* owner, std::vector<FileRef> files)
      : owner_(owner), files_(std::move(files)) {}
  FlyingFiles(FlyingFiles&& other) noexcept
      : owner_(other.owner_), files_(std::exchange(other.files_, {})) {}
  FlyingFiles& operator=(FlyingFiles&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(files_, other.files_);
    return *this;
  }
  ~FlyingFiles();

  bool empty() const { return files_.empty(); }
  const std::vector<FileRef>& files() const { return files_; }
  std::vector<FileRef> Take();  // no longer in flight

 private:
  InFlight* owner_ = nullptr;
  std::vector<FileRef> files_;
};

class InFlight {
 public:
  static constexpr uint64_t kMaxFiles = 65536;
  static constexpr size_t kAlwaysCollect = 64;  // sockets

  // `limit`: of files in flight, at which this sender may add no more. ETOOMANYREFS.
  Result<FlyingFiles> Add(const std::vector<FileRef>& files, uint64_t limit);
  // A unix socket has been closed. `closing`: a file that the caller holds and is about to drop, or
  // null.
  void Closed(const File* closing);
  uint64_t files() const;

 private:
  friend class FlyingFiles;
  class Graph;
  void Remove(const std::vector<FileRef>& files);
  // Messages that nobody can receive; the caller drops them.
  std::vector<FlyingFiles> CollectLocked(const File* closing) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  uint64_t files_ ABSL_GUARDED_BY(mutex_) = 0;
  // Unix sockets, and how many messages hold each. The file lives as long as it is here.
  struct Flight {
    uint64_t messages = 0;
    std::weak_ptr<File> file;
  };
  using Flights = std::unordered_map<File*, Flight>;
  Flights sockets_ ABSL_GUARDED_BY(mutex_);
  size_t next_collect_ ABSL_GUARDED_BY(mutex_) = kAlwaysCollect;
};

// Drops files, whose destructors may drop further messages and files, without recursion.
void DropFiles(std::vector<FileRef> files);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_NET_UNIX_IN_FLIGHT_H_
