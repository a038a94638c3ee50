// Futexes (futex(2), get_robust_list(2)).
//
// Model: a fixed table of buckets, each with its lock and a list of waiters; a key (private: mm and
// address, shared: object and offset) hashes to a bucket. A waiter is registered under the bucket
// lock after the word has been read again under that lock, so a waker that changes the word first
// and then calls Wake cannot miss it. Before that it is counted in AddressSpace::WaitersAt: guests
// that find nobody counted wake nobody, and do not ask. Locks with an owner (FUTEX_LOCK_PI):
// pi_futex.h. Who waits by FUTEX_WAIT_REQUEUE_PI is only moved, by FUTEX_CMP_REQUEUE_PI, to the
// lock it named: other wake-ups find it and answer EINVAL.
#ifndef RINGFENCE_SENTRY_KERNEL_FUTEX_H_
#define RINGFENCE_SENTRY_KERNEL_FUTEX_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "sentry/base/call_context.h"
#include "sentry/kernel/deadline.h"
#include "sentry/kernel/pi_futex.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

class Task;

class FutexManager {
 public:
  static constexpr uint32_t kMatchAny = ~uint32_t{0};  // FUTEX_BITSET_MATCH_ANY

  struct WaitArgs {
    VirtAddr addr;
    bool is_private = false;
    uint32_t expected = 0;
    uint32_t bitset = kMatchAny;  // not 0
    Deadline deadline;
  };
  // FUTEX_WAIT(_BITSET). EAGAIN (the word differs), ETIMEDOUT, kRESTARTSYS, EFAULT, EINVAL,
  // kWOULDBLOCK_RETRY_ON_TASK. The caller turns kRESTARTSYS into restart_syscall where the timeout
  // was relative.
  Result<void> Wait(Task& task, const CallContext& ctx, const WaitArgs& args);

  // FUTEX_WAIT_REQUEUE_PI: as Wait, until the lock at `lock` is the task's. EINVAL (the same word
  // twice), EAGAIN also when a signal came after the move, kRESTARTNOINTR before. Own thread.
  Result<void> WaitRequeuePi(Task& task, const WaitArgs& args, VirtAddr lock);

  // futex_waitv(2): waits until one of `words` (deadlines in them do not count) is woken; its
  // index. Errors as Wait, except that it needs the task's own thread.
  Result<uint32_t> WaitAny(Task& task, absl::Span<const WaitArgs> words, const Deadline& deadline);

  // FUTEX_WAKE(_BITSET): wakes at most `count` waiters with a common bit; how many.
  Result<uint32_t> Wake(MemoryManager& mm, VirtAddr addr, bool is_private, uint32_t count,
                        uint32_t bitset);

  struct RequeueArgs {
    VirtAddr from, to;
    bool is_private = false;
    uint32_t wake_count = 0, requeue_count = 0;
    std::optional<uint32_t> expected;  // FUTEX_CMP_REQUEUE: EAGAIN when the word differs
  };
  // FUTEX_CMP_REQUEUE_PI: `to` is a lock of `locks`; wake_count is 1, and counts among the moved.
  // EINVAL (waiters that named no lock, or another), and as PiFutexes::LockFor.
  Result<uint32_t> RequeuePi(MemoryManager& mm, PiFutexes& locks, const RequeueArgs& args);
  // Waiters woken plus moved.
  Result<uint32_t> Requeue(MemoryManager& mm, const RequeueArgs& args);

  struct WakeOpArgs {
    VirtAddr addr1, addr2;
    bool is_private = false;
    uint32_t count1 = 0, count2 = 0;
    uint32_t operation = 0;  // FUTEX_OP() word
  };
  // FUTEX_WAKE_OP. ENOSYS for an unknown operation.
  Result<uint32_t> WakeOp(MemoryManager& mm, const WakeOpArgs& args);

  // exit and execve: walks the robust list at `head` (struct robust_list_head, bounded length)
  // and marks the futexes that `tid` owns as FUTEX_OWNER_DIED.
  void ExitRobustList(MemoryManager& mm, VirtAddr head, int32_t tid);

 private:
  struct Bucket;
  struct Waiter {
    FutexKey key;
    uint32_t bitset = kMatchAny;
    Task* task = nullptr;
    PiFutexes::Waiter* lock = nullptr;     // of FUTEX_WAIT_REQUEUE_PI
    std::atomic<Bucket*> bucket{nullptr};  // null once woken; written under the bucket's lock
    // Where it is counted; null where it is not. Under the bucket's lock once it is in one.
    std::atomic<uint32_t>* counted = nullptr;
    std::list<Waiter*>::iterator position;
  };
  struct Bucket {
    absl::Mutex mutex;
    std::list<Waiter*> waiters ABSL_GUARDED_BY(mutex);
  };
  class TwoBuckets;
  static constexpr size_t kBuckets = 512;  // a power of two

  Bucket& BucketFor(const FutexKey& key);
  Result<void> Enqueue(Waiter* waiter, MemoryManager& mm, const WaitArgs& args);
  bool Dequeue(Waiter* waiter);  // true when it had been woken already
  static void ReleaseLocked(Bucket& bucket, Waiter* waiter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket.mutex);
  // Counts the waiter at `place`, where it will be found, and no longer where it was.
  static void CountAt(Waiter* waiter, std::atomic<uint32_t>* place);
  static std::atomic<uint32_t>* CountOf(MemoryManager& mm, VirtAddr addr, bool is_private);
  // EINVAL: one waits for a lock.
  static Result<uint32_t> WakeLocked(Bucket& bucket, const FutexKey& key, uint32_t count,
                                     uint32_t bitset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket.mutex);
  static Result<uint32_t> LockLocked(Bucket& bucket, const FutexKey& from_key,
                                     const FutexKey& to_key, MemoryManager& mm, PiFutexes& locks,
                                     const RequeueArgs& args)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket.mutex);
  static Result<uint32_t> MoveLocked(Bucket& from, const FutexKey& from_key, Bucket& to,
                                     const FutexKey& to_key, std::atomic<uint32_t>* to_count,
                                     uint32_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(from.mutex, to.mutex);
  static Result<uint32_t> Modify(MemoryManager& mm, VirtAddr addr, uint32_t operation);
  void ReleaseRobust(MemoryManager& mm, VirtAddr word, int32_t tid, bool pending);

  std::array<Bucket, kBuckets> buckets_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_FUTEX_H_
