// futex(2): wait, wake, bitsets, requeue, wake-op, robust lists, timeouts, shared and private.
#include <linux/futex.h>
#include <sched.h>

#include "check.h"

static long Futex(void* word, int op, uint32_t value, const void* timeout, void* word2,
                  uint32_t value3) {
  return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

static uint32_t word, word2;

static struct timespec Ms(int ms) { return (struct timespec){ms / 1000, ms % 1000 * 1000000L}; }

static struct timespec AbsoluteMs(clockid_t clock, int ms) {
  struct timespec t;
  clock_gettime(clock, &t);
  t.tv_nsec += ms * 1000000L;
  t.tv_sec += t.tv_nsec / 1000000000;
  t.tv_nsec %= 1000000000;
  return t;
}

typedef struct {
  void* word;
  int op;
  uint32_t value, bits;
  volatile int started, tid;
  volatile long result;
  char stack[16384] __attribute__((aligned(16)));
} Waiter;

static int RunWaiter(void* argument) {
  Waiter* w = argument;
  w->started = 1;
  const struct timespec limit = {20, 0};
  w->result = Futex(w->word, w->op, w->value, w->op == FUTEX_WAIT ? &limit : NULL, NULL, w->bits);
  syscall(SYS_exit, 0);
  return 0;
}

// Starts a thread that waits. It shares errno with us: the calls above do not look at it.
static void Start(Waiter* w, void* at, int op, uint32_t bits) {
  memset(w, 0, sizeof *w);
  w->word = at, w->op = op, w->bits = bits, w->tid = -1, w->result = -99;
  OK(clone(RunWaiter, w->stack + sizeof w->stack,
           CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_CHILD_CLEARTID,
           w, NULL, NULL, &w->tid));
  EVENTUALLY(w->started);
  SleepMs(20);
}

#define EXPECT_WOKEN(w)       \
  do {                        \
    EVENTUALLY((w).tid == 0); \
    EXPECT_EQ((w).result, 0); \
  } while (0)

static Waiter waiters[4];

TEST(wait_value_differs) {
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0), EAGAIN);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT_BITSET, 1, NULL, NULL, 1), EAGAIN);
}

TEST(errors) {
  EXPECT_ERRNO(Futex((void*)0x1000, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
  EXPECT_ERRNO(Futex((char*)&word + 1, FUTEX_WAIT, 0, NULL, NULL, 0), EINVAL);
  EXPECT_ERRNO(Futex((char*)&word + 2, FUTEX_WAKE, 0, NULL, NULL, 0), EINVAL);
  EXPECT_ERRNO(Futex(&word, 77, 0, NULL, NULL, 0), ENOSYS);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0), EINVAL);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0), EINVAL);
  const struct timespec bad = {0, 1000000000}, negative = {-1, 0};
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0), EINVAL);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT, 0, &negative, NULL, 0), EINVAL);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT, 0, BAD_POINTER, NULL, 0), EFAULT);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0), ENOSYS);
  EXPECT_EQ(Futex(BAD_POINTER, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
}

TEST(relative_timeout) {
  const struct timespec limit = Ms(40);
  const int64_t start = NowMs();
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0), ETIMEDOUT);
  EXPECT(NowMs() - start >= 40);
}

TEST(absolute_timeouts) {
  const int64_t start = NowMs();
  struct timespec limit = AbsoluteMs(CLOCK_MONOTONIC, 40);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT_BITSET, 0, &limit, NULL, ~0u), ETIMEDOUT);
  EXPECT(NowMs() - start >= 40);
  limit = AbsoluteMs(CLOCK_REALTIME, 40);
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &limit, NULL, ~0u),
               ETIMEDOUT);
  EXPECT(NowMs() - start >= 79);
}

TEST(wake_counts) {
  for (int i = 0; i < 3; i++) Start(&waiters[i], &word, FUTEX_WAIT, 0);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 2, NULL, NULL, 0), 2);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 100, NULL, NULL, 0), 1);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 100, NULL, NULL, 0), 0);
  for (int i = 0; i < 3; i++) EXPECT_WOKEN(waiters[i]);
}

TEST(wake_zero_wakes_one) {
  Start(&waiters[0], &word, FUTEX_WAIT, 0);
  Start(&waiters[1], &word, FUTEX_WAIT, 0);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 0, NULL, NULL, 0), 1);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 9, NULL, NULL, 0), 1);
}

TEST(private_and_shared_in_one_process) {
  Start(&waiters[0], &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, ~0u);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0), 1);
  EXPECT_WOKEN(waiters[0]);
}

