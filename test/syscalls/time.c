// Clocks and timers: clock_gettime(2) by the vDSO and by the call, nanosleep(2), setitimer(2),
// timer_create(2), timerfd_create(2), alarm(2), times(2).
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>

#include "check.h"

static int64_t Ns(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }

static int64_t ByCall(clockid_t clock) {
  struct timespec t;
  EXPECT(syscall(SYS_clock_gettime, clock, &t) == 0);
  return Ns(t);
}

// By the C library, which uses the vDSO.
static int64_t ByVdso(clockid_t clock) {
  struct timespec t;
  EXPECT(clock_gettime(clock, &t) == 0);
  return Ns(t);
}

static volatile int calls;
static volatile siginfo_t last_info;

static void OnSignal(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  last_info = *info;
  calls++;
}

static void Install(int number) {
  struct sigaction action = {.sa_sigaction = OnSignal, .sa_flags = SA_SIGINFO};
  EXPECT(sigaction(number, &action, NULL) == 0);
}

TEST(vdso_agrees_with_call) {
  static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
                                     CLOCK_MONOTONIC_RAW};
  for (size_t i = 0; i < 4; i++) {
    for (int round = 0; round < 200; round++) {
      const int64_t a = ByCall(clocks[i]), b = ByVdso(clocks[i]), c = ByCall(clocks[i]);
      if (b < a || c < b) Fail(__FILE__, __LINE__, "clock %d: %ld %ld %ld", clocks[i], a, b, c);
    }
  }
}

TEST(monotonic_never_goes_back) {
  int64_t last = 0;
  for (int i = 0; i < 100000; i++) {
    const int64_t now = ByVdso(CLOCK_MONOTONIC);
    if (now < last) Fail(__FILE__, __LINE__, "%ld after %ld", now, last);
    last = now;
  }
}

TEST(monotonic_across_processes) {
  int64_t* turn = Shared(sizeof *turn);
  const pid_t child = FORK();
  for (int i = 0; i < 300; i++) {
    while (__atomic_load_n(turn, __ATOMIC_SEQ_CST) % 2 != (child == 0)) sched_yield();
    static int64_t* last;
    if (last == NULL) last = turn + 1;
    const int64_t now = ByVdso(CLOCK_MONOTONIC);
    if (now < *last) Fail(__FILE__, __LINE__, "%ld after %ld", now, *last);
    *last = now;
    __atomic_add_fetch(turn, 1, __ATOMIC_SEQ_CST);
  }
  if (child == 0) _exit(0);
  EXPECT_EXIT(child, 0);
}

TEST(vdso_is_there) {
  const char* vdso = (const char*)getauxval(AT_SYSINFO_EHDR);
  EXPECT(vdso != NULL && memcmp(vdso, "\177ELF", 4) == 0);
}

TEST(coarse_clocks) {
  for (int i = 0; i < 100; i++) {
    const int64_t coarse = ByVdso(CLOCK_MONOTONIC_COARSE), fine = ByVdso(CLOCK_MONOTONIC);
    EXPECT(coarse <= fine && fine - coarse < 50000000);
  }
  EXPECT(ByCall(CLOCK_REALTIME) - ByCall(CLOCK_REALTIME_COARSE) < 50000000);
}

TEST(realtime_calls_agree) {
  struct timeval tv;
  EXPECT(gettimeofday(&tv, NULL) == 0);
  const int64_t now = ByCall(CLOCK_REALTIME) / 1000;
  EXPECT(now - (tv.tv_sec * 1000000LL + tv.tv_usec) < 1000000);
  EXPECT(syscall(SYS_gettimeofday, &tv, NULL) == 0);
  EXPECT(time(NULL) - tv.tv_sec <= 1);
  time_t t = 0;
  EXPECT_EQ(syscall(SYS_time, &t), t);
}

TEST(cpu_clocks_count_work) {
  const int64_t process = ByCall(CLOCK_PROCESS_CPUTIME_ID),
                thread = ByCall(CLOCK_THREAD_CPUTIME_ID);
  const int64_t end = NowMs() + 60;
  while (NowMs() < end) {
  }
  EXPECT(ByCall(CLOCK_PROCESS_CPUTIME_ID) - process > 15000000);
  EXPECT(ByCall(CLOCK_THREAD_CPUTIME_ID) - thread > 15000000);
  const int64_t before = ByCall(CLOCK_THREAD_CPUTIME_ID);
  SleepMs(60);
  EXPECT(ByCall(CLOCK_THREAD_CPUTIME_ID) - before < 40000000);
}

