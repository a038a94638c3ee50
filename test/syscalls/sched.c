// Priorities of threads, groups and users, of I/O, and scheduling policies: sched(7),
// setpriority(2), ioprio_set(2).
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "check.h"

enum { kWhoProcess = 1, kWhoGroup, kWhoUser };
enum { kRealTime = 1 << 13, kBestEffort = 2 << 13, kIdle = 3 << 13 };

typedef struct {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t util_min, util_max;
} Attr;

// 20 - nice, as the system call has it.
static long Nice(int which, int who) { return syscall(SYS_getpriority, which, who); }
static long IoGet(int which, int who) { return syscall(SYS_ioprio_get, which, who); }
static long IoSet(int which, int who, int value) {
  return syscall(SYS_ioprio_set, which, who, value);
}

static void* NiceThread(void* result) {
  const long before = Nice(PRIO_PROCESS, 0);
  EXPECT(setpriority(PRIO_PROCESS, 0, 15) == 0);
  *(long*)result = before;
  EXPECT_EQ(Nice(PRIO_PROCESS, 0), 5);
  return NULL;
}

TEST(nice_is_of_a_thread) {
  pthread_t thread;
  long before = 0;
  EXPECT(setpriority(PRIO_PROCESS, 0, 3) == 0);
  EXPECT(pthread_create(&thread, NULL, NiceThread, &before) == 0);
  EXPECT(pthread_join(thread, NULL) == 0);
  EXPECT_EQ(before, 17);  // inherited
  EXPECT_EQ(Nice(PRIO_PROCESS, 0), 17);
}

TEST(nice_of_a_group) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT(setpriority(PRIO_PROCESS, 0, 4) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    char c;
    close(ends[1]);
    EXPECT(setpriority(PRIO_PROCESS, 0, 9) == 0);
    EXPECT_EQ(read(ends[0], &c, 1), 0);
    EXPECT_EQ(Nice(PRIO_PROCESS, 0), 8);  // the group was set to 12
    _exit(0);
  }
  EVENTUALLY(Nice(PRIO_PROCESS, child) == 11);
  EXPECT_EQ(Nice(PRIO_PGRP, 0), 16);  // the best of them
  EXPECT_EQ(Nice(PRIO_PGRP, getpgrp()), 16);
  EXPECT(setpriority(PRIO_PGRP, getpgrp(), 12) == 0);
  EXPECT_EQ(Nice(PRIO_PROCESS, child), 8);
  EXPECT_EQ(Nice(PRIO_PROCESS, 0), 8);
  close(ends[1]);
  EXPECT_EXIT(child, 0);
  EXPECT_ERRNO(Nice(PRIO_PGRP, 999999), ESRCH);
  EXPECT_ERRNO(setpriority(PRIO_PGRP, 999999, 1), ESRCH);
}

TEST(nice_of_a_user) {
  IN_CHILD({
    EXPECT(setresuid(4321, 4321, 0) == 0);
    EXPECT(setpriority(PRIO_USER, 0, 7) == 0);
    EXPECT_EQ(Nice(PRIO_USER, 4321), 13);
    EXPECT_ERRNO(Nice(PRIO_USER, 4322), ESRCH);
  });
  EXPECT_EQ(Nice(PRIO_PROCESS, 0), 20);
  EXPECT_ERRNO(setpriority(3, 0, 1), EINVAL);
  EXPECT_ERRNO(setpriority(-1, 0, 1), EINVAL);
  EXPECT_ERRNO(Nice(PRIO_PROCESS, -5), ESRCH);
}

TEST(affinity_of_a_negative_number) {
  cpu_set_t all;
  OK(sched_getaffinity(0, sizeof all, &all));
  EXPECT_ERRNO(sched_getaffinity(-1, sizeof all, &all), ESRCH);
  EXPECT_ERRNO(sched_setaffinity(-1, sizeof all, &all), ESRCH);
}

TEST(what_other_users_may_not) {
  const pid_t parent = getpid();
  IN_CHILD({
    cpu_set_t all;
    const struct sched_param param = {0};
    EXPECT(sched_getaffinity(0, sizeof all, &all) == 0);
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_ERRNO(setpriority(PRIO_PROCESS, parent, 5), EPERM);
    EXPECT_ERRNO(IoSet(kWhoProcess, parent, kBestEffort | 5), EPERM);
    EXPECT_ERRNO(sched_setscheduler(parent, SCHED_BATCH, &param), EPERM);
    EXPECT_ERRNO(sched_setaffinity(parent, sizeof all, &all), EPERM);
    EXPECT_EQ(Nice(PRIO_PROCESS, parent), 20);
    EXPECT(setpriority(PRIO_PROCESS, 0, 5) == 0);
    EXPECT_ERRNO(setpriority(PRIO_PROCESS, 0, 4), EACCES);
    EXPECT_ERRNO(IoSet(kWhoProcess, 0, kRealTime | 1), EPERM);
    EXPECT(sched_setscheduler(0, SCHED_BATCH, &param) == 0);
  });
}