TEST(bitset_selects) {
  Start(&waiters[0], &word, FUTEX_WAIT_BITSET, 1);
  Start(&waiters[1], &word, FUTEX_WAIT_BITSET, 2);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 4), 0);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 2), 1);
  EXPECT_WOKEN(waiters[1]);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 3), 1);
}

TEST(requeue) {
  for (int i = 0; i < 3; i++) Start(&waiters[i], &word, FUTEX_WAIT, 0);
  EXPECT_EQ(Futex(&word, FUTEX_REQUEUE, 1, (void*)1, &word2, 0), 2);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0), 1);
  EXPECT_EQ(Futex(&word2, FUTEX_WAKE, 10, NULL, NULL, 0), 1);
  for (int i = 0; i < 3; i++) EXPECT_WOKEN(waiters[i]);
}

TEST(cmp_requeue) {
  Start(&waiters[0], &word, FUTEX_WAIT, 0);
  EXPECT_ERRNO(Futex(&word, FUTEX_CMP_REQUEUE, 1, (void*)1, &word2, 5), EAGAIN);
  EXPECT_EQ(Futex(&word, FUTEX_CMP_REQUEUE, 0, (void*)10, &word2, 0), 1);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0), 0);
  EXPECT_EQ(Futex(&word2, FUTEX_WAKE, 10, NULL, NULL, 0), 1);
  EXPECT_ERRNO(Futex(&word, FUTEX_CMP_REQUEUE, -1, (void*)1, &word2, 0), EINVAL);
}

TEST(wake_op) {
  Start(&waiters[0], &word, FUTEX_WAIT, 0);
  word2 = 5;
  // word2 = word2 + 3; wakes on word, and on word2 if it was 4.
  const uint32_t op = FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 4);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_OP, 1, (void*)1, &word2, op), 1);
  EXPECT_EQ(word2, 8);
  EXPECT_WOKEN(waiters[0]);
  static const struct {
    int op, argument;
    uint32_t before, after;
  } cases[] = {{FUTEX_OP_SET, 7, 1, 7},
               {FUTEX_OP_OR, 6, 1, 7},
               {FUTEX_OP_ANDN, 1, 3, 2},
               {FUTEX_OP_XOR, 3, 1, 2},
               {FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 4, 1, 17}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    word2 = cases[i].before;
    Futex(&word, FUTEX_WAKE_OP, 1, (void*)1, &word2,
          FUTEX_OP((uint32_t)cases[i].op, cases[i].argument, FUTEX_OP_CMP_GT, 100));
    EXPECT_EQ(word2, cases[i].after);
  }
  EXPECT_ERRNO(Futex(&word, FUTEX_WAKE_OP, 1, (void*)1, BAD_POINTER, op), EFAULT);
}

static void OnSignal(int number) { (void)number; }

TEST(signal_interrupts_with_timeout) {
  struct sigaction action = {.sa_handler = OnSignal};
  sigaction(SIGALRM, &action, NULL);
  alarm(1);
  const struct timespec limit = {5, 0};
  EXPECT_ERRNO(Futex(&word, FUTEX_WAIT, 0, &limit, NULL, 0), EINTR);
}

TEST(signal_restarts_without_timeout) {
  uint32_t* shared = Shared(4096);
  struct sigaction action = {.sa_handler = OnSignal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  const pid_t self = getpid(), child = FORK();
  if (child == 0) {
    SleepMs(30);
    kill(self, SIGUSR1);
    SleepMs(30);
    _exit(Futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0) == 1 ? 0 : 1);
  }
  EXPECT_EQ(Futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0), 0);
  EXPECT_EXIT(child, 0);
}

