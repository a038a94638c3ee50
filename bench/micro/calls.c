// Calls that do nothing else, the clock, and no call at all.
#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "bench/micro/guest.h"

static long Raw0(long number) {
  long result;
#if defined(__x86_64__)
  asm volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
#else
  result = syscall(number);
#endif
  return result;
}

// SYS_getppid and SYS_getpid by number: nothing can be cached by libc. Only the kernel knows the
// parent of the moment, while a pid stays.
static void Getppid(long n) {
  for (long i = 0; i < n; i++) Raw0(SYS_getppid);
}

static void Getpid(long n) {
  for (long i = 0; i < n; i++) Raw0(SYS_getpid);
}

static void Cpu(long n) {
  uint64_t x = 1;
  for (long i = 0; i < n; i++) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    asm volatile("" : "+r"(x));
  }
}

static void ClockGettime(long n) {
  struct timespec t;
  for (long i = 0; i < n; i++) clock_gettime(CLOCK_MONOTONIC, &t);
}

static void Gettimeofday(long n) {
  struct timeval t;
  for (long i = 0; i < n; i++) gettimeofday(&t, NULL);
}

static void Time(long n) {
  for (long i = 0; i < n; i++) {
    time_t t = time(NULL);
    asm volatile("" : "+r"(t));
  }
}

static void Getcpu(long n) {
  unsigned cpu, node;
  for (long i = 0; i < n; i++) getcpu(&cpu, &node);
}

static void SchedYield(long n) {
  for (long i = 0; i < n; i++) sched_yield();
}

const struct Workload kCallWorkloads[] = {
    {.name = "getppid", .loop = Getppid},
    {.name = "getpid", .loop = Getpid},
    {.name = "cpu", .loop = Cpu},
    {.name = "clock_gettime", .loop = ClockGettime},
    {.name = "gettimeofday", .loop = Gettimeofday},
    {.name = "time", .loop = Time},
    {.name = "getcpu", .loop = Getcpu},
    {.name = "sched_yield", .loop = SchedYield},
    {0},
};
