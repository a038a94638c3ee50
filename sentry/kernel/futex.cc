#include "sentry/kernel/futex.h"

#include <linux/futex.h>

#include <algorithm>
#include <memory>

#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {
namespace {

uint64_t Mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9e3779b97f4a7c15;
  return x ^ (x >> 29);
}

int32_t SignExtend12(uint32_t field) { return static_cast<int32_t>(field << 20) >> 20; }

// FUTEX_OP (futex(2)): new value of the word from the old one.
Result<uint32_t> Apply(uint32_t operation, uint32_t old) {
  uint32_t arg = static_cast<uint32_t>(SignExtend12((operation >> 12) & 0xfff));
  if ((operation >> 28 & FUTEX_OP_OPARG_SHIFT) != 0) arg = uint32_t{1} << (arg & 31);
  switch (operation >> 28 & 7) {
    case FUTEX_OP_SET:
      return arg;
    case FUTEX_OP_ADD:
      return old + arg;
    case FUTEX_OP_OR:
      return old | arg;
    case FUTEX_OP_ANDN:
      return old & ~arg;
    case FUTEX_OP_XOR:
      return old ^ arg;
    default:
      return Errno::kNOSYS;
  }
}

Result<bool> Compare(uint32_t operation, uint32_t value) {
  const int32_t arg = SignExtend12(operation & 0xfff);
  const int32_t old = static_cast<int32_t>(value);
  switch (operation >> 24 & 0xf) {
    case FUTEX_OP_CMP_EQ:
      return old == arg;
    case FUTEX_OP_CMP_NE:
      return old != arg;
    case FUTEX_OP_CMP_LT:
      return old < arg;
    case FUTEX_OP_CMP_LE:
      return old <= arg;
    case FUTEX_OP_CMP_GT:
      return old > arg;
    case FUTEX_OP_CMP_GE:
      return old >= arg;
    default:
      return Errno::kNOSYS;
  }
}

}  // namespace

FutexManager::Bucket& FutexManager::BucketFor(const FutexKey& key) {
  return buckets_[Mix(key.space * 31 + key.offset) % kBuckets];
}

// Only private keys: a shared one is woken from other spaces, too, and those calls always come
// here.
std::atomic<uint32_t>* FutexManager::CountOf(MemoryManager& mm, VirtAddr addr, bool is_private) {
  return is_private ? mm.space().WaitersAt(addr) : nullptr;
}

void FutexManager::CountAt(Waiter* waiter, std::atomic<uint32_t>* place) {
  if (place != nullptr) place->fetch_add(1, std::memory_order_seq_cst);
  if (waiter->counted != nullptr) waiter->counted->fetch_sub(1, std::memory_order_seq_cst);
  waiter->counted = place;
}

// --- waiting ---

// Registers the waiter unless the word has changed already (EAGAIN).
Result<void> FutexManager::Enqueue(Waiter* waiter, MemoryManager& mm, const WaitArgs& args) {
  waiter->key = TRY(mm.GetFutexKey(args.addr, args.is_private));
  // A page that is not there yet is brought in before the lock, as far as possible.
  if (TRY(mm.AtomicLoad32(args.addr)) != args.expected) return Errno::kAGAIN;
  Bucket& bucket = BucketFor(waiter->key);
  absl::MutexLock lock(&bucket.mutex);
  CountAt(waiter, CountOf(mm, args.addr, args.is_private));
  const Result<uint32_t> word = mm.AtomicLoad32(args.addr);
  if (!word.ok() || *word != args.expected) {
    CountAt(waiter, nullptr);
    return word.ok() ? Errno::kAGAIN : word.error();
  }
  waiter->position = bucket.waiters.insert(bucket.waiters.end(), waiter);
  waiter->bucket.store(&bucket);
  return Ok();
}

// A requeue moves the waiter between buckets: look again until the bucket that was locked is it.
bool FutexManager::Dequeue(Waiter* waiter) {
  while (Bucket* bucket = waiter->bucket.load()) {
    absl::MutexLock lock(&bucket->mutex);
    if (waiter->bucket.load() != bucket) continue;
    bucket->waiters.erase(waiter->position);
    CountAt(waiter, nullptr);
    waiter->bucket.store(nullptr);
    return false;
  }
  return true;
}

