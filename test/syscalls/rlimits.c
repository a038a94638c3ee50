// Resource limits: getrlimit(2), prlimit(2), and what happens at each limit.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include "check.h"

static void Limit(int which, rlim_t soft) {
  struct rlimit limit;
  EXPECT(getrlimit(which, &limit) == 0);
  limit.rlim_cur = soft;
  EXPECT(setrlimit(which, &limit) == 0);
}

TEST(get_and_set) {
  struct rlimit limit = {100, 200}, got;
  EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  EXPECT(getrlimit(RLIMIT_NOFILE, &got) == 0);
  EXPECT(got.rlim_cur == 100 && got.rlim_max == 200);
  limit.rlim_cur = 300;
  EXPECT_ERRNO(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
  EXPECT_ERRNO(setrlimit(77, &limit), EINVAL);
  EXPECT_ERRNO(getrlimit(77, &limit), EINVAL);
  EXPECT_ERRNO(syscall(SYS_getrlimit, RLIMIT_NOFILE, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_setrlimit, RLIMIT_NOFILE, BAD_POINTER), EFAULT);
}

TEST(prlimit) {
  struct rlimit limit = {50, 60}, old;
  EXPECT(prlimit(0, RLIMIT_NOFILE, &limit, NULL) == 0);
  limit.rlim_cur = 40;
  EXPECT(prlimit(getpid(), RLIMIT_NOFILE, &limit, &old) == 0);
  EXPECT_EQ(old.rlim_cur, 50);
  EXPECT_ERRNO(prlimit(999999, RLIMIT_NOFILE, NULL, &old), ESRCH);
  EXPECT_ERRNO(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, BAD_POINTER), EFAULT);
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  EXPECT(prlimit(child, RLIMIT_NOFILE, NULL, &old) == 0);
  EXPECT_EQ(old.rlim_cur, 40);  // inherited
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}

