// Notifier: one thread that waits for host descriptors and wakes the sentry's WaitQueues.
//
// Objects of the sentry never block; a HostFile that has nothing to give arms its descriptor here
// and its queue is notified when the host says so. Watches are one-shot: who is told and finds
// nothing arms again.
//
// Threads: any. Lock order: Notifier::mutex_ (held while a listener is called), the listener's
// locks, WaitQueue.
#ifndef RINGFENCE_SENTRY_FS_HOST_NOTIFIER_H_
#define RINGFENCE_SENTRY_FS_HOST_NOTIFIER_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/unique_fd.h"
#include "sentry/base/wait_queue.h"

namespace ringfence::sentry {

class Notifier {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // On the notifier's thread. The watch has fired and is no longer armed.
    virtual void OnHostEvents(EventMask events) = 0;
  };

  // Starts the thread, with all signals blocked.
  static absl::StatusOr<std::shared_ptr<Notifier>> Create();
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // Watches `fd`, not armed yet. Null id (0) when the host cannot watch it (regular files): it is
  // always ready. The listener must be removed before it or the descriptor goes.
  uint64_t Add(int fd, Listener* listener);
  void Remove(uint64_t id, int fd);  // after return the listener is not being called
  void Arm(uint64_t id, int fd, EventMask events);

 private:
  Notifier(UniqueFd epoll, UniqueFd stop);
  void Run();

  const UniqueFd epoll_;
  const UniqueFd stop_;  // eventfd: time to end
  absl::Mutex mutex_;
  std::unordered_map<uint64_t, Listener*> listeners_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::thread thread_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_HOST_NOTIFIER_H_
