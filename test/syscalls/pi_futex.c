// Locks that know their owner: FUTEX_LOCK_PI and its kin of futex(2), alone and as the C library
// uses them.
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>

#include "check.h"

static uint32_t word;
static volatile int step;
static volatile long outcome;
static volatile int outcome_errno;

static long Futex(void* at, int op, const struct timespec* limit) {
  return syscall(SYS_futex, at, op, 0, limit, NULL, 0);
}

static uint32_t Word(void) { return __atomic_load_n(&word, __ATOMIC_SEQ_CST); }
static uint32_t Self(void) { return (uint32_t)syscall(SYS_gettid); }

static struct timespec After(clockid_t clock, int ms) {
  struct timespec t;
  clock_gettime(clock, &t);
  t.tv_nsec += ms * 1000000L;
  t.tv_sec += t.tv_nsec / 1000000000;
  t.tv_nsec %= 1000000000;
  return t;
}

static pthread_t Start(void* (*body)(void*)) {
  pthread_t thread;
  EXPECT(pthread_create(&thread, NULL, body, NULL) == 0);
  return thread;
}

static void Join(pthread_t thread) { EXPECT(pthread_join(thread, NULL) == 0); }

static void* LockAndUnlock(void* unused) {
  (void)unused;
  step = 1;
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  EXPECT_EQ(Word() & FUTEX_TID_MASK, Self());
  step = 2;
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
  return NULL;
}

TEST(handed_over) {
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  EXPECT_EQ(Word(), Self());
  const pthread_t thread = Start(LockAndUnlock);
  EVENTUALLY(Word() == (Self() | FUTEX_WAITERS));
  EXPECT_EQ(step, 1);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
  EVENTUALLY(step == 2);
  Join(thread);
  EXPECT_EQ(Word(), 0);
}

static void* TryEverything(void* unused) {
  (void)unused;
  EXPECT_ERRNO(Futex(&word, FUTEX_TRYLOCK_PI, NULL), EAGAIN);
  EXPECT_ERRNO(Futex(&word, FUTEX_UNLOCK_PI, NULL), EPERM);
  struct timespec limit = After(CLOCK_REALTIME, 30);
  const int64_t before = NowMs();
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI, &limit), ETIMEDOUT);
  EXPECT(NowMs() - before >= 25);
  limit = After(CLOCK_MONOTONIC, 10);
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI2, &limit), ETIMEDOUT);
  limit = After(CLOCK_REALTIME, 10);
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI2 | FUTEX_CLOCK_REALTIME, &limit), ETIMEDOUT);
  return NULL;
}

TEST(what_others_may_not) {
  EXPECT(Futex(&word, FUTEX_TRYLOCK_PI, NULL) == 0);
  EXPECT_EQ(Word(), Self());
  EXPECT_ERRNO(Futex(&word, FUTEX_TRYLOCK_PI, NULL), EDEADLK);
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI, NULL), EDEADLK);
  Join(Start(TryEverything));
  EXPECT_EQ(Word() & FUTEX_TID_MASK, Self());
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
  EXPECT_EQ(Word(), 0);
}

TEST(errors) {
  word = 999999;  // nobody
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI, NULL), ESRCH);
  EXPECT_ERRNO(Futex((char*)&word + 1, FUTEX_LOCK_PI, NULL), EINVAL);
  EXPECT_ERRNO(Futex(BAD_POINTER, FUTEX_LOCK_PI, NULL), EFAULT);
  EXPECT_ERRNO(Futex(BAD_POINTER, FUTEX_UNLOCK_PI, NULL), EFAULT);
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI, BAD_POINTER), EFAULT);
  const struct timespec bad = {0, -1};
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI, &bad), EINVAL);
  word = FUTEX_OWNER_DIED;  // left by somebody who ended: the bit stays
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  EXPECT_EQ(Word(), Self() | FUTEX_OWNER_DIED);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
  EXPECT_EQ(Word(), 0);
}