TEST(raising_needs_privilege) {
  struct rlimit limit = {50, 60};
  EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  EXPECT(setresuid(1000, 1000, 1000) == 0);
  limit.rlim_max = 61;
  EXPECT_ERRNO(setrlimit(RLIMIT_NOFILE, &limit), EPERM);
  limit.rlim_max = 55;
  EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

TEST(open_files) {
  Limit(RLIMIT_NOFILE, 20);
  int fd = 0, last = 0;
  while ((fd = open("/dev/null", O_RDONLY)) >= 0) last = fd;
  EXPECT_EQ(errno, EMFILE);
  EXPECT_EQ(last, 19);
  int ends[2];
  EXPECT_ERRNO(dup(0), EMFILE);
  EXPECT_ERRNO(dup2(0, 20), EBADF);
  EXPECT_ERRNO(fcntl(0, F_DUPFD, 20), EINVAL);
  EXPECT_ERRNO(fcntl(0, F_DUPFD, 5), EMFILE);
  EXPECT_ERRNO(pipe(ends), EMFILE);
  close(19);
  EXPECT_ERRNO(pipe(ends), EMFILE);
  EXPECT_EQ(dup(0), 19);  // the failed pipe left nothing behind
  struct pollfd list[30] = {{0}};
  EXPECT_ERRNO(poll(list, 30, 0), EINVAL);
}

TEST(file_size) {
  const int fd = open("f", O_RDWR | O_CREAT, 0600);
  signal(SIGXFSZ, SIG_IGN);
  Limit(RLIMIT_FSIZE, 1000);
  char data[900] = {0};
  EXPECT_EQ(write(fd, data, 900), 900);
  EXPECT_EQ(write(fd, data, 900), 100);
  EXPECT_ERRNO(write(fd, data, 900), EFBIG);
  EXPECT_ERRNO(ftruncate(fd, 1001), EFBIG);
  EXPECT_ERRNO(fallocate(fd, 0, 0, 2000), EFBIG);
  EXPECT(ftruncate(fd, 10) == 0);
  signal(SIGXFSZ, SIG_DFL);
  const pid_t child = FORK();
  if (child == 0) {
    pwrite(fd, data, 1, 5000);
    _exit(0);
  }
  EXPECT_KILLED(child, SIGXFSZ);
}

TEST(address_space) {
  Limit(RLIMIT_AS, 64 << 20);
  EXPECT_ERRNO((long)mmap(NULL, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
  void* p = mmap(NULL, 8 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(p != MAP_FAILED);
  EXPECT_ERRNO((long)mremap(p, 8 << 20, 100 << 20, MREMAP_MAYMOVE), ENOMEM);
}

TEST(data_limit_stops_brk) {
  char* start = (char*)syscall(SYS_brk, 0);
  Limit(RLIMIT_DATA, 1 << 20);
  EXPECT((char*)syscall(SYS_brk, start + (8 << 20)) == start);
}

static int Recurse(volatile int depth) {
  volatile char frame[4096];
  frame[0] = depth;
  return depth == 0 ? frame[0] : Recurse(depth - 1) + frame[0];
}

TEST(stack_limit) {
  const pid_t child = FORK();
  if (child == 0) {
    Limit(RLIMIT_STACK, 1 << 20);
    Recurse(1000);
    _exit(0);
  }
  EXPECT_KILLED(child, SIGSEGV);
  IN_CHILD(Recurse(1000));
}

TEST(cpu_time) {
  const pid_t child = FORK();
  if (child == 0) {
    struct rlimit limit = {1, 2};
    EXPECT(setrlimit(RLIMIT_CPU, &limit) == 0);
    for (;;) {
    }
  }
  EXPECT_KILLED(child, SIGXCPU);
}

TEST(core_and_others_are_remembered) {
  static const int which[] = {RLIMIT_CORE,   RLIMIT_MEMLOCK,    RLIMIT_MSGQUEUE, RLIMIT_NICE,
                              RLIMIT_RTPRIO, RLIMIT_SIGPENDING, RLIMIT_RSS,      RLIMIT_LOCKS};
  for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
    struct rlimit limit, got;
    EXPECT(getrlimit(which[i], &limit) == 0);
    limit.rlim_cur = limit.rlim_max == 0 ? 0 : 1;
    EXPECT(setrlimit(which[i], &limit) == 0);
    EXPECT(getrlimit(which[i], &got) == 0);
    EXPECT_EQ(got.rlim_cur, limit.rlim_cur);
  }
}

TEST(queued_signals) {
  Limit(RLIMIT_SIGPENDING, 3);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, NULL);
  const union sigval value = {0};
  int queued = 0;
  while (queued < 100 && sigqueue(getpid(), SIGRTMIN, value) == 0) queued++;
  EXPECT(queued < 100);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(process_count) {
  EXPECT(setresuid(54321, 54321, 54321) == 0);
  Limit(RLIMIT_NPROC, 3);
  pid_t children[10];
  int made = 0;
  while (made < 10 && (children[made] = fork()) >= 0) {
    if (children[made] == 0) {
      for (;;) pause();
    }
    made++;
  }
  const int error = errno;
  for (int i = 0; i < made; i++) {
    kill(children[i], SIGKILL);
    WAIT_STATUS(children[i]);
  }
  EXPECT_EQ(made, 2);
  EXPECT_EQ(error, EAGAIN);
}

TEST(getrusage) {
  struct rusage usage;
  EXPECT(getrusage(RUSAGE_SELF, &usage) == 0);
  EXPECT(usage.ru_maxrss > 0);
  EXPECT(getrusage(RUSAGE_CHILDREN, &usage) == 0);
  EXPECT(getrusage(RUSAGE_THREAD, &usage) == 0);
  EXPECT_ERRNO(getrusage(77, &usage), EINVAL);
  EXPECT_ERRNO(syscall(SYS_getrusage, RUSAGE_SELF, BAD_POINTER), EFAULT);
}