TEST(clock_errors) {
  struct timespec t;
  EXPECT_ERRNO(syscall(SYS_clock_gettime, 99, &t), EINVAL);
  EXPECT_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_clock_getres, 99, &t), EINVAL);
  EXPECT(clock_getres(CLOCK_MONOTONIC, &t) == 0);
  EXPECT_EQ(t.tv_nsec, 1);
  EXPECT(syscall(SYS_clock_getres, CLOCK_MONOTONIC, NULL) == 0);
  EXPECT(clock_getres(CLOCK_MONOTONIC_COARSE, &t) == 0);
  EXPECT(t.tv_nsec >= 1000000);
  EXPECT_ERRNO(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &t), EINVAL);
  EXPECT_ERRNO(syscall(SYS_gettimeofday, BAD_POINTER, NULL), EFAULT);
}

TEST(nanosleep) {
  struct timespec bad = {0, 1000000000}, negative = {-1, 0}, some = {0, 30000000}, zero = {0, 0};
  EXPECT_ERRNO(nanosleep(&bad, NULL), EINVAL);
  EXPECT_ERRNO(nanosleep(&negative, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_nanosleep, BAD_POINTER, NULL), EFAULT);
  const int64_t start = ByCall(CLOCK_MONOTONIC);
  EXPECT(nanosleep(&some, NULL) == 0);
  EXPECT(ByCall(CLOCK_MONOTONIC) - start >= 30000000);
  EXPECT(nanosleep(&zero, NULL) == 0);
}

TEST(clock_nanosleep_absolute) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  const int64_t want = Ns(t) + 30000000;
  t.tv_sec = want / 1000000000, t.tv_nsec = want % 1000000000;
  EXPECT(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == 0);
  EXPECT(ByCall(CLOCK_MONOTONIC) >= want);
  t.tv_sec = 1;  // long ago
  EXPECT(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL) == 0);
  EXPECT_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EOPNOTSUPP);
  EXPECT_ERRNO(syscall(SYS_clock_nanosleep, 99, 0, &t, NULL), EINVAL);
}

TEST(clock_nanosleep_interrupted) {
  Install(SIGALRM);
  struct itimerval soon = {{0, 0}, {0, 30000}};
  EXPECT(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  struct timespec sleep = {5, 0}, left = {77, 0};
  EXPECT_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &sleep, &left), EINTR);
  EXPECT(left.tv_sec == 4);
  EXPECT(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += 5;
  left.tv_sec = 77;
  EXPECT_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &left), EINTR);
  EXPECT_EQ(left.tv_sec, 77);
}

TEST(alarm) {
  Install(SIGALRM);
  EXPECT_EQ(alarm(100), 0);
  const unsigned left = alarm(1);
  EXPECT(left == 100 || left == 99);
  IN_CHILD(EXPECT_EQ(alarm(0), 0));  // not inherited
  const int64_t start = NowMs();
  pause();
  EXPECT_EQ(calls, 1);
  EXPECT(NowMs() - start >= 990 && NowMs() - start < 5000);
  EXPECT_EQ(last_info.si_code, SI_KERNEL);
}

