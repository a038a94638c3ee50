// PiFutexes: locks whose word holds the owner's thread id (FUTEX_LOCK_PI and its kin of futex(2)).
//
// Linux lends the owner the priority of the best waiter. All guest threads have the same priority,
// so there is nothing to lend; what is left is a lock that the kernel hands over in order of
// arrival, that knows its owner (EDEADLK, EPERM, ESRCH), and that survives it: when the owner ends,
// the next waiter has the lock, with FUTEX_OWNER_DIED in the word.
// FUTEX_CMP_REQUEUE_PI hands sleepers of another futex over to a lock (futex.h): they then own it
// or wait for it.
//
// Threads: any; each call about a task by its own thread.
#ifndef RINGFENCE_SENTRY_KERNEL_PI_FUTEX_H_
#define RINGFENCE_SENTRY_KERNEL_PI_FUTEX_H_

#include <atomic>
#include <cstdint>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/kernel/deadline.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

class Task;

// What becomes of the futexes of a task that ends.
enum class FutexState : uint8_t { kOwned, kLeaving, kGone };

class PiFutexes {
 public:
  // A task that waits for a lock, or is to; on the stack of its thread.
  struct Waiter {
    FutexKey key;
    Task* task = nullptr;
    uint32_t owner = 0;  // thread id of the lock's owner
    uint32_t dead = 0;   // the owner that is gone: the lock is this waiter's to take
    std::atomic<bool> turn{false};
    bool granted = false;
    bool listed = false;  // in waiters_, at `position`
    std::list<Waiter*>::iterator position;
  };

  // EDEADLK, ESRCH (the owner does not exist), EFAULT, EINVAL, ETIMEDOUT, kRESTARTNOINTR.
  Result<void> Lock(Task& task, VirtAddr addr, bool is_private, const Deadline& deadline);
  // EAGAIN when it is locked.
  Result<void> TryLock(Task& task, VirtAddr addr, bool is_private);
  // EPERM for a lock of somebody else's.
  Result<void> Unlock(Task& task, VirtAddr addr, bool is_private);
  // FUTEX_CMP_REQUEUE_PI, for a task that sleeps: it has the lock, or waits for it. `mm` shows the
  // word at `addr`. EAGAIN (the owner is about to end, or the word changes all the time), EDEADLK,
  // ESRCH, EFAULT.
  Result<void> LockFor(Waiter* waiter, MemoryManager& mm, VirtAddr addr);
  // The rest of it, by the waiter's own thread, after LockFor. EAGAIN when a signal is in the way:
  // then it has not got the lock.
  Result<void> FinishLock(Waiter* waiter, VirtAddr addr, const Deadline& deadline);
  // A task has ended, or left its memory: who waits for a lock of its is next.
  void OwnerGone(int32_t tid);

 private:
  enum class Attempt : uint8_t { kTaken, kQueued, kAgain };

  Result<Attempt> TryLocked(Waiter* waiter, MemoryManager& mm, VirtAddr addr, bool queue)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> CheckOwnerLocked(const Waiter& waiter, uint32_t owner)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> Take(Waiter* waiter, VirtAddr addr, bool queue, const Deadline& deadline);
  Result<void> AwaitTurn(Waiter* waiter, const Deadline& deadline);
  void ListLocked(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unlist(Waiter* waiter) ABSL_LOCKS_EXCLUDED(mutex_);
  Waiter* FirstLocked(const FutexKey& key, const Waiter* except)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetOwnerLocked(const FutexKey& key, uint32_t owner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::atomic<uint32_t> waiting_{0};
  absl::Mutex mutex_;
  std::list<Waiter*> waiters_ ABSL_GUARDED_BY(mutex_);  // in order of arrival
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_PI_FUTEX_H_
