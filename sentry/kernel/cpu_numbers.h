// CpuNumbers: which CPU each task of a process says it runs on (rseq(2), getcpu(2)).
//
// Linux promises restartable sequences that no two threads run on one CPU at a time, and that a
// thread which another one replaced on its CPU is told so (its critical section is aborted). Host
// CPUs cannot be used for that: the host moves and preempts a vCPU's thread without a word. So the
// sandbox has numbers of its own, as many as CPUs. A task that has registered an area holds one
// while it is in the guest, and no other task of the process has that number then. It keeps the
// number while it is outside, until somebody else of the process wants it. More tasks than numbers
// take turns of kSliceMillis, in order of arrival.
//
// Tasks that have not registered (and processes with few threads) never wait here.
// Threads: any; each call about a task is made by its own thread.
#ifndef RINGFENCE_SENTRY_KERNEL_CPU_NUMBERS_H_
#define RINGFENCE_SENTRY_KERNEL_CPU_NUMBERS_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"

namespace ringfence::sentry {

// A mask of CPUs by bytes, as sched_setaffinity(2) has it; empty: all.
using CpuMask = std::vector<uint8_t>;
bool Allows(const CpuMask& mask, uint32_t cpu);

// What CpuNumbers asks of a task. Called under its mutex, by other tasks' threads.
class CpuUser {
 public:
  virtual ~CpuUser() = default;
  // Come out of the guest soon; the task then goes through Resume or Take again.
  virtual void LeaveGuest() = 0;
  // Ends Doze, also the next one.
  virtual void WakeUp() = 0;
  // Sleeps until WakeUp or for `ns` (0: for as long as it takes). Own thread, no lock held.
  virtual void Doze(int64_t ns) = 0;
  // Something else has to be done first.
  virtual bool MustNotWait() const = 0;
};

class CpuNumbers {
 public:
  static constexpr int64_t kSliceMillis = 5;

  // A user's turn on a number.
  struct Turn {
    uint32_t number = 0;
    uint64_t serial = 0;  // 0: none
  };

  explicit CpuNumbers(uint32_t cpus);
  ~CpuNumbers();

  // Goes on with a turn: false if the number is somebody else's by now, or should be. One
  // compare-and-swap.
  bool Resume(const Turn& turn);
  // A new turn on a number of `allowed`, best on `best`, in place of `old`; waits for one. EINTR
  // when the user must not wait.
  Result<Turn> Take(CpuUser* user, const Turn& old, uint32_t best, const CpuMask& allowed);
  // The user is outside of the guest: whoever needs the number may have it.
  void Leave(const Turn& turn);
  // The user has no more use for the number.
  void Drop(const Turn& turn);

 private:
  struct Slot {
    // Serial of the turn << 1 | its user is in the guest. Changes of the serial are made under
    // mutex_ and only while the user is outside.
    std::atomic<uint64_t> state{0};
    std::atomic<int64_t> since{0};  // the turn began; monotonic, ns
    CpuUser* user = nullptr;        // guarded by mutex_; null: free
  };
  struct Waiter {
    CpuUser* user;
    uint32_t best;
    const CpuMask* allowed;
  };

  static bool IsOver(const Slot& slot);
  std::optional<Turn> TryLocked(const Waiter& waiter, uint32_t number)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Turn> TakeIdleLocked(const Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<Turn> WaitLocked(const Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AskOldestLocked(const CpuMask& allowed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsFirstLocked(const Waiter& waiter) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeFirstLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropLocked(const Turn& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::vector<Slot> slots_;
  std::atomic<uint32_t> waiting_{0};
  absl::Mutex mutex_;
  std::deque<const Waiter*> waiters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_CPU_NUMBERS_H_