TEST(itimer_real) {
  Install(SIGALRM);
  struct itimerval every = {{0, 10000}, {0, 10000}}, old;
  const int64_t start = NowMs();
  EXPECT(setitimer(ITIMER_REAL, &every, NULL) == 0);
  while (calls < 5) SleepMs(1);
  EXPECT(NowMs() - start >= 49);
  memset(&every, 0, sizeof every);
  EXPECT(setitimer(ITIMER_REAL, &every, &old) == 0);
  EXPECT_EQ(old.it_interval.tv_usec, 10000);
  const int before = calls;
  SleepMs(40);
  EXPECT_EQ(calls, before);
  EXPECT(getitimer(ITIMER_REAL, &old) == 0);
  EXPECT(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
  EXPECT_ERRNO(setitimer(7, &every, NULL), EINVAL);
  EXPECT_ERRNO(getitimer(7, &old), EINVAL);
  every.it_value.tv_usec = 1000000;
  EXPECT_ERRNO(setitimer(ITIMER_REAL, &every, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_setitimer, ITIMER_REAL, BAD_POINTER, NULL), EFAULT);
  EXPECT_ERRNO(syscall(SYS_getitimer, ITIMER_REAL, BAD_POINTER), EFAULT);
}

TEST(itimer_virtual_and_prof) {
  Install(SIGVTALRM);
  Install(SIGPROF);
  struct itimerval soon = {{0, 0}, {0, 20000}};
  EXPECT(setitimer(ITIMER_VIRTUAL, &soon, NULL) == 0);
  SleepMs(80);
  EXPECT_EQ(calls, 0);  // sleeping does not count
  int64_t end = NowMs() + 8000;
  while (calls == 0 && NowMs() < end) {
  }
  EXPECT_EQ(calls, 1);
  EXPECT(setitimer(ITIMER_PROF, &soon, NULL) == 0);
  while (calls == 1 && NowMs() < end) {
  }
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(last_info.si_signo, SIGPROF);
}

TEST(posix_timer) {
  Install(SIGRTMIN);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
  event.sigev_value.sival_int = 1234;
  int id = -1;
  EXPECT(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) == 0);
  struct itimerspec soon = {{0, 0}, {0, 20000000}}, old;
  EXPECT(syscall(SYS_timer_settime, id, 0, &soon, &old) == 0);
  EXPECT(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
  EXPECT(syscall(SYS_timer_gettime, id, &old) == 0);
  EXPECT(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 20000000);
  EVENTUALLY(calls == 1);
  EXPECT_EQ(last_info.si_code, SI_TIMER);
  EXPECT_EQ(last_info.si_value.sival_int, 1234);
  EXPECT_EQ(syscall(SYS_timer_getoverrun, id), 0);
  EXPECT(syscall(SYS_timer_delete, id) == 0);
  EXPECT_ERRNO(syscall(SYS_timer_delete, id), EINVAL);
  EXPECT_ERRNO(syscall(SYS_timer_gettime, id, &old), EINVAL);
}

TEST(posix_timer_overrun_and_absolute) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  Install(SIGUSR1);
  int id = -1;
  EXPECT(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &id) == 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  struct itimerspec every = {{0, 2000000}, {1, 0}};
  EXPECT(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &every, NULL) == 0);  // long past
  SleepMs(40);
  struct itimerspec now;
  EXPECT(syscall(SYS_timer_gettime, id, &now) == 0);
  EXPECT_EQ(now.it_interval.tv_nsec, 2000000);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  EXPECT(calls >= 1);
  EXPECT(syscall(SYS_timer_delete, id) == 0);
}

TEST(posix_timer_none_and_errors) {
  struct sigevent none = {.sigev_notify = SIGEV_NONE}, bad = {.sigev_notify = 77};
  int id = -1;
  EXPECT(syscall(SYS_timer_create, CLOCK_MONOTONIC, &none, &id) == 0);
  struct itimerspec soon = {{0, 0}, {5, 0}}, now;
  EXPECT(syscall(SYS_timer_settime, id, 0, &soon, NULL) == 0);
  EXPECT(syscall(SYS_timer_gettime, id, &now) == 0);
  EXPECT(now.it_value.tv_sec == 4);
  soon.it_value.tv_nsec = -1;
  EXPECT_ERRNO(syscall(SYS_timer_settime, id, 0, &soon, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_timer_settime, id, 0, BAD_POINTER, NULL), EFAULT);
  EXPECT_ERRNO(syscall(SYS_timer_settime, 7777, 0, &now, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_timer_create, 99, &none, &id), EINVAL);
  EXPECT_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, &bad, &id), EINVAL);
  EXPECT_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, BAD_POINTER, &id), EFAULT);
  IN_CHILD(EXPECT_ERRNO(syscall(SYS_timer_gettime, id, &now), EINVAL));  // not inherited
}

