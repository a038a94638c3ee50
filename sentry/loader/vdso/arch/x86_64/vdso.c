/* The vDSO of x86-64 (vdso(7)): freestanding C that runs in ring 3 of the guest.
 *
 * Reads the time page that lies just before the image (vdso.lds). Whatever it cannot answer from
 * there goes to the kernel by SYSCALL. */
#include <stddef.h>
#include <stdint.h>

#include "sentry/loader/vdso/time_data.h"

extern const volatile struct VdsoTimeData vvar_data __attribute__((visibility("hidden")));

enum {
  kSysGettimeofday = 96,
  kSysTime = 201,
  kSysClockGettime = 228,
  kSysClockGetres = 229,
  kSysGetcpu = 309
};
enum {
  kRealtime = 0,
  kMonotonic = 1,
  kMonotonicRaw = 4,
  kRealtimeCoarse = 5,
  kMonotonicCoarse = 6,
  kBoottime = 7,
  kTai = 11
};
enum { kMaxTries = 1000, kNsPerSecond = 1000000000 };

struct Timespec {
  int64_t sec, nsec;
};
struct Timeval {
  int64_t sec, usec;
};

static long Syscall(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return result;
}

static uint64_t Counter(void) {
  uint32_t low, high;
  __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

/* Nanoseconds of `clock` in *ns; 0 when the page cannot say. */
static int Now(long clock, int64_t* ns) {
  const volatile struct VdsoTimeData* data = &vvar_data;
  for (int tries = 0; tries < kMaxTries; ++tries) {
    const uint32_t seq = __atomic_load_n(&data->seq, __ATOMIC_ACQUIRE);
    if (seq & 1) {
      __asm__ volatile("pause");
      continue;
    }
    const uint64_t delta = Counter() - data->counter_base;
    const int raw = clock == kMonotonicRaw;
    const uint64_t mult = raw ? data->raw_mult : data->mult;
    int64_t base = raw ? data->raw_ns : data->monotonic_ns;
    int64_t offset = 0;
    if (clock == kRealtime || clock == kRealtimeCoarse) offset = data->realtime_offset;
    if (clock == kBoottime) offset = data->boottime_offset;
    if (clock == kTai) offset = data->tai_offset;
    const uint64_t max_delta = data->max_delta;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (data->seq != seq) continue;
    /* A counter a little behind the page (another CPU's) wraps: also too far. */
    if (delta > max_delta) return 0;
    base += (int64_t)((unsigned __int128)delta * mult >> kVdsoShift);
    if (clock == kRealtimeCoarse || clock == kMonotonicCoarse) base -= base % kVdsoTickNs;
    *ns = base + offset;
    return 1;
  }
  return 0;
}

static int IsOurs(long clock) {
  return clock == kRealtime || clock == kMonotonic || clock == kMonotonicRaw ||
         clock == kRealtimeCoarse || clock == kMonotonicCoarse || clock == kBoottime ||
         clock == kTai;
}

int __vdso_clock_gettime(int clock, struct Timespec* ts) {
  int64_t ns;
  if (!IsOurs(clock) || !Now(clock, &ns)) {
    return (int)Syscall(kSysClockGettime, clock, (long)ts, 0);
  }
  ts->sec = ns / kNsPerSecond;
  ts->nsec = ns % kNsPerSecond;
  return 0;
}

int __vdso_gettimeofday(struct Timeval* tv, void* tz) {
  int64_t ns;
  if (tz != NULL || !Now(kRealtime, &ns)) {
    return (int)Syscall(kSysGettimeofday, (long)tv, (long)tz, 0);
  }
  if (tv != NULL) {
    tv->sec = ns / kNsPerSecond;
    tv->usec = ns % kNsPerSecond / 1000;
  }
  return 0;
}

int64_t __vdso_time(int64_t* where) {
  int64_t ns;
  if (!Now(kRealtime, &ns)) return Syscall(kSysTime, (long)where, 0, 0);
  const int64_t seconds = ns / kNsPerSecond;
  if (where != NULL) *where = seconds;
  return seconds;
}

int __vdso_clock_getres(int clock, struct Timespec* ts) {
  if (!IsOurs(clock)) return (int)Syscall(kSysClockGetres, clock, (long)ts, 0);
  if (ts != NULL) {
    ts->sec = 0;
    ts->nsec = clock == kRealtimeCoarse || clock == kMonotonicCoarse ? kVdsoTickNs : 1;
  }
  return 0;
}

/* The sandbox numbers its CPUs itself (sentry/kernel/cpu_numbers.h). */
int __vdso_getcpu(uint32_t* cpu, uint32_t* node, void* unused) {
  (void)unused;
  return (int)Syscall(kSysGetcpu, (long)cpu, (long)node, 0);
}

int clock_gettime(int, struct Timespec*) __attribute__((weak, alias("__vdso_clock_gettime")));
int gettimeofday(struct Timeval*, void*) __attribute__((weak, alias("__vdso_gettimeofday")));
int64_t time(int64_t*) __attribute__((weak, alias("__vdso_time")));
int clock_getres(int, struct Timespec*) __attribute__((weak, alias("__vdso_clock_getres")));
int getcpu(uint32_t*, uint32_t*, void*) __attribute__((weak, alias("__vdso_getcpu")));
