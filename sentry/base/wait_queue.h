// WaitQueue: who wants to know when an object becomes ready (wait queues and poll(2) of Linux).
//
// Objects of the sentry never block. They answer EAGAIN and notify their queue when that may have
// changed; the kernel's Task::Block sleeps, poll, select and epoll collect. A waiter registers
// first, then asks the object again, then sleeps: no wake-up is lost.
#ifndef RINGFENCE_SENTRY_BASE_WAIT_QUEUE_H_
#define RINGFENCE_SENTRY_BASE_WAIT_QUEUE_H_

#include <cstdint>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace ringfence::sentry {

// Bits of poll(2): POLLIN and so on.
using EventMask = uint32_t;
inline constexpr EventMask kEventIn = 0x1, kEventPri = 0x2, kEventOut = 0x4, kEventErr = 0x8,
                           kEventHup = 0x10, kEventNval = 0x20, kEventRdHup = 0x2000;

class WaitQueue;

// Derive and override Wake; one entry is on at most one queue. Wake is called with the queue's
// lock held: it must not touch the queue, block, or take a lock that is held while calling Notify.
class WaitEntry {
 public:
  virtual ~WaitEntry() = default;
  virtual void Wake(EventMask events) = 0;

 private:
  friend class WaitQueue;
  EventMask mask_ = 0;
  WaitQueue* queue_ = nullptr;
  std::list<WaitEntry*>::iterator position_;
};

class WaitQueue {
 public:
  ~WaitQueue();
  void Add(WaitEntry* entry, EventMask mask);  // kEventErr and kEventHup are always included
  void Remove(WaitEntry* entry);               // after return Wake is not running; idempotent
  void Notify(EventMask events);
  // Takes `entry` off whatever queue it is on, also while that queue's owner is being destroyed:
  // for waiters that do not keep the owner alive (epoll). The caller makes sure that nobody adds
  // the entry meanwhile. After return Wake is not running.
  static void Detach(WaitEntry* entry);
  bool empty() const;

 private:
  mutable absl::Mutex mutex_;
  std::list<WaitEntry*> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BASE_WAIT_QUEUE_H_
