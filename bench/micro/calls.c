// Calls that do nothing else, the clock, and no call at all.
#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "bench/micro/guest.h"

static long Raw1(long number, long argument) {
  long result;
#if defined(__x86_64__)
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(argument) : "rcx", "r11", "memory");
#else
  result = syscall(number, argument);
#endif
  return result;
}

// By number: nothing can be cached by libc. What a program is told about others the kernel has to
// be asked for each time; its own number stays, and a kernel may have left it where the program is.
static void Getpgid(long n) {
  for (long i = 0; i < n; i++) Raw1(SYS_getpgid, 0);
}

static void Getppid(long n) {
  for (long i = 0; i < n; i++) Raw1(SYS_getppid, 0);
}

static void Getpid(long n) {
  for (long i = 0; i < n; i++) Raw1(SYS_getpid, 0);
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
    {.name = "getpgid", .loop = Getpgid},
    {.name = "getpid", .loop = Getpid},
    {.name = "getppid", .loop = Getppid},
    {.name = "cpu", .loop = Cpu},
    {.name = "clock_gettime", .loop = ClockGettime},
    {.name = "gettimeofday", .loop = Gettimeofday},
    {.name = "time", .loop = Time},
    {.name = "getcpu", .loop = Getcpu},
    {.name = "sched_yield", .loop = SchedYield},
    {0},
};
