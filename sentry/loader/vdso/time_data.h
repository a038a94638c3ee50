/* The time page as vdso.c (C, freestanding) and time_page.cc (C++) see it. All values are written
 * by the sentry under `seq` (odd while writing). Arch-independent. */
#ifndef RINGFENCE_SENTRY_LOADER_VDSO_TIME_DATA_H_
#define RINGFENCE_SENTRY_LOADER_VDSO_TIME_DATA_H_

#include <stdint.h>

/* A clock is base + ((counter - counter_base) * mult >> kVdsoShift), the product in 128 bits;
 * counter is the guest's (TSC). */
enum { kVdsoShift = 44 };

/* What a coarse clock is rounded down to: the resolution clock_getres(2) gives (250 Hz). */
enum { kVdsoTickNs = 4000000 };

struct VdsoTimeData {
  uint32_t seq;
  uint32_t unused;
  uint64_t counter_base;
  uint64_t max_delta;   /* beyond this many counts the page is too old: use the call */
  uint64_t mult;        /* of MONOTONIC and the clocks that follow it */
  uint64_t raw_mult;    /* of MONOTONIC_RAW */
  int64_t monotonic_ns; /* at counter_base */
  int64_t raw_ns;
  int64_t realtime_offset; /* REALTIME = MONOTONIC + this, and so on */
  int64_t boottime_offset;
  int64_t tai_offset;
};

#endif /* RINGFENCE_SENTRY_LOADER_VDSO_TIME_DATA_H_ */
