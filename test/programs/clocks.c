// Reads each clock many times through the C library, that is from the vDSO, and through the call:
// both must tell the same time, and none may go back.
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t Ns(const struct timespec* t) { return t->tv_sec * 1000000000ll + t->tv_nsec; }

static int64_t FromLibrary(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t) != 0) abort();
  return Ns(&t);
}

static int64_t FromCall(clockid_t clock) {
  struct timespec t;
  if (syscall(SYS_clock_gettime, clock, &t) != 0) abort();
  return Ns(&t);
}

int main(int argc, char** argv) {
  const long reads = argc > 1 ? atol(argv[1]) : 100000;
  static const struct {
    const char* name;
    clockid_t id;
  } kClocks[] = {{"realtime", CLOCK_REALTIME},
                 {"monotonic", CLOCK_MONOTONIC},
                 {"raw", CLOCK_MONOTONIC_RAW},
                 {"boottime", CLOCK_BOOTTIME},
                 {"tai", CLOCK_TAI},
                 {"realtime coarse", CLOCK_REALTIME_COARSE},
                 {"monotonic coarse", CLOCK_MONOTONIC_COARSE}};
  for (unsigned i = 0; i < sizeof kClocks / sizeof *kClocks; i++) {
    const clockid_t id = kClocks[i].id;
    int64_t last = 0;
    const char* verdict = "ok";
    for (long n = 0; n < reads; n++) {
      const int64_t now = FromLibrary(id);
      if (now < last) verdict = "went back";
      last = now;
    }
    for (int n = 0; n < 20; n++) {
      const int64_t before = FromLibrary(id), call = FromCall(id), after = FromLibrary(id);
      if (call < before || after < call) verdict = "call and vDSO disagree";
    }
    printf("%s: %s\n", kClocks[i].name, verdict);
  }
  struct timeval tv;
  gettimeofday(&tv, NULL);
  const time_t seconds = time(NULL);
  printf("gettimeofday, time: %s\n", seconds - tv.tv_sec <= 1 ? "ok" : "wrong");
  const long cpus = sysconf(_SC_NPROCESSORS_CONF);
  int wrong = 0;
  for (long n = 0; n < reads; n++) {
    const int cpu = sched_getcpu();
    wrong += cpu < 0 || cpu >= cpus;
  }
  printf("getcpu: %s\n", wrong == 0 ? "ok" : "wrong");
  return 0;
}
