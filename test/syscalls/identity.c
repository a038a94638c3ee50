// getpid(2), gettid(2), getppid(2), getpgrp(2), get[e][ug]id(2), asked so often that a kernel which
// answers them in a way of its own, without being entered, does so here. What changes must be seen
// when the call that changes it has returned, also by a thread that does nothing but ask.
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/time.h>

#define CHECK_REENTRY
#include "check.h"

enum { kMany = 2000 };

// Asks by an instruction sequence of its own for each number; libc's syscall() is one for all.
#define ASK(number)                             \
  ({                                            \
    long result_;                               \
    __asm__ volatile("mov %1, %%eax; syscall"   \
                     : "=&a"(result_)           \
                     : "i"(number)              \
                     : "rcx", "r11", "memory"); \
    result_;                                    \
  })

#define ALWAYS(number, want)                                           \
  do {                                                                 \
    for (int i_ = 0; i_ < kMany; ++i_) EXPECT_EQ(ASK(number), want);   \
    for (int i_ = 0; i_ < 100; ++i_) EXPECT_EQ(syscall(number), want); \
  } while (0)

static int Load(const int* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void Store(int* p, int value) { __atomic_store_n(p, value, __ATOMIC_RELEASE); }

static void ExpectIds(pid_t pid, pid_t tid, pid_t parent, pid_t group) {
  ALWAYS(SYS_getpid, pid);
  ALWAYS(SYS_gettid, tid);
  ALWAYS(SYS_getppid, parent);
  ALWAYS(SYS_getpgrp, group);
}

// --- execve: `PROGRAM --as-ids PID PARENT GROUP EGID` ---

static int Reentry(int argc, char** argv) {
  if (argc != 6) return 1;
  const pid_t pid = atoi(argv[2]);
  ExpectIds(pid, pid, atoi(argv[3]), atoi(argv[4]));
  ALWAYS(SYS_getegid, atoi(argv[5]));
  return 0;
}

static void ExecIds(pid_t pid, pid_t parent, pid_t group, gid_t egid) {
  char text[4][16];
  const int values[] = {pid, parent, group, (int)egid};
  for (int i = 0; i < 4; ++i) snprintf(text[i], sizeof text[i], "%d", values[i]);
  execl(check_program, "x", "--as-ids", text[0], text[1], text[2], text[3], (char*)NULL);
  _exit(98);
}

TEST(execve_by_the_leader) {
  const pid_t parent = getpid(), group = getpgrp();
  const pid_t child = FORK();
  if (child == 0) {
    ExpectIds(getpid(), getpid(), parent, group);
    OK(setresgid(-1, 1234, -1));
    ALWAYS(SYS_getegid, 1234);
    ExecIds(getpid(), parent, group, 1234);
  }
  EXPECT_EXIT(child, 0);
}

static pid_t exec_parent, exec_group;
static void* ExecInThread(void* arg) {
  (void)arg;
  EXPECT(ASK(SYS_gettid) != getpid());
  ALWAYS(SYS_gettid, gettid());
  ExecIds(getpid(), exec_parent, exec_group, 0);
  return NULL;
}

TEST(execve_by_a_thread_takes_the_leaders_number) {
  exec_parent = getpid();
  exec_group = getpgrp();
  for (int round = 0; round < 10; ++round) {
    const pid_t child = FORK();
    if (child == 0) {
      pthread_t thread;
      EXPECT_EQ(pthread_create(&thread, NULL, ExecInThread, NULL), 0);
      for (;;) ALWAYS(SYS_gettid, getpid());
    }
    EXPECT_EXIT(child, 0);
  }
}

// --- new tasks ---

TEST(fork_and_vfork) {
  const pid_t self = getpid(), group = getpgrp();
  const pid_t above = getppid();
  ExpectIds(self, self, above, group);
  for (int round = 0; round < 20; ++round) {
    const pid_t child = FORK();
    if (child == 0) {
      const pid_t me = ASK(SYS_getpid);
      EXPECT(me != self);
      ExpectIds(me, me, self, group);
      _exit(me == getpid() ? 0 : 1);
    }
    ExpectIds(self, self, above, group);
    EXPECT_EXIT(child, 0);
  }
  for (volatile int round = 0; round < 20; ++round) {
    static volatile int good;
    good = 0;
    const pid_t child = vfork();
    EXPECT(child >= 0);
    if (child == 0) {
      const long me = ASK(SYS_getpid);
      int same = me != self;
      for (int i = 0; i < 100; ++i) same &= ASK(SYS_getpid) == me && ASK(SYS_getppid) == self;
      good = same;
      _exit(0);
    }
    EXPECT_EQ(ASK(SYS_getpid), self);
    EXPECT_EXIT(child, 0);
    EXPECT(good);
  }
}

static void* OwnTid(void* arg) {
  const pid_t pid = *(pid_t*)arg;
  const pid_t tid = ASK(SYS_gettid);
  EXPECT(tid != pid);
  for (int i = 0; i < kMany; ++i) {
    EXPECT_EQ(ASK(SYS_gettid), tid);
    EXPECT_EQ(ASK(SYS_getpid), pid);
  }
  return (void*)(long)tid;
}

TEST(threads_have_numbers_of_their_own) {
  pid_t self = getpid();
  for (int round = 0; round < 5; ++round) {
    pthread_t threads[24];
    long tids[24];
    for (int i = 0; i < 24; ++i) {
      EXPECT_EQ(pthread_create(&threads[i], NULL, OwnTid, &self), 0);
    }
    EXPECT_EQ(ASK(SYS_gettid), self);
    for (int i = 0; i < 24; ++i) {
      EXPECT_EQ(pthread_join(threads[i], (void**)&tids[i]), 0);
      for (int k = 0; k < i; ++k) EXPECT(tids[k] != tids[i]);
    }
  }
}

// --- credentials: each thread has its own, by the kernel's reckoning ---

static int threads_go, threads_stop;

static void* RootStays(void* arg) {
  (void)arg;
  while (!Load(&threads_stop)) {
    EXPECT_EQ(ASK(SYS_getuid), 0);
    EXPECT_EQ(ASK(SYS_geteuid), 0);
    EXPECT_EQ(ASK(SYS_getgid), 0);
    EXPECT_EQ(ASK(SYS_getegid), 0);
  }
  return NULL;
}

static void* ChangesItsOwn(void* arg) {
  const int base = 1000 + 1000 * (int)(long)arg;
  while (!Load(&threads_go)) sched_yield();
  for (int i = 0; i < 500; ++i) {
    const int id = base + i;
    OK(syscall(SYS_setresgid, -1, id, -1));
    EXPECT_EQ(ASK(SYS_getegid), id);
    OK(syscall(SYS_setresuid, -1, id, -1));
    EXPECT_EQ(ASK(SYS_geteuid), id);
    for (int k = 0; k < 20; ++k) {
      EXPECT_EQ(ASK(SYS_geteuid), id);
      EXPECT_EQ(ASK(SYS_getegid), id);
      EXPECT_EQ(ASK(SYS_getuid), 0);
      EXPECT_EQ(ASK(SYS_getgid), 0);
    }
    OK(syscall(SYS_setresuid, -1, 0, -1));
    EXPECT_EQ(ASK(SYS_geteuid), 0);
  }
  OK(syscall(SYS_setresuid, base, base + 1, 0));
  EXPECT_EQ(ASK(SYS_getuid), base);
  EXPECT_EQ(ASK(SYS_geteuid), base + 1);
  return NULL;
}

TEST(each_thread_has_its_own_credentials) {
  pthread_t root, threads[6];
  EXPECT_EQ(pthread_create(&root, NULL, RootStays, NULL), 0);
  for (long i = 0; i < 6; ++i) {
    EXPECT_EQ(pthread_create(&threads[i], NULL, ChangesItsOwn, (void*)i), 0);
  }
  Store(&threads_go, 1);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(pthread_join(threads[i], NULL), 0);
  Store(&threads_stop, 1);
  EXPECT_EQ(pthread_join(root, NULL), 0);
}

TEST(largest_ids) {
  OK(syscall(SYS_setresgid, 0xfffffffeu, 0x80000000u, -1));
  OK(syscall(SYS_setresuid, 0x80000001u, 0xfffffffeu, -1));
  ALWAYS(SYS_getgid, 0xfffffffel);
  ALWAYS(SYS_getegid, 0x80000000l);
  ALWAYS(SYS_getuid, 0x80000001l);
  ALWAYS(SYS_geteuid, 0xfffffffel);
}

// --- changes by others, while this task does nothing but ask ---

TEST(getppid_of_a_child_that_asks_all_the_time) {
  int* const waited = Shared(sizeof *waited);
  OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
  const pid_t self = getpid();
  for (int round = 0; round < 100; ++round) {
    *waited = 0;
    const pid_t middle = FORK();
    if (middle == 0) {
      const pid_t me = getpid();
      if (FORK() == 0) {
        // Once the parent has been waited for it is nobody's parent.
        int known;
        long parent;
        do {
          known = Load(waited);
          parent = ASK(SYS_getppid);
          // 0 is what Linux may say of a parent that is just being reaped.
          EXPECT(parent == me || parent == self || parent == 0);
          if (known) EXPECT_EQ(parent, self);
        } while (parent != self || !known);
        for (int i = 0; i < 100; ++i) EXPECT_EQ(ASK(SYS_getppid), self);
        _exit(0);
      }
      if (round % 2) SleepMs(2);
      _exit(0);
    }
    EXPECT_EXIT(middle, 0);
    Store(waited, 1);
    int status = 0;
    EXPECT(waitpid(-1, &status, 0) > 0);
    EXPECT_EQ(status, 0);
  }
}

TEST(getpgrp_of_a_child_that_is_moved) {
  int* const seq = Shared(2 * sizeof *seq);  // odd while the group changes
  int* const seen = seq + 1;
  const pid_t old_group = getpgrp();
  const pid_t child = FORK();
  if (child == 0) {
    const pid_t self = getpid();
    for (;;) {
      const int before = Load(seq);
      const long group = ASK(SYS_getpgrp);
      const int after = Load(seq);
      if (before == -1) break;
      if (before != after || before % 2 != 0) continue;
      EXPECT_EQ(group, before % 4 == 0 ? old_group : self);
      Store(seen, before);
    }
    _exit(0);
  }
  const int64_t end = NowMs() + 5000;
  for (int i = 0; i < 2000 && NowMs() < end; ++i) {
    Store(seq, 2 * i + 1);
    OK(setpgid(child, i % 2 == 0 ? child : old_group));
    Store(seq, 2 * i + 2);
    if (i % 16 == 0) {
      while (Load(seen) != 2 * i + 2 && waitpid(child, NULL, WNOHANG) == 0) {
      }
    }
  }
  Store(seq, -1);
  EXPECT_EXIT(child, 0);
}

static void* AsksForItsGroup(void* arg) {
  int* const state = arg;
  ALWAYS(SYS_getpgrp, getpgrp());
  Store(&state[0], 1);
  while (!Load(&state[1])) ASK(SYS_getpgrp);
  EXPECT_EQ(ASK(SYS_getpgrp), getpid());
  return NULL;
}

TEST(setsid_is_seen_by_all_threads) {
  for (int round = 0; round < 50; ++round) {
    const pid_t child = FORK();
    if (child == 0) {
      int state[2] = {0, 0};
      pthread_t thread;
      EXPECT_EQ(pthread_create(&thread, NULL, AsksForItsGroup, state), 0);
      while (!Load(&state[0])) sched_yield();
      EXPECT_EQ(setsid(), getpid());
      EXPECT_EQ(ASK(SYS_getpgrp), getpid());
      Store(&state[1], 1);
      EXPECT_EQ(pthread_join(thread, NULL), 0);
      EXPECT_EQ(getsid(0), getpid());
      _exit(0);
    }
    EXPECT_EXIT(child, 0);
  }
}

// --- the program is interrupted as ever ---

static volatile int alarms;
static void OnAlarm(int number) {
  (void)number;
  ++alarms;
}

TEST(signals_reach_who_only_asks) {
  struct sigaction action = {.sa_handler = OnAlarm};
  EXPECT_EQ(sigaction(SIGALRM, &action, NULL), 0);
  const pid_t self = getpid();
  const struct itimerval often = {{0, 2000}, {0, 2000}};
  EXPECT_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  while (alarms < 100) {
    EXPECT_EQ(ASK(SYS_getpid), self);
    EXPECT_EQ(ASK(SYS_gettid), self);
  }
}

TEST(stop_continue_and_kill_reach_who_only_asks) {
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) ASK(SYS_getpid);
  }
  SleepMs(20);
  for (int i = 0; i < 20; ++i) {
    int status = 0;
    OK(kill(child, SIGSTOP));
    EXPECT_EQ(waitpid(child, &status, WUNTRACED), child);
    EXPECT(WIFSTOPPED(status));
    OK(kill(child, SIGCONT));
    EXPECT_EQ(waitpid(child, &status, WCONTINUED), child);
  }
  OK(kill(child, SIGKILL));
  EXPECT_KILLED(child, SIGKILL);
}

static volatile long steps;
static void OnStep(int number) {
  (void)number;
  ++steps;
}

TEST(a_step_over_a_call_ends_behind_the_next_instruction) {
  const pid_t self = getpid();
  struct sigaction action = {.sa_handler = OnStep};
  EXPECT_EQ(sigaction(SIGTRAP, &action, NULL), 0);
  for (int i = 0; i < kMany; ++i) {
    long result = SYS_getpid;
    steps = 0;
    const int step = i % 100 == 99;
    __asm__ volatile(
        "test %1, %1; jz 1f; pushf; orl $0x100, (%%rsp); popf\n"
        "1: mov $39, %%eax; syscall\n"
        "pushf; andl $~0x100, (%%rsp); popf\n"
        : "=&a"(result)
        : "r"(step)
        : "rcx", "r11", "memory", "cc");
    EXPECT_EQ(result, self);
    // The load of the number, the call with the instruction behind it, two more.
    EXPECT_EQ(steps, step ? 4 : 0);
  }
}
