#define _GNU_SOURCE
#include "bench/micro/samples.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/micro/guest.h"

// When the array is full every second sample goes, and of the coming ones as many are left out:
// what stays is spread evenly over the run.
enum { kCapacity = 1 << 16 };
static float samples[kCapacity];
static long used;
static long keep_one_of = 1;
static long seen;
static long operations;
static long ran;  // before the last ForgetSamples
static double total_ns;

static const double kQuantiles[] = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1};

void TouchSamples(void) { memset(samples, 1, sizeof samples); }

void Ran(long n) { ran += n; }

void ForgetSamples(void) {
  ran += operations;
  used = seen = operations = 0;
  keep_one_of = 1;
  total_ns = 0;
}

static void Halve(void) {
  for (long i = 0; i < kCapacity / 2; i++) samples[i] = samples[2 * i];
  used = kCapacity / 2;
  keep_one_of *= 2;
}

void Sample(double ns, long count) {
  total_ns += ns * (double)count;
  operations += count;
  if (seen++ % keep_one_of != 0) return;
  if (used == kCapacity) {
    Halve();
    if ((seen - 1) % keep_one_of != 0) return;
  }
  samples[used++] = (float)ns;
}

static int Compare(const void* a, const void* b) {
  const float x = *(const float*)a, y = *(const float*)b;
  return x < y ? -1 : x > y;
}

void PrintSamples(int by_mean) {
  if (used == 0) Unable("no operation was measured");
  qsort(samples, (size_t)used, sizeof *samples, Compare);
  const double mean = total_ns / (double)operations;
  printf("%.2f\n", by_mean ? mean : samples[used / 2]);
  printf("mean %.2f ran %ld operations %ld samples %ld", mean, ran + operations, operations, used);
  for (size_t i = 0; i < sizeof kQuantiles / sizeof *kQuantiles; i++) {
    printf(" %g:%.2f", kQuantiles[i], samples[(long)(kQuantiles[i] * (double)(used - 1))]);
  }
  printf("\n");
}

double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void Fail(const char* what) {
  fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
  exit(1);
}

void Unable(const char* why) {
  fprintf(stderr, "guest: %s\n", why);
  exit(1);
}

static char scratch[4096];
static pid_t scratch_owner;

static int RemoveOne(const char* path, const struct stat* s, int kind, struct FTW* ftw) {
  (void)s, (void)kind, (void)ftw;
  return remove(path);
}

static void RemoveScratch(void) {
  if (getpid() == scratch_owner) nftw(scratch, RemoveOne, 8, FTW_DEPTH | FTW_PHYS);
}

const char* ScratchDirectory(void) {
  if (scratch[0] != 0) return scratch;
  const char* const parent = arguments[0] != NULL ? arguments[0] : "/tmp";
  snprintf(scratch, sizeof scratch, "%s/guest-XXXXXX", parent);
  if (mkdtemp(scratch) == NULL) Fail(parent);
  scratch_owner = getpid();
  atexit(RemoveScratch);
  return scratch;
}

void PinTo(int n) {
  // What the program may use, before its first pin.
  static cpu_set_t allowed;
  static int known;
  if (!known && sched_getaffinity(0, sizeof allowed, &allowed) != 0) Fail("sched_getaffinity");
  known = 1;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed) || n-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) Fail("sched_setaffinity");
    return;
  }
  Unable("needs one CPU more than there are");
}
