#include "sentry/kernel/pi_futex.h"

#include <linux/futex.h>
#include <sched.h>

#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {
namespace {

uint32_t NumberOf(const Task& task) { return static_cast<uint32_t>(task.tid()); }

void WakeWaiter(Task* task) {
  const std::shared_ptr<Task> keep = task->shared_from_this();
  keep->Wake();
}

// Has looked at the word, knows the owner, and was not told to go on.
template <typename Waiter>
bool Waits(const Waiter& waiter, const FutexKey& key) {
  return waiter.owner != 0 && !waiter.turn.load() && waiter.key == key;
}

}  // namespace

PiFutexes::Waiter* PiFutexes::FirstLocked(const FutexKey& key, const Waiter* except) {
  for (Waiter* waiter : waiters_) {
    if (waiter != except && Waits(*waiter, key)) return waiter;
  }
  return nullptr;
}

void PiFutexes::SetOwnerLocked(const FutexKey& key, uint32_t owner) {
  for (Waiter* waiter : waiters_) {
    if (Waits(*waiter, key)) waiter->owner = owner;
  }
}

// ESRCH for one that does not exist, EAGAIN while it is about to end. One that is gone and whose
// lock somebody is about to take counts as the owner.
Result<void> PiFutexes::CheckOwnerLocked(const Waiter& waiter, uint32_t owner) {
  const TaskRef task = waiter.task->kernel().FindTask(static_cast<int32_t>(owner));
  const FutexState state = task == nullptr ? FutexState::kGone : task->futex_state();
  if (state == FutexState::kOwned) return Ok();
  if (state == FutexState::kLeaving) return Errno::kAGAIN;
  for (const Waiter* next : waiters_) {
    if (next->key == waiter.key && next->dead == owner) return Ok();
  }
  return Errno::kSRCH;
}

// One look at the word: takes the lock, or queues (if `queue`) behind its owner.
Result<PiFutexes::Attempt> PiFutexes::TryLocked(Waiter* waiter, MemoryManager& mm, VirtAddr addr,
                                                bool queue) {
  const uint32_t number = NumberOf(*waiter->task);
  const uint32_t value = TRY(mm.AtomicLoad32(addr));
  const uint32_t owner = value & FUTEX_TID_MASK;
  if (owner == number) return Errno::kDEADLK;
  if (owner == 0 || owner == waiter->dead) {
    uint32_t mine = number | (value & FUTEX_OWNER_DIED);
    if (waiter->dead != 0) mine |= FUTEX_OWNER_DIED;
    if (FirstLocked(waiter->key, waiter) != nullptr) mine |= FUTEX_WAITERS;
    if (TRY(mm.AtomicCompareExchange32(addr, value, mine)) != value) return Attempt::kAgain;
    SetOwnerLocked(waiter->key, number);
    return Attempt::kTaken;
  }
  const Result<void> alive = CheckOwnerLocked(*waiter, owner);
  if (!alive.ok() && alive.error() == Errno::kAGAIN) return Attempt::kAgain;
  TRY(Result<void>(alive));
  if ((value & FUTEX_WAITERS) == 0 &&
      TRY(mm.AtomicCompareExchange32(addr, value, value | FUTEX_WAITERS)) != value) {
    return Attempt::kAgain;
  }
  if (!queue) return Errno::kAGAIN;
  waiter->owner = owner;
  waiter->dead = 0;
  waiter->turn.store(false);
  return Attempt::kQueued;
}

// Until the lock is handed over (`granted`) or free to take (`dead`).
Result<void> PiFutexes::AwaitTurn(Waiter* waiter, const Deadline& deadline) {
  Result<void> slept;
  while (slept.ok() && !waiter->turn.load()) slept = waiter->task->Block(deadline);
  absl::MutexLock lock(&mutex_);  // whoever gave the turn is done with the waiter
  if (waiter->turn.load()) return Ok();
  if (slept.error() == Errno::kRESTARTSYS) return Errno::kRESTARTNOINTR;
  return slept;
}

Result<void> PiFutexes::Take(Waiter* waiter, VirtAddr addr, bool queue, const Deadline& deadline) {
  while (true) {
    Attempt attempt;
    {
      absl::MutexLock lock(&mutex_);
      attempt = TRY(TryLocked(waiter, waiter->task->mm(), addr, queue));
    }
    if (attempt == Attempt::kTaken) return Ok();
    if (attempt == Attempt::kAgain) {
      // Whose turn it is takes the lock, and its own end hands it on.
      if (waiter->dead == 0 && waiter->task->HasPendingWork()) return Errno::kRESTARTNOINTR;
      sched_yield();
      continue;
    }
    TRY(AwaitTurn(waiter, deadline));
    if (waiter->granted) return Ok();
  }
}

