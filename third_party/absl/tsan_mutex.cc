// Debian's Abseil is built without ThreadSanitizer, which then knows nothing of its mutexes. The
// linker sends calls of them here (--wrap), where each is announced. Builds with --config=tsan
// only.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace {

using absl::Condition;
using absl::Mutex;

// Conditions that are evaluated between `pre` and `post` are ignored: whoever unlocks looks at
// those of others, with the lock.
template <typename Fn>
void Locking(Mutex* mutex, unsigned flags, Fn fn) {
  __tsan_mutex_pre_lock(mutex, flags);
  fn();
  __tsan_mutex_post_lock(mutex, flags, 0);
}
template <typename Fn>
void Unlocking(Mutex* mutex, unsigned flags, Fn fn) {
  __tsan_mutex_pre_unlock(mutex, flags);
  fn();
  __tsan_mutex_post_unlock(mutex, flags);
}
// Gives the lock away in between.
template <typename Fn>
auto Awaiting(Mutex* mutex, Fn fn) {
  Unlocking(mutex, 0, [] {});
  __tsan_mutex_pre_lock(mutex, 0);
  struct Announce {
    Mutex* mutex;
    ~Announce() { __tsan_mutex_post_lock(mutex, 0, 0); }
  } announce{mutex};
  return fn();
}

}  // namespace

extern "C" {

#define REAL(name) __real__ZN4absl7debian35Mutex##name
#define WRAPPED(name) __wrap__ZN4absl7debian35Mutex##name

void REAL(4LockEv)(Mutex*);
void WRAPPED(4LockEv)(Mutex* mutex) {
  Locking(mutex, 0, [=] { REAL(4LockEv)(mutex); });
}
void REAL(6UnlockEv)(Mutex*);
void WRAPPED(6UnlockEv)(Mutex* mutex) {
  Unlocking(mutex, 0, [=] { REAL(6UnlockEv)(mutex); });
}
void REAL(10ReaderLockEv)(Mutex*);
void WRAPPED(10ReaderLockEv)(Mutex* mutex) {
  Locking(mutex, __tsan_mutex_read_lock, [=] { REAL(10ReaderLockEv)(mutex); });
}
void REAL(12ReaderUnlockEv)(Mutex*);
void WRAPPED(12ReaderUnlockEv)(Mutex* mutex) {
  Unlocking(mutex, __tsan_mutex_read_lock, [=] { REAL(12ReaderUnlockEv)(mutex); });
}
void REAL(8LockWhenERKNS0_9ConditionE)(Mutex*, const Condition&);
void WRAPPED(8LockWhenERKNS0_9ConditionE)(Mutex* mutex, const Condition& condition) {
  Locking(mutex, 0, [&] { REAL(8LockWhenERKNS0_9ConditionE)(mutex, condition); });
}
void REAL(5AwaitERKNS0_9ConditionE)(Mutex*, const Condition&);
void WRAPPED(5AwaitERKNS0_9ConditionE)(Mutex* mutex, const Condition& condition) {
  Awaiting(mutex, [&] { REAL(5AwaitERKNS0_9ConditionE)(mutex, condition); });
}
bool REAL(17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(Mutex*, const Condition&, absl::Time);
bool WRAPPED(17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(Mutex* mutex,
                                                              const Condition& condition,
                                                              absl::Time deadline) {
  return Awaiting(mutex, [&] {
    return REAL(17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(mutex, condition, deadline);
  });
}

}  // extern "C"
