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

// --- FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI: sleepers that wake up with the lock ---

static uint32_t gate;
static volatile int inside, most_inside, done, waiting;
static struct timespec* wait_limit;
static int wait_flags;

static long WaitRequeue(void) {
  return syscall(SYS_futex, &gate, FUTEX_WAIT_REQUEUE_PI | wait_flags, 0, wait_limit, &word, 0);
}

static long CmpRequeue(int requeue, uint32_t expected) {
  return syscall(SYS_futex, &gate, FUTEX_CMP_REQUEUE_PI, 1, (long)requeue, &word, expected);
}

static int Asleep(pid_t tid) {
  char path[60], text[400];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
  return ReadFile(path, text, sizeof text) && strrchr(text, ')')[2] == 'S';
}

static pid_t sleepers[8];

static void* SleepAndHold(void* number) {
  sleepers[(long)number] = (pid_t)Self();
  __atomic_fetch_add(&waiting, 1, __ATOMIC_SEQ_CST);
  EXPECT_EQ(WaitRequeue(), 0);
  EXPECT_EQ(Word() & FUTEX_TID_MASK, Self());
  const int now = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
  if (now > most_inside) most_inside = now;
  SleepMs(5);
  __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
  return NULL;
}

static void StartSleepers(pthread_t* threads, int count) {
  for (long i = 0; i < count; i++) {
    EXPECT(pthread_create(&threads[i], NULL, SleepAndHold, (void*)i) == 0);
    EVENTUALLY(waiting == i + 1 && Asleep(sleepers[i]));
  }
}

// As pthread_cond_broadcast(3) under a held mutex.
TEST(requeued_sleepers_get_a_held_lock_one_by_one) {
  pthread_t threads[4];
  StartSleepers(threads, 4);
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  EXPECT_EQ(CmpRequeue(1, 0), 2);
  EXPECT_EQ(Word(), Self() | FUTEX_WAITERS);
  EXPECT_EQ(CmpRequeue(1000, 0), 2);
  EXPECT_EQ(CmpRequeue(1000, 0), 0);
  SleepMs(20);
  EXPECT_EQ(done, 0);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
  for (int i = 0; i < 4; i++) Join(threads[i]);
  EXPECT_EQ(done, 4);
  EXPECT_EQ(most_inside, 1);
  EXPECT_EQ(Word(), 0);
}

TEST(requeued_sleeper_takes_a_free_lock) {
  pthread_t threads[3];
  StartSleepers(threads, 3);
  EXPECT_EQ(CmpRequeue(0, 0), 1);
  EVENTUALLY(done == 1);
  EVENTUALLY(Word() == 0);
  EXPECT_EQ(CmpRequeue(1000, 0), 2);
  for (int i = 0; i < 3; i++) Join(threads[i]);
  EXPECT_EQ(most_inside, 1);
  EXPECT_EQ(Word(), 0);
}

TEST(requeue_to_a_lock_errors) {
  EXPECT_EQ(CmpRequeue(1, 0), 0);  // nobody
  EXPECT_ERRNO(CmpRequeue(1, 7), EAGAIN);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_CMP_REQUEUE_PI, 2, 1L, &word, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_CMP_REQUEUE_PI, 0, 1L, &word, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_CMP_REQUEUE_PI, 1, 1L, &gate, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_CMP_REQUEUE_PI, 1, -1L, &word, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_CMP_REQUEUE_PI, 1, 1L, BAD_POINTER, 0), EFAULT);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &gate, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_WAIT_REQUEUE_PI, 7, NULL, &word, 0), EAGAIN);
  EXPECT_ERRNO(syscall(SYS_futex, BAD_POINTER, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &word, 0), EFAULT);
}

TEST(sleepers_for_a_lock_are_for_nothing_else) {
  pthread_t thread;
  StartSleepers(&thread, 1);
  uint32_t other = 0;
  EXPECT_ERRNO(Futex(&gate, FUTEX_WAKE, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_REQUEUE, 1, 1L, &other, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex, &gate, FUTEX_CMP_REQUEUE_PI, 1, 1L, &other, 0), EINVAL);
  EXPECT_EQ(CmpRequeue(0, 0), 1);
  Join(thread);
}