static void* LockAndEnd(void* unused) {
  (void)unused;
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  step = 1;
  EVENTUALLY(Word() & FUTEX_WAITERS);
  SleepMs(20);
  return NULL;
}

TEST(owner_that_ends_hands_over) {
  const pthread_t thread = Start(LockAndEnd);
  EVENTUALLY(step == 1);
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  EXPECT_EQ(Word() & ~FUTEX_WAITERS, Self() | FUTEX_OWNER_DIED);
  Join(thread);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
}

static void OnSignal(int number) {
  (void)number;
  step = 5;
}

static void* LockForGood(void* unused) {
  (void)unused;
  step = 1;
  outcome = Futex(&word, FUTEX_LOCK_PI, NULL);
  outcome_errno = errno;
  step = 6;
  return NULL;
}

TEST(signal_does_not_end_the_wait) {
  const struct sigaction action = {.sa_handler = OnSignal};
  EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  const pthread_t thread = Start(LockForGood);
  EVENTUALLY(Word() & FUTEX_WAITERS);
  SleepMs(20);
  EXPECT(pthread_kill(thread, SIGUSR1) == 0);
  EVENTUALLY(step == 5);
  SleepMs(20);
  EXPECT_EQ(step, 5);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
  EVENTUALLY(step == 6);
  EXPECT_EQ(outcome, 0);
  Join(thread);
}

TEST(shared_between_processes) {
  uint32_t* shared = Shared(4096);
  EXPECT(Futex(shared, FUTEX_LOCK_PI, NULL) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    EXPECT(Futex(shared, FUTEX_LOCK_PI, NULL) == 0);
    EXPECT_EQ(__atomic_load_n(shared, __ATOMIC_SEQ_CST) & FUTEX_TID_MASK, getpid());
    kill(getpid(), SIGKILL);
  }
  EVENTUALLY(__atomic_load_n(shared, __ATOMIC_SEQ_CST) & FUTEX_WAITERS);
  EXPECT(Futex(shared, FUTEX_UNLOCK_PI, NULL) == 0);
  EXPECT_KILLED(child, SIGKILL);
  EXPECT_ERRNO(Futex(shared, FUTEX_LOCK_PI, NULL), ESRCH);
}

static pthread_mutex_t mutex;
static long count;
enum { kThreads = 5, kTurns = 3000 };

static void MakeMutex(int robust) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  EXPECT(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT) == 0);
  EXPECT(pthread_mutexattr_setrobust(&attributes, robust) == 0);
  EXPECT(pthread_mutex_init(&mutex, &attributes) == 0);
}

static void* Count(void* unused) {
  (void)unused;
  for (int i = 0; i < kTurns; i++) {
    EXPECT(pthread_mutex_lock(&mutex) == 0);
    const long before = count;
    if (i % 100 == 0) sched_yield();
    count = before + 1;
    EXPECT(pthread_mutex_unlock(&mutex) == 0);
  }
  return NULL;
}

TEST(mutex_excludes) {
  MakeMutex(PTHREAD_MUTEX_STALLED);
  pthread_t threads[kThreads];
  for (int i = 0; i < kThreads; i++) threads[i] = Start(Count);
  for (int i = 0; i < kThreads; i++) Join(threads[i]);
  EXPECT_EQ(count, (long)kThreads * kTurns);
}

static void* LockMutexAndEnd(void* unused) {
  (void)unused;
  EXPECT(pthread_mutex_lock(&mutex) == 0);
  step = 1;
  SleepMs(30);
  return NULL;
}

TEST(robust_mutex) {
  MakeMutex(PTHREAD_MUTEX_ROBUST);
  Join(Start(LockMutexAndEnd));
  EXPECT_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
  step = 0;
  const pthread_t thread = Start(LockMutexAndEnd);
  EVENTUALLY(step == 1);
  EXPECT_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);  // waited for its end
  EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
  Join(thread);
}