TEST(cpu_time_timer) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  Install(SIGUSR1);
  int id = -1;
  EXPECT(syscall(SYS_timer_create, CLOCK_PROCESS_CPUTIME_ID, &event, &id) == 0);
  struct itimerspec soon = {{0, 0}, {0, 20000000}};
  EXPECT(syscall(SYS_timer_settime, id, 0, &soon, NULL) == 0);
  const int64_t end = NowMs() + 8000;
  while (calls == 0 && NowMs() < end) {
  }
  EXPECT_EQ(calls, 1);
}

TEST(times_counts) {
  struct tms t;
  const clock_t start = times(&t);
  EXPECT(start != -1);
  const int64_t end = NowMs() + 100;
  while (NowMs() < end) {
  }
  struct tms u;
  EXPECT(times(&u) > start);
  EXPECT(u.tms_utime + u.tms_stime > t.tms_utime + t.tms_stime);
  EXPECT_ERRNO(syscall(SYS_times, BAD_POINTER), EFAULT);
}

static uint64_t Expiries(int fd) {
  uint64_t n = 0;
  EXPECT_EQ(read(fd, &n, sizeof n), (ssize_t)sizeof n);
  return n;
}

TEST(timerfd_blocks_until_it_expires) {
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  EXPECT(fd >= 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  const struct itimerspec once = {{0, 0}, {0, 30000000}};
  const int64_t start = NowMs();
  EXPECT(timerfd_settime(fd, 0, &once, NULL) == 0);
  EXPECT_EQ(Expiries(fd), 1);
  EXPECT(NowMs() - start >= 29);
  struct itimerspec left;
  EXPECT(timerfd_gettime(fd, &left) == 0);
  EXPECT(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
}

TEST(timerfd_periods_and_poll) {
  const int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  uint64_t n;
  EXPECT_ERRNO(read(fd, &n, sizeof n), EAGAIN);
  const struct itimerspec period = {{0, 10000000}, {0, 10000000}};
  EXPECT(timerfd_settime(fd, 0, &period, NULL) == 0);
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  EXPECT_EQ(poll(&p, 1, 5000), 1);
  EXPECT_EQ(p.revents, POLLIN);
  usleep(60000);
  EXPECT(Expiries(fd) >= 4);
  struct itimerspec old;
  EXPECT(timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 0}}, &old) == 0);
  EXPECT(old.it_interval.tv_nsec == 10000000 && old.it_value.tv_nsec <= 10000000);
  usleep(30000);
  EXPECT_ERRNO(read(fd, &n, sizeof n), EAGAIN);
}

TEST(timerfd_absolute_times) {
  static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
  for (unsigned i = 0; i < 3; i++) {
    const int fd = timerfd_create(clocks[i], 0);
    const int64_t then = ByCall(clocks[i]) + 20000000;
    struct itimerspec at = {{0, 0}, {then / 1000000000, then % 1000000000}};
    EXPECT(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);
    EXPECT_EQ(Expiries(fd), 1);
    EXPECT(ByCall(clocks[i]) >= then);
    at.it_value.tv_sec = 1;  // long ago
    EXPECT(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);
    EXPECT_EQ(Expiries(fd), 1);
    close(fd);
  }
}

TEST(timerfd_errors) {
  EXPECT_ERRNO(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
  EXPECT_ERRNO(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
  const int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec t = {{0, 0}, {0, 1000000000}};
  EXPECT_ERRNO(timerfd_settime(fd, 0, &t, NULL), EINVAL);
  t.it_value.tv_nsec = 0;
  EXPECT_ERRNO(timerfd_settime(fd, 8, &t, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_timerfd_settime, fd, 0, BAD_POINTER, NULL), EFAULT);
  EXPECT_ERRNO(syscall(SYS_timerfd_gettime, fd, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(timerfd_gettime(0, &t), EINVAL);
  EXPECT_ERRNO(timerfd_gettime(99, &t), EBADF);
  char small[7];
  EXPECT_ERRNO(read(fd, small, sizeof small), EINVAL);
  EXPECT_ERRNO(write(fd, "12345678", 8), EINVAL);
  EXPECT_EQ(lseek(fd, 5, SEEK_SET), 0);  // noop_llseek
  EXPECT_ERRNO(pread(fd, small, sizeof small, 0), ESPIPE);
}