static void* PlainSleeper(void* unused) {
  sleepers[0] = (pid_t)Self();
  EXPECT(Futex(&gate, FUTEX_WAIT, NULL) == 0);
  return unused;
}

TEST(plain_sleepers_are_not_moved_to_a_lock) {
  const pthread_t thread = Start(PlainSleeper);
  EVENTUALLY(sleepers[0] != 0 && Asleep(sleepers[0]));
  EXPECT_ERRNO(CmpRequeue(1, 0), EINVAL);
  EXPECT_EQ(syscall(SYS_futex, &gate, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
  Join(thread);
}

static void* TimedSleeper(void* unused) {
  sleepers[0] = (pid_t)Self();
  outcome = WaitRequeue();
  outcome_errno = errno;
  step = 1;
  return unused;
}

TEST(sleepers_for_a_lock_time_out) {
  struct timespec limit = After(CLOCK_MONOTONIC, 30);
  wait_limit = &limit;
  Join(Start(TimedSleeper));
  EXPECT(outcome == -1 && outcome_errno == ETIMEDOUT);
  limit = After(CLOCK_REALTIME, 30);
  wait_flags = FUTEX_CLOCK_REALTIME;
  Join(Start(TimedSleeper));
  EXPECT(outcome == -1 && outcome_errno == ETIMEDOUT);
  EXPECT_EQ(Word(), 0);
}

// Moved, and then in time for nothing: the owner keeps the lock.
TEST(requeued_sleepers_time_out) {
  struct timespec limit = After(CLOCK_MONOTONIC, 200);
  wait_limit = &limit;
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  const pthread_t thread = Start(TimedSleeper);
  EVENTUALLY(sleepers[0] != 0 && Asleep(sleepers[0]));
  EXPECT_EQ(CmpRequeue(1, 0), 1);
  Join(thread);
  EXPECT(outcome == -1 && outcome_errno == ETIMEDOUT);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
}

static void Nothing(int number) { (void)number; }

TEST(signals_of_sleepers_for_a_lock) {
  struct sigaction action = {.sa_handler = Nothing};
  EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  EXPECT(Futex(&word, FUTEX_LOCK_PI, NULL) == 0);
  const pthread_t thread = Start(TimedSleeper);
  EVENTUALLY(sleepers[0] != 0 && Asleep(sleepers[0]));
  pthread_kill(thread, SIGUSR1);  // not moved yet: it sleeps on
  SleepMs(30);
  EVENTUALLY(Asleep(sleepers[0]));
  EXPECT_EQ(step, 0);
  EXPECT_EQ(CmpRequeue(1, 0), 1);
  pthread_kill(thread, SIGUSR1);  // now it gives up
  Join(thread);
  EXPECT(outcome == -1 && outcome_errno == EAGAIN);
  EXPECT(Futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
}

static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int turn;

static void* TakeTurns(void* number) {
  const int mine = (int)(long)number;
  for (int i = 0; i < 200; i++) {
    EXPECT(pthread_mutex_lock(&mutex) == 0);
    while (turn % 3 != mine) EXPECT(pthread_cond_wait(&condition, &mutex) == 0);
    turn++;
    EXPECT(pthread_cond_broadcast(&condition) == 0);
    EXPECT(pthread_mutex_unlock(&mutex) == 0);
  }
  return NULL;
}

TEST(condition_with_a_pi_mutex) {
  MakeMutex(PTHREAD_MUTEX_STALLED);
  pthread_t threads[3];
  for (long i = 0; i < 3; i++) {
    EXPECT(pthread_create(&threads[i], NULL, TakeTurns, (void*)i) == 0);
  }
  for (int i = 0; i < 3; i++) Join(threads[i]);
  EXPECT_EQ(turn, 600);
}