Result<void> FutexManager::Wait(Task& task, const CallContext& ctx, const WaitArgs& args) {
  if (args.bitset == 0) return Errno::kINVAL;
  if (!ctx.may_block) {
    if (TRY(task.mm().AtomicLoad32(args.addr)) != args.expected) return Errno::kAGAIN;
    return Errno::kWOULDBLOCK_RETRY_ON_TASK;
  }
  Waiter waiter;
  waiter.bitset = args.bitset;
  waiter.task = &task;
  TRY(Enqueue(&waiter, task.mm(), args));
  Result<void> slept;
  while (slept.ok() && waiter.bucket.load() != nullptr) slept = task.Block(args.deadline);
  if (Dequeue(&waiter)) return Ok();
  return slept;
}

Result<void> FutexManager::WaitRequeuePi(Task& task, const WaitArgs& args, VirtAddr lock) {
  PiFutexes::Waiter in_lock;
  in_lock.task = &task;
  if (args.addr == lock) return Errno::kINVAL;
  in_lock.key = TRY(task.mm().GetFutexKey(lock, args.is_private));
  Waiter waiter;
  waiter.task = &task;
  waiter.lock = &in_lock;
  TRY(Enqueue(&waiter, task.mm(), args));
  if (waiter.key == in_lock.key) {
    (void)Dequeue(&waiter);
    return Errno::kINVAL;
  }
  Result<void> slept;
  while (slept.ok() && waiter.bucket.load() != nullptr) slept = task.Block(args.deadline);
  if (Dequeue(&waiter)) {
    return task.kernel().pi_futexes().FinishLock(&in_lock, lock, args.deadline);
  }
  if (slept.error() == Errno::kRESTARTSYS) return Errno::kRESTARTNOINTR;
  return slept;
}

Result<uint32_t> FutexManager::WaitAny(Task& task, absl::Span<const WaitArgs> words,
                                       const Deadline& deadline) {
  const auto waiters = std::make_unique<Waiter[]>(words.size());
  Result<void> state;
  size_t enqueued = 0;
  while (state.ok() && enqueued < words.size()) {
    waiters[enqueued].task = &task;
    state = Enqueue(&waiters[enqueued], task.mm(), words[enqueued]);
    if (state.ok()) ++enqueued;
  }
  const auto none_woken = [&] {
    const auto waits = [](const Waiter& waiter) { return waiter.bucket.load() != nullptr; };
    return std::all_of(waiters.get(), waiters.get() + enqueued, waits);
  };
  while (state.ok() && none_woken()) state = task.Block(deadline);
  // A wake-up that has come counts, whatever else went wrong.
  std::optional<uint32_t> woken;
  for (uint32_t i = 0; i < enqueued; ++i) {
    if (Dequeue(&waiters[i])) woken = i;
  }
  if (woken.has_value()) return *woken;
  return state.error();
}

// --- waking ---

// The waiter may be gone as soon as it sees that it is in no bucket.
void FutexManager::ReleaseLocked(Bucket& bucket, Waiter* waiter) {
  bucket.waiters.erase(waiter->position);
  CountAt(waiter, nullptr);
  Task* task = waiter->task;
  const std::shared_ptr<Task> keep = task->shared_from_this();
  waiter->bucket.store(nullptr);
  task->Wake();
}

Result<uint32_t> FutexManager::WakeLocked(Bucket& bucket, const FutexKey& key, uint32_t count,
                                          uint32_t bitset) {
  uint32_t woken = 0;
  for (auto it = bucket.waiters.begin(); it != bucket.waiters.end() && woken < count;) {
    Waiter* const waiter = *it++;
    if (!(waiter->key == key)) continue;
    if (waiter->lock != nullptr) return Errno::kINVAL;
    if ((waiter->bitset & bitset) == 0) continue;
    ReleaseLocked(bucket, waiter);
    ++woken;
  }
  return woken;
}

