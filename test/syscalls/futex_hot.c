// futex(2) in loops: what a platform may answer without asking the kernel must be what it would
// say.
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>

#include "check.h"

#define HOT 2000

// One place for all calls, so that it is a hot one. -errno as the kernel returns it.
static __attribute__((noinline)) long Futex(void* at, int op, uint32_t value, const void* timeout,
                                            void* second, uint32_t value3) {
  long result;
  register const void* r10 __asm__("r10") = timeout;
  register void* r8 __asm__("r8") = second;
  register long r9 __asm__("r9") = value3;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(SYS_futex), "D"(at), "S"((long)op), "d"((long)value), "r"(r10), "r"(r8),
                     "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static long Wait(uint32_t* at, uint32_t value) {
  return Futex(at, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static long Wake(uint32_t* at, int count) {
  return Futex(at, FUTEX_WAKE_PRIVATE, (uint32_t)count, NULL, NULL, 0);
}

// Makes the place of the call a hot one, with calls that change nothing.
static void Warm(void) {
  static uint32_t word;
  for (int i = 0; i < HOT; i++) {
    EXPECT_EQ(Wake(&word, 1), 0);
    EXPECT_EQ(Wait(&word, 1), -EAGAIN);
  }
}

static pthread_t StartThread(void* (*body)(void*), void* argument) {
  pthread_t thread;
  EXPECT_EQ(pthread_create(&thread, NULL, body, argument), 0);
  return thread;
}

// --- passing on ---

static uint32_t turn;
enum { kPasses = 3000 };

static void PlayFor(uint32_t me) {
  for (int i = 0; i < kPasses; i++) {
    while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != me) {
      const long result = Wait(&turn, 1 - me);
      EXPECT(result == 0 || result == -EAGAIN);
    }
    __atomic_store_n(&turn, 1 - me, __ATOMIC_SEQ_CST);
    const long woken = Wake(&turn, 1);
    EXPECT(woken == 0 || woken == 1);
  }
}

static void* PlayOther(void* unused) {
  (void)unused;
  PlayFor(1);
  return NULL;
}

TEST(two_threads_pass_a_word) {
  turn = 0;
  const pthread_t other = StartThread(PlayOther, NULL);
  PlayFor(0);
  pthread_join(other, NULL);
  EXPECT_EQ(turn, 0);
}

// --- waiters are counted ---

typedef struct {
  uint32_t* at;
  volatile int tid;
  volatile long result;
} Sleeper;

static void* Sleep(void* argument) {
  Sleeper* sleeper = argument;
  sleeper->tid = (int)syscall(SYS_gettid);
  sleeper->result = Wait(sleeper->at, 0);
  return NULL;
}

static pthread_t StartSleeper(Sleeper* sleeper, uint32_t* at) {
  *sleeper = (Sleeper){at, 0, -1};
  const pthread_t thread = StartThread(Sleep, sleeper);
  EVENTUALLY(sleeper->tid != 0);
  SleepMs(30);
  return thread;
}

TEST(sleepers_are_woken_and_counted) {
  static uint32_t words[2048];
  Warm();
  for (int round = 0; round < 5; round++) {
    Sleeper sleepers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) threads[i] = StartSleeper(&sleepers[i], &words[10]);
    // Same offset in another page, another offset in the same page.
    for (int i = 0; i < HOT; i++) {
      EXPECT_EQ(Wake(&words[10 + 1024], INT_MAX), 0);
      EXPECT_EQ(Wake(&words[11], INT_MAX), 0);
    }
    EXPECT_EQ(Wake(&words[10], 1), 1);
    EXPECT_EQ(Wake(&words[10], INT_MAX), 2);
    EXPECT_EQ(Wake(&words[10], INT_MAX), 0);
    for (int i = 0; i < 3; i++) {
      pthread_join(threads[i], NULL);
      EXPECT_EQ(sleepers[i].result, 0);
    }
  }
}

TEST(requeued_sleepers_are_found_where_they_are) {
  static uint32_t from, to;
  Warm();
  for (int round = 0; round < 5; round++) {
    Sleeper sleepers[2];
    const pthread_t first = StartSleeper(&sleepers[0], &from);
    const pthread_t second = StartSleeper(&sleepers[1], &from);
    EXPECT_EQ(Futex(&from, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void*)(long)INT_MAX, &to, 0), 2);
    EXPECT_EQ(Wake(&from, INT_MAX), 0);
    EXPECT_EQ(Wake(&to, 1), 1);
    EXPECT_EQ(Wake(&to, INT_MAX), 1);
    EXPECT_EQ(Wake(&to, INT_MAX), 0);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
  }
}

