// Structures of the Linux ABI as system calls exchange them, where the C library's are different
// or their pointers need a guest type. The sentry is built for the architecture of its guests, so
// the host's <sys/stat.h>, <sys/uio.h> and so on describe the guest's layouts as well.
#ifndef RINGFENCE_SENTRY_SYSCALLS_GUEST_ABI_H_
#define RINGFENCE_SENTRY_SYSCALLS_GUEST_ABI_H_

#include <cstdint>

#include "sentry/vfs/stat.h"

namespace ringfence::sentry {

struct GuestIovec {
  uint64_t base;
  uint64_t length;
};

struct GuestTimeval {
  int64_t sec;
  int64_t usec;
};
struct GuestItimerval {
  GuestTimeval interval;
  GuestTimeval value;
};
struct GuestItimerspec {
  Timespec interval;
  Timespec value;
};

// struct sigevent, as far as timer_create(2) looks at it.
struct GuestSigevent {
  uint64_t value;
  int32_t signo;
  int32_t notify;
  int32_t tid;
  int32_t pad[11];
};
static_assert(sizeof(GuestSigevent) == 64);

// The sixth argument of pselect6(2).
struct GuestSigsetArg {
  uint64_t set;
  uint64_t size;
};

struct GuestOpenHow {
  uint64_t flags;
  uint64_t mode;
  uint64_t resolve;
};

struct GuestCloneArgs {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
      set_tid_size, cgroup;
};

struct GuestRusage {
  GuestTimeval utime, stime;
  int64_t maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock, msgsnd, msgrcv,
      nsignals, nvcsw, nivcsw;
};

struct GuestCapHeader {
  uint32_t version;
  int32_t pid;
};
struct GuestCapData {
  uint32_t effective, permitted, inheritable;
};

struct GuestDirent64 {  // followed by the name and its NUL
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
} __attribute__((packed));
static_assert(sizeof(GuestDirent64) == 19);

struct GuestDirent {  // followed by the name, its NUL, padding and the type in the last byte
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
} __attribute__((packed));
static_assert(sizeof(GuestDirent) == 18);

struct GuestSchedAttr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t util_min, util_max;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_GUEST_ABI_H_