Result<uint32_t> FutexManager::Wake(MemoryManager& mm, VirtAddr addr, bool is_private,
                                    uint32_t count, uint32_t bitset) {
  if (bitset == 0) return Errno::kINVAL;
  const FutexKey key = TRY(mm.GetFutexKey(addr, is_private));
  Bucket& bucket = BucketFor(key);
  absl::MutexLock lock(&bucket.mutex);
  return WakeLocked(bucket, key, count, bitset);
}

// --- two futexes at once: buckets are locked in the order of their addresses ---

class ABSL_SCOPED_LOCKABLE FutexManager::TwoBuckets {
 public:
  TwoBuckets(Bucket* a, Bucket* b) ABSL_NO_THREAD_SAFETY_ANALYSIS : first_(std::min(a, b)),
                                                                    second_(std::max(a, b)) {
    first_->mutex.Lock();
    if (second_ != first_) second_->mutex.Lock();
  }
  ~TwoBuckets() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (second_ != first_) second_->mutex.Unlock();
    first_->mutex.Unlock();
  }

 private:
  Bucket* const first_;
  Bucket* const second_;
};

Result<uint32_t> FutexManager::MoveLocked(Bucket& from, const FutexKey& from_key, Bucket& to,
                                          const FutexKey& to_key, std::atomic<uint32_t>* to_count,
                                          uint32_t count) {
  uint32_t moved = 0;
  for (auto it = from.waiters.begin(); it != from.waiters.end() && moved < count;) {
    Waiter* waiter = *it;
    const auto here = it++;
    if (!(waiter->key == from_key)) continue;
    if (waiter->lock != nullptr) return Errno::kINVAL;
    waiter->key = to_key;
    CountAt(waiter, to_count);
    ++moved;
    if (&from == &to) continue;
    to.waiters.splice(to.waiters.end(), from.waiters, here);
    waiter->bucket.store(&to);
  }
  return moved;
}

Result<uint32_t> FutexManager::Requeue(MemoryManager& mm, const RequeueArgs& args) {
  const FutexKey from_key = TRY(mm.GetFutexKey(args.from, args.is_private));
  const FutexKey to_key = TRY(mm.GetFutexKey(args.to, args.is_private));
  if (args.expected.has_value()) (void)TRY(mm.AtomicLoad32(args.from));
  Bucket& from = BucketFor(from_key);
  Bucket& to = BucketFor(to_key);
  TwoBuckets lock(&from, &to);
  from.mutex.AssertHeld();
  to.mutex.AssertHeld();
  if (args.expected.has_value() && TRY(mm.AtomicLoad32(args.from)) != *args.expected) {
    return Errno::kAGAIN;
  }
  const uint32_t woken = TRY(WakeLocked(from, from_key, args.wake_count, kMatchAny));
  if (from_key == to_key) return woken;
  return woken + TRY(MoveLocked(from, from_key, to, to_key, CountOf(mm, args.to, args.is_private),
                                args.requeue_count));
}

// Gives the lock to the first waiter if it is free, else queues it, and the others behind it.
Result<uint32_t> FutexManager::LockLocked(Bucket& bucket, const FutexKey& from_key,
                                          const FutexKey& to_key, MemoryManager& mm,
                                          PiFutexes& locks, const RequeueArgs& args) {
  const uint64_t most = uint64_t{args.wake_count} + args.requeue_count;
  uint32_t done = 0;
  for (auto it = bucket.waiters.begin(); it != bucket.waiters.end() && done < most;) {
    Waiter* const waiter = *it++;
    if (!(waiter->key == from_key)) continue;
    if (waiter->lock == nullptr || !(waiter->lock->key == to_key)) return Errno::kINVAL;
    TRY(locks.LockFor(waiter->lock, mm, args.to));
    ReleaseLocked(bucket, waiter);
    ++done;
  }
  return done;
}

Result<uint32_t> FutexManager::RequeuePi(MemoryManager& mm, PiFutexes& locks,
                                         const RequeueArgs& args) {
  if (args.from == args.to || args.wake_count != 1) return Errno::kINVAL;
  const FutexKey from_key = TRY(mm.GetFutexKey(args.from, args.is_private));
  const FutexKey to_key = TRY(mm.GetFutexKey(args.to, args.is_private));
  if (from_key == to_key) return Errno::kINVAL;
  (void)TRY(mm.AtomicLoad32(args.from));
  (void)TRY(mm.AtomicLoad32(args.to));
  Bucket& bucket = BucketFor(from_key);
  absl::MutexLock lock(&bucket.mutex);
  if (TRY(mm.AtomicLoad32(args.from)) != args.expected) return Errno::kAGAIN;
  return LockLocked(bucket, from_key, to_key, mm, locks, args);
}

