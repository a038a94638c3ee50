/* The time page as vdso.c (C, freestanding) and time_page.cc (C++) see it. All values are written
 * by the sentry under `seq` (odd while writing). Arch-independent. */
#ifndef RINGFENCE_SENTRY_LOADER_VDSO_TIME_DATA_H_
#define RINGFENCE_SENTRY_LOADER_VDSO_TIME_DATA_H_

#include <stdint.h>

/* ns = base_ns + ((tsc - tsc_base) * mult >> shift); tsc is the guest's counter. */
struct VdsoTimeData {
  uint32_t seq;
  uint32_t shift;
  uint64_t tsc_base;
  uint64_t mult;      /* of MONOTONIC and what follows it */
  uint64_t raw_mult;  /* of MONOTONIC_RAW */
  int64_t monotonic_ns;
  int64_t raw_ns;
  int64_t realtime_offset; /* REALTIME = MONOTONIC + this, and so on */
  int64_t boottime_offset;
  int64_t tai_offset;
  int64_t coarse_monotonic_ns;
  int64_t coarse_realtime_ns;
  uint64_t max_delta; /* beyond this many ticks the page is too old: use the call */
};

#endif /* RINGFENCE_SENTRY_LOADER_VDSO_TIME_DATA_H_ */
