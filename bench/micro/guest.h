// What the families of the guest program share: how a workload is described, timed and failed.
//
// The program is plain C for Linux, linked statically: the same file runs natively and in every
// sandbox. One thread measures; times are ns of CLOCK_MONOTONIC as the guest sees it.
#ifndef RINGFENCE_BENCH_MICRO_GUEST_H_
#define RINGFENCE_BENCH_MICRO_GUEST_H_

#include <stddef.h>
#include <stdint.h>

struct Workload {
  const char* name;
  void (*setup)(void);  // before the first operation, not timed; or NULL
  // Exactly one of these. Both do `n` operations. Those of `loop` are timed from outside, in
  // batches that last long enough for the clock; `timed` calls Sample for each operation itself,
  // and what it does between them is not counted.
  void (*loop)(long n);
  void (*timed)(long n);
  // The first operations are what counts: no warm-up, `timed` is called once, with the count (0 if
  // a time was given), and the mean is what is reported.
  int once;
};

// One table per family, ended by an entry without a name.
extern const struct Workload kCallWorkloads[];
extern const struct Workload kIpcWorkloads[];
extern const struct Workload kFutexWorkloads[];
extern const struct Workload kFileWorkloads[];
extern const struct Workload kMemoryWorkloads[];
extern const struct Workload kProcessWorkloads[];

// The program itself, as the operating system finds it.
extern const char* self_path;
// What follows the count on the command line, ended by NULL.
extern char** arguments;

double Now(void);

// An operation (or the mean of `operations` of them) took so many ns each.
void Sample(double ns, long operations);

// "guest: WHAT: strerror(errno)" on standard error; status 1. The harness shows that line.
_Noreturn void Fail(const char* what);
// The same for what this machine cannot do; no errno.
_Noreturn void Unable(const char* why);

// A private directory below the first argument, or /tmp; removed at the end with what is in it.
const char* ScratchDirectory(void);

// Pins the calling thread to the n-th CPU that the program may use; Unable if there are fewer.
void PinTo(int n);

#endif  // RINGFENCE_BENCH_MICRO_GUEST_H_