void PiFutexes::ListLocked(Waiter* waiter) {
  waiter->position = waiters_.insert(waiters_.end(), waiter);
  waiter->listed = true;
  waiting_.fetch_add(1);
}

void PiFutexes::Unlist(Waiter* waiter) {
  absl::MutexLock lock(&mutex_);
  if (!waiter->listed) return;
  waiters_.erase(waiter->position);
  waiter->listed = false;
  waiting_.fetch_sub(1);
}

Result<void> PiFutexes::Lock(Task& task, VirtAddr addr, bool is_private, const Deadline& deadline) {
  Waiter waiter;
  waiter.key = TRY(task.mm().GetFutexKey(addr, is_private));
  waiter.task = &task;
  {
    absl::MutexLock lock(&mutex_);
    ListLocked(&waiter);
  }
  const Result<void> taken = Take(&waiter, addr, true, deadline);
  Unlist(&waiter);
  return taken;
}

Result<void> PiFutexes::LockFor(Waiter* waiter, MemoryManager& mm, VirtAddr addr) {
  constexpr int kTries = 100;
  absl::MutexLock lock(&mutex_);
  for (int i = 0; i < kTries; ++i) {
    const Attempt attempt = TRY(TryLocked(waiter, mm, addr, true));
    if (attempt == Attempt::kAgain) continue;
    if (attempt == Attempt::kQueued) {
      ListLocked(waiter);
    } else {
      waiter->granted = true;
      waiter->turn.store(true);
    }
    return Ok();
  }
  return Errno::kAGAIN;
}

Result<void> PiFutexes::FinishLock(Waiter* waiter, VirtAddr addr, const Deadline& deadline) {
  Result<void> done = AwaitTurn(waiter, deadline);
  if (done.ok() && !waiter->granted) done = Take(waiter, addr, true, deadline);
  Unlist(waiter);
  if (!done.ok() && done.error() == Errno::kRESTARTNOINTR) return Errno::kAGAIN;
  return done;
}

Result<void> PiFutexes::TryLock(Task& task, VirtAddr addr, bool is_private) {
  Waiter waiter;
  waiter.key = TRY(task.mm().GetFutexKey(addr, is_private));
  waiter.task = &task;
  return Take(&waiter, addr, false, Deadline::Never());
}

Result<void> PiFutexes::Unlock(Task& task, VirtAddr addr, bool is_private) {
  const FutexKey key = TRY(task.mm().GetFutexKey(addr, is_private));
  absl::MutexLock lock(&mutex_);
  uint32_t value = TRY(task.mm().AtomicLoad32(addr));
  while (true) {
    if ((value & FUTEX_TID_MASK) != NumberOf(task)) return Errno::kPERM;
    Waiter* next = nullptr;
    for (Waiter* waiter : waiters_) {
      if (Waits(*waiter, key) && waiter->owner == NumberOf(task)) {
        next = waiter;
        break;
      }
    }
    const uint32_t desired = next == nullptr ? 0 : FUTEX_WAITERS | NumberOf(*next->task);
    const uint32_t found = TRY(task.mm().AtomicCompareExchange32(addr, value, desired));
    if (found != value) {
      value = found;
      continue;
    }
    if (next == nullptr) return Ok();
    SetOwnerLocked(key, NumberOf(*next->task));
    next->granted = true;
    Task* const woken = next->task;
    next->turn.store(true);
    WakeWaiter(woken);
    return Ok();
  }
}

void PiFutexes::OwnerGone(int32_t tid) {
  if (waiting_.load() == 0) return;
  const auto dead = static_cast<uint32_t>(tid);
  absl::MutexLock lock(&mutex_);
  for (Waiter* waiter : waiters_) {
    if (waiter->owner != dead || !Waits(*waiter, waiter->key)) continue;
    SetOwnerLocked(waiter->key, NumberOf(*waiter->task));
    waiter->dead = dead;
    waiter->turn.store(true);
    WakeWaiter(waiter->task);
  }
}

}  // namespace ringfence::sentry