TEST(shared_between_processes) {
  uint32_t* shared = Shared(8192);
  const pid_t child = FORK();
  if (child == 0) {
    const struct timespec limit = {10, 0};
    // The child maps it elsewhere: the page counts, not the address.
    uint32_t* moved =
        mremap(shared, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (char*)Shared(4096));
    EXPECT(moved != MAP_FAILED && moved != shared);
    EXPECT_EQ(Futex(moved, FUTEX_WAIT, 0, &limit, NULL, 0), 0);
    _exit(0);
  }
  EVENTUALLY(Futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
  EXPECT_EXIT(child, 0);
}

TEST(private_memory_is_not_shared_after_fork) {
  const pid_t child = FORK();
  if (child == 0) {
    const struct timespec limit = Ms(100);
    EXPECT_ERRNO(Futex(&word, FUTEX_WAIT, 0, &limit, NULL, 0), ETIMEDOUT);
    _exit(0);
  }
  SleepMs(40);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
  EXPECT_EXIT(child, 0);
}

static struct {
  struct robust_list_head head;
  struct robust_list lock;
  uint32_t word;
} robust;

static int DieWithLock(void* unused) {
  (void)unused;
  robust.head.list.next = &robust.lock;
  robust.lock.next = &robust.head.list;
  robust.head.futex_offset = (char*)&robust.word - (char*)&robust.lock;
  robust.word = syscall(SYS_gettid) | FUTEX_WAITERS;
  syscall(SYS_set_robust_list, &robust.head, sizeof robust.head);
  SleepMs(40);
  syscall(SYS_exit, 0);
  return 0;
}

TEST(robust_list_marks_owner_died) {
  static char stack[16384] __attribute__((aligned(16)));
  OK(clone(DieWithLock, stack + sizeof stack,
           CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, NULL));
  EVENTUALLY(__atomic_load_n(&robust.word, __ATOMIC_SEQ_CST) != 0);
  const uint32_t seen = robust.word;
  const struct timespec limit = {5, 0};
  EXPECT_EQ(Futex(&robust.word, FUTEX_WAIT, seen, &limit, NULL, 0), 0);
  EXPECT_EQ(robust.word, FUTEX_OWNER_DIED | FUTEX_WAITERS);
}

TEST(robust_list_calls) {
  struct robust_list_head head = {.list = {&head.list}}, *got = NULL;
  size_t size = 0;
  EXPECT_ERRNO(syscall(SYS_set_robust_list, &head, 5), EINVAL);
  EXPECT(syscall(SYS_set_robust_list, &head, sizeof head) == 0);
  EXPECT(syscall(SYS_get_robust_list, 0, &got, &size) == 0);
  EXPECT(got == &head && size == sizeof head);
  EXPECT_ERRNO(syscall(SYS_get_robust_list, 0, BAD_POINTER, &size), EFAULT);
  EXPECT_ERRNO(syscall(SYS_get_robust_list, 999999, &got, &size), ESRCH);
}

TEST(priority_inheritance_uncontended) {
  EXPECT_EQ(Futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
  EXPECT_EQ(word, syscall(SYS_gettid));
  EXPECT_ERRNO(Futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), EDEADLK);
  EXPECT_EQ(Futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
  EXPECT_EQ(word, 0);
  EXPECT_ERRNO(Futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), EPERM);
}

TEST(waitv_any) {
  struct futex_waitv list[2] = {{.uaddr = (uintptr_t)&word, .flags = FUTEX_32},
                                {.uaddr = (uintptr_t)&word2, .flags = FUTEX_32}};
  struct timespec limit = AbsoluteMs(CLOCK_MONOTONIC, 30);
  EXPECT_ERRNO(syscall(SYS_futex_waitv, list, 2, 0, &limit, CLOCK_MONOTONIC), ETIMEDOUT);
  list[1].val = 1;
  EXPECT_ERRNO(syscall(SYS_futex_waitv, list, 2, 0, &limit, CLOCK_MONOTONIC), EAGAIN);
  EXPECT_ERRNO(syscall(SYS_futex_waitv, list, 0, 0, NULL, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex_waitv, list, 129, 0, NULL, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex_waitv, BAD_POINTER, 2, 0, NULL, 0), EFAULT);
  EXPECT_ERRNO(syscall(SYS_futex_waitv, list, 2, 1, NULL, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_futex_waitv, list, 2, 0, &limit, 99), EINVAL);
  list[1].__reserved = 1;
  EXPECT_ERRNO(syscall(SYS_futex_waitv, list, 2, 0, NULL, 0), EINVAL);
}

TEST(waitv_is_woken) {
  uint32_t* shared = Shared(4096);
  struct futex_waitv list[3] = {{.uaddr = (uintptr_t)&word, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG},
                                {.uaddr = (uintptr_t)shared, .flags = FUTEX_32},
                                {.uaddr = (uintptr_t)&word2, .flags = FUTEX_32}};
  const pid_t child = FORK();
  if (child == 0) {
    EVENTUALLY(Futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
    _exit(0);
  }
  EXPECT_EQ(syscall(SYS_futex_waitv, list, 3, 0, NULL, 0), 1);
  EXPECT_EXIT(child, 0);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 0);  // nothing is left behind
}