Result<uint32_t> FutexManager::Modify(MemoryManager& mm, VirtAddr addr, uint32_t operation) {
  uint32_t old = TRY(mm.AtomicLoad32(addr));
  while (true) {
    const uint32_t desired = TRY(Apply(operation, old));
    const uint32_t found = TRY(mm.AtomicCompareExchange32(addr, old, desired));
    if (found == old) return old;
    old = found;
  }
}

Result<uint32_t> FutexManager::WakeOp(MemoryManager& mm, const WakeOpArgs& args) {
  (void)TRY(Apply(args.operation, 0));
  (void)TRY(Compare(args.operation, 0));
  const FutexKey key1 = TRY(mm.GetFutexKey(args.addr1, args.is_private));
  const FutexKey key2 = TRY(mm.GetFutexKey(args.addr2, args.is_private));
  (void)TRY(mm.AtomicLoad32(args.addr2));
  Bucket& bucket1 = BucketFor(key1);
  Bucket& bucket2 = BucketFor(key2);
  TwoBuckets lock(&bucket1, &bucket2);
  bucket1.mutex.AssertHeld();
  bucket2.mutex.AssertHeld();
  const uint32_t old = TRY(Modify(mm, args.addr2, args.operation));
  uint32_t woken = TRY(WakeLocked(bucket1, key1, args.count1, kMatchAny));
  if (TRY(Compare(args.operation, old))) {
    woken += TRY(WakeLocked(bucket2, key2, args.count2, kMatchAny));
  }
  return woken;
}

// --- robust lists (get_robust_list(2), Documentation/locking/robust-futexes) ---

void FutexManager::ReleaseRobust(MemoryManager& mm, VirtAddr word, int32_t tid, bool pending) {
  const Result<uint32_t> loaded = mm.AtomicLoad32(word);
  if (!loaded.ok()) return;
  uint32_t value = *loaded;
  // The owner died between releasing the lock and waking a waiter: somebody has to be woken.
  if (pending && value == 0) {
    (void)Wake(mm, word, false, 1, kMatchAny);
    return;
  }
  while ((value & FUTEX_TID_MASK) == static_cast<uint32_t>(tid)) {
    const uint32_t died = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    const Result<uint32_t> found = mm.AtomicCompareExchange32(word, value, died);
    if (!found.ok()) return;
    if (*found == value) {
      if ((value & FUTEX_WAITERS) != 0) (void)Wake(mm, word, false, 1, kMatchAny);
      return;
    }
    value = *found;
  }
}

void FutexManager::ExitRobustList(MemoryManager& mm, VirtAddr head, int32_t tid) {
  struct Head {
    uint64_t next;
    int64_t futex_offset;
    uint64_t pending;
  } list;
  if (!mm.CopyIn(&list, head, sizeof(list)).ok()) return;
  const auto word = [&list](uint64_t entry) {
    // Bit 0 marks a priority-inheritance futex.
    return VirtAddr((entry & ~uint64_t{1}) + static_cast<uint64_t>(list.futex_offset));
  };
  constexpr int kMaxEntries = 2048;  // ROBUST_LIST_LIMIT: the list may be a circle
  uint64_t entry = list.next;
  for (int i = 0; i < kMaxEntries && (entry & ~uint64_t{1}) != head.value(); ++i) {
    uint64_t next = 0;
    const bool readable = mm.CopyIn(&next, VirtAddr(entry & ~uint64_t{1}), sizeof(next)).ok();
    if (entry != list.pending) ReleaseRobust(mm, word(entry), tid, false);
    if (!readable) return;
    entry = next;
  }
  if (list.pending != 0) ReleaseRobust(mm, word(list.pending), tid, true);
}

}  // namespace ringfence::sentry