TEST(io_priority) {
  EXPECT(IoSet(kWhoProcess, 0, kBestEffort | 6) == 0);
  EXPECT_EQ(IoGet(kWhoProcess, 0), kBestEffort | 6);
  EXPECT_EQ(IoGet(kWhoProcess, getpid()), kBestEffort | 6);
  IN_CHILD(EXPECT_EQ(IoGet(kWhoProcess, 0), kBestEffort | 6));
  EXPECT(IoSet(kWhoProcess, 0, kIdle) == 0);
  EXPECT_EQ(IoGet(kWhoProcess, 0), kIdle);
  EXPECT(IoSet(kWhoProcess, 0, 0) == 0);
  EXPECT_ERRNO(IoSet(kWhoProcess, 0, 4), EINVAL);  // a level without a class
  EXPECT_ERRNO(IoSet(kWhoProcess, 0, 4 << 13), EINVAL);
  EXPECT_ERRNO(IoSet(kWhoProcess, 999999, kIdle), ESRCH);
  EXPECT_ERRNO(IoSet(0, 0, kIdle), EINVAL);
  EXPECT_ERRNO(IoGet(4, 0), EINVAL);
  EXPECT_ERRNO(IoGet(kWhoProcess, 999999), ESRCH);
}

TEST(io_priority_of_groups_and_users) {
  EXPECT(setpriority(PRIO_PROCESS, 0, 10) == 0);
  EXPECT_EQ(IoGet(kWhoGroup, 0), kBestEffort | 6);  // by nice
  EXPECT(IoSet(kWhoGroup, 0, kIdle | 2) == 0);
  EXPECT_EQ(IoGet(kWhoProcess, 0), kIdle | 2);
  EXPECT_EQ(IoGet(kWhoGroup, getpgrp()), kIdle | 2);
  EXPECT_ERRNO(IoGet(kWhoGroup, 999999), ESRCH);
  IN_CHILD({
    EXPECT(setresuid(4321, 4321, 4321) == 0);
    EXPECT_ERRNO(IoSet(kWhoUser, 0, kBestEffort | 1), EPERM);  // that is root
    EXPECT(IoSet(kWhoUser, 4321, kBestEffort | 1) == 0);
    EXPECT_EQ(IoGet(kWhoUser, 4321), kBestEffort | 1);
    EXPECT_ERRNO(IoGet(kWhoUser, 4322), ESRCH);
  });
}

TEST(setparam) {
  struct sched_param param = {0};
  EXPECT(sched_setparam(0, &param) == 0);
  EXPECT(sched_setparam(getpid(), &param) == 0);
  param.sched_priority = 1;
  EXPECT_ERRNO(sched_setparam(0, &param), EINVAL);  // of SCHED_OTHER
  EXPECT_ERRNO(syscall(SYS_sched_setparam, 0, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_setparam, 0, BAD_POINTER), EFAULT);
  param.sched_priority = 0;
  EXPECT_ERRNO(sched_setparam(-1, &param), EINVAL);
  EXPECT_ERRNO(sched_setparam(999999, &param), ESRCH);
}

TEST(attributes) {
  Attr attr = {.size = sizeof attr, .policy = SCHED_BATCH, .nice = 7};
  EXPECT(syscall(SYS_sched_setattr, 0, &attr, 0) == 0);
  EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  EXPECT_EQ(Nice(PRIO_PROCESS, 0), 13);
  Attr got;
  memset(&got, 0xff, sizeof got);
  EXPECT(syscall(SYS_sched_getattr, 0, &got, 48, 0) == 0);
  EXPECT_EQ(got.size, 48);
  EXPECT_EQ(got.policy, SCHED_BATCH);
  EXPECT_EQ(got.nice, 7);
  EXPECT_EQ(got.priority, 0);
  EXPECT_EQ(got.flags, 0);
  EXPECT_EQ(got.util_min, 0xffffffff);  // beyond what was asked for
  attr.flags = 8 | 0x10;                // keeps policy and parameters
  attr.policy = 77;
  attr.nice = 1;
  EXPECT(syscall(SYS_sched_setattr, getpid(), &attr, 0) == 0);
  EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  EXPECT_EQ(Nice(PRIO_PROCESS, 0), 13);
}

TEST(attribute_errors) {
  Attr attr = {.size = sizeof attr, .policy = 77};
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 0, &attr, 0), EINVAL);
  attr.policy = SCHED_OTHER;
  attr.priority = 1;
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 0, &attr, 0), EINVAL);
  attr.priority = 0;
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 0, &attr, 1), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 0, NULL, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 0, BAD_POINTER, 0), EFAULT);
  EXPECT_ERRNO(syscall(SYS_sched_setattr, -1, &attr, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 999999, &attr, 0), ESRCH);
  attr.flags = 0x100;
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 0, &attr, 0), EINVAL);
  attr.flags = 0;
  attr.size = 20;
  EXPECT_ERRNO(syscall(SYS_sched_setattr, 0, &attr, 0), E2BIG);
  EXPECT(attr.size >= 48);  // says what it knows
  EXPECT_ERRNO(syscall(SYS_sched_getattr, 0, &attr, 47, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_getattr, 0, &attr, 48, 1), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_getattr, 0, NULL, 48, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_getattr, 999999, &attr, 48, 0), ESRCH);
}

TEST(reset_on_fork) {
  const struct sched_param param = {0};
  EXPECT(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param) == 0);
  EXPECT(setpriority(PRIO_PROCESS, 0, 6) == 0);
  EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH | SCHED_RESET_ON_FORK);
  Attr attr = {.size = sizeof attr};
  EXPECT(syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0);
  EXPECT_EQ(attr.flags, 1);
  IN_CHILD({
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
    EXPECT_EQ(Nice(PRIO_PROCESS, 0), 14);
  });
}