TEST(one_who_gave_up_is_not_counted) {
  static uint32_t word;
  const struct timespec soon = {0, 1000000};
  Warm();
  for (int i = 0; i < 20; i++) {
    EXPECT_EQ(Futex(&word, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0), -ETIMEDOUT);
    EXPECT_EQ(Wake(&word, 1), 0);
  }
}

// --- errors, from a hot place ---

TEST(errors_of_a_hot_call) {
  static uint32_t words[2];
  Warm();
  char* const kernel = (char*)0x7ffffffff000 + 4096;
  void* const page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(page != MAP_FAILED);
  uint32_t* const odd = (uint32_t*)((char*)words + 1);
  for (int i = 0; i < 50; i++) {
    EXPECT_EQ(Wait(BAD_POINTER, 0), -EFAULT);
    EXPECT_EQ(Wait(page, 0), -EFAULT);
    EXPECT_EQ(Wait((uint32_t*)kernel, 0), -EFAULT);
    EXPECT_EQ(Wait((uint32_t*)(1ul << 62), 0), -EFAULT);
    EXPECT_EQ(Wait(odd, 1), -EINVAL);
    EXPECT_EQ(Wake(odd, 1), -EINVAL);
    EXPECT_EQ(Wake((uint32_t*)kernel, 1), -EFAULT);
    EXPECT_EQ(Wake((uint32_t*)~3ul, 1), -EFAULT);
    EXPECT_EQ(Wake(page, 1), 0);
    EXPECT_EQ(Futex(words, FUTEX_WAIT_BITSET_PRIVATE, 1, NULL, NULL, 0), -EINVAL);
    EXPECT_EQ(Futex(words, FUTEX_WAIT_BITSET_PRIVATE, 1, NULL, NULL, 1), -EAGAIN);
    EXPECT_EQ(Futex(words, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0), -EINVAL);
    EXPECT_EQ(Futex(words, FUTEX_WAIT_PRIVATE, 1, BAD_POINTER, NULL, 0), -EFAULT);
    EXPECT_EQ(Futex(words, 77, 1, NULL, NULL, 0), -ENOSYS);
  }
}

TEST(a_word_behind_the_end_of_its_file) {
  Warm();
  const int fd = OK(memfd_create("word", 0));
  OK(ftruncate(fd, 4096));
  uint32_t* const words = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT(words != MAP_FAILED);
  EXPECT_EQ(Wait(words, 1), -EAGAIN);
  EXPECT_EQ(Wait(words + 1024, 0), -EFAULT);
  OK(ftruncate(fd, 0));
  EXPECT_EQ(Wait(words, 0), -EFAULT);
}

// --- signals ---

static volatile int signals;
static void OnSignal(int signal) {
  (void)signal;
  signals++;
}

static void* KeepWaiting(void* argument) {
  Sleeper* sleeper = argument;
  sleeper->tid = (int)syscall(SYS_gettid);
  int interrupted = 0;
  while (interrupted < 20) {
    const long result = Wait(sleeper->at, 0);
    EXPECT_EQ(result, -EINTR);
    interrupted++;
  }
  sleeper->result = interrupted;
  return NULL;
}

TEST(a_signal_ends_a_wait) {
  static uint32_t word;
  struct sigaction action = {.sa_handler = OnSignal};
  OK(sigaction(SIGUSR1, &action, NULL));
  Warm();
  Sleeper sleeper = {&word, 0, -1};
  const pthread_t thread = StartThread(KeepWaiting, &sleeper);
  EVENTUALLY(sleeper.tid != 0);
  while (sleeper.result != 20) {
    const int before = signals;
    if (syscall(SYS_tgkill, getpid(), sleeper.tid, SIGUSR1) != 0) break;  // it has ended
    EVENTUALLY(signals != before || sleeper.result == 20);
    SleepMs(1);
  }
  pthread_join(thread, NULL);
  EXPECT_EQ(sleeper.result, 20);
}

// --- what libraries make of it ---

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int next_player, total;
enum { kPlayers = 4, kRounds = 1000 };

static void* Player(void* argument) {
  const int me = (int)(long)argument;
  for (int i = 0; i < kRounds; i++) {
    pthread_mutex_lock(&mutex);
    while (next_player != me) pthread_cond_wait(&turned, &mutex);
    next_player = (me + 1) % kPlayers;
    total++;
    pthread_cond_broadcast(&turned);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

TEST(conditions_lose_no_wake_up) {
  pthread_t players[kPlayers];
  for (long i = 0; i < kPlayers; i++) players[i] = StartThread(Player, (void*)i);
  for (int i = 0; i < kPlayers; i++) pthread_join(players[i], NULL);
  EXPECT_EQ(total, kPlayers * kRounds);
}
