// Two threads that wake each other in turn by futex(2).
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/micro/guest.h"

enum { kMine = 0, kTheirs = 1 };
static _Atomic uint32_t turn = kMine;
static int other_cpu;  // which CPU the other thread runs on; this one runs on the first

static void PassTo(uint32_t whose) {
  atomic_store(&turn, whose);
  syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void WaitFor(uint32_t whose) {
  while (atomic_load(&turn) != whose) {
    syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, whose ^ 1, NULL, NULL, 0);
  }
}

static void* Other(void* arg) {
  (void)arg;
  PinTo(other_cpu);
  for (;;) {
    WaitFor(kTheirs);
    PassTo(kMine);
  }
  return NULL;
}

static void Start(void) {
  pthread_t thread;
  PinTo(other_cpu);  // fails here rather than there
  PinTo(0);
  if (pthread_create(&thread, NULL, Other, NULL) != 0) Fail("pthread_create");
}

static void SetUpCross(void) {
  other_cpu = 1;
  Start();
}

static void SetUpSame(void) {
  other_cpu = 0;
  Start();
}

static void PingPong(long n) {
  for (long i = 0; i < n; i++) {
    PassTo(kTheirs);
    WaitFor(kMine);
  }
}

const struct Workload kFutexWorkloads[] = {
    {.name = "futex_two_cpus", .setup = SetUpCross, .loop = PingPong},
    {.name = "futex_one_cpu", .setup = SetUpSame, .loop = PingPong},
    {0},
};
