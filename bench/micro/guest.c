// Guest side of the micro benchmarks.
//
//   guest NAME COUNT [ARGUMENT...]     so many operations
//   guest NAME MILLISms [ARGUMENT...]  as many as fit into the time
//   guest list                         the names
//   guest exit                         ends at once: what vfork_exec starts
//   guest idle                         prints a line and sleeps until it is killed
//
// Prints two lines: ns per operation, then the mean, how many operations and samples there were,
// and quantiles of the samples, as "mean 93.1 operations 5000 samples 5000 0.5:91.2 0.9:97.0 ...".
// A sample is one operation, or the mean of a batch of them where one is too short for the clock.
// The first line is the median of the samples; where first operations are what counts (touch, whose
// cost comes in lumps) it is the mean of all.
#include "bench/micro/guest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/micro/samples.h"

// A batch lasts so long that reading the clock once for it does not matter.
static const double kBatchNs = 4000;
static const double kWarmUpNs = 10e6;

const char* self_path;
char** arguments;

static const struct Workload* const kFamilies[] = {
    kCallWorkloads, kIpcWorkloads,    kFutexWorkloads,
    kFileWorkloads, kMemoryWorkloads, kProcessWorkloads,
};

static const struct Workload* Find(const char* name) {
  for (size_t f = 0; f < sizeof kFamilies / sizeof *kFamilies; f++) {
    for (const struct Workload* w = kFamilies[f]; w->name != NULL; w++) {
      if (strcmp(w->name, name) == 0) return w;
    }
  }
  return NULL;
}

static void List(void) {
  for (size_t f = 0; f < sizeof kFamilies / sizeof *kFamilies; f++) {
    for (const struct Workload* w = kFamilies[f]; w->name != NULL; w++) puts(w->name);
  }
}

// Warms up, and finds how many operations make a batch.
static long BatchSize(const struct Workload* w, long at_most) {
  const double start = Now();
  long done = 0;
  double took = 0;
  for (long n = 1; took < kWarmUpNs && done < at_most; n *= 2) {
    w->loop(n);
    done += n;
    took = Now() - start;
  }
  Ran(done);
  const double each = took / (double)done;
  return each >= kBatchNs ? 1 : (long)(kBatchNs / each) + 1;
}

static void RunLoop(const struct Workload* w, long count, double budget_ns) {
  const long warm_up = count / 10 + 1;
  const long batch = BatchSize(w, warm_up < 100000 ? warm_up : 100000);
  const double begin = Now();
  double last = begin;
  for (long done = 0; done < count && last - begin < budget_ns;) {
    const long n = count - done < batch ? count - done : batch;
    w->loop(n);
    const double now = Now();
    Sample((now - last) / (double)n, n);
    last = now;
    done += n;
  }
}

static void RunTimed(const struct Workload* w, long count, double budget_ns) {
  if (w->once) {
    w->timed(count == LONG_MAX ? 0 : count);
    return;
  }
  w->timed(1);
  ForgetSamples();
  const double begin = Now();
  for (long done = 0; done < count && Now() - begin < budget_ns; done++) w->timed(1);
}

// "5000", or "80ms": false if neither.
static int ParseCount(const char* text, long* count, double* budget_ns) {
  char* end = NULL;
  const long value = strtol(text, &end, 10);
  if (value <= 0 || end == text) return 0;
  if (*end == 0) {
    *count = value;
    *budget_ns = 1e18;
    return 1;
  }
  *count = LONG_MAX;
  *budget_ns = (double)value * 1e6;
  return strcmp(end, "ms") == 0;
}

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "exit") == 0) return 0;
  if (argc == 2 && strcmp(argv[1], "idle") == 0) {
    puts("idle");
    fflush(stdout);
    for (;;) pause();
  }
  if (argc == 2 && strcmp(argv[1], "list") == 0) {
    List();
    return 0;
  }
  long count = 0;
  double budget_ns = 0;
  if (argc < 3 || !ParseCount(argv[2], &count, &budget_ns)) {
    fprintf(stderr, "usage: guest NAME COUNT|MILLISms [ARGUMENT...] | list | exit | idle\n");
    return 2;
  }
  const struct Workload* const w = Find(argv[1]);
  if (w == NULL) {
    fprintf(stderr, "guest: no workload %s\n", argv[1]);
    return 2;
  }
  self_path = argv[0];
  arguments = argv + 3;
  TouchSamples();
  if (w->setup != NULL) w->setup();
  if (w->loop != NULL) {
    RunLoop(w, count, budget_ns);
  } else {
    RunTimed(w, count, budget_ns);
  }
  PrintSamples(w->once);
  return 0;
}
