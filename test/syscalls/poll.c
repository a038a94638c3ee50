// Waiting for descriptors: poll(2), ppoll(2), select(2), pselect(2), epoll(7), eventfd(2).
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

#include "check.h"

static int ends[2];

static void MakePipe(void) { EXPECT(pipe2(ends, O_NONBLOCK) == 0); }

static void OnSignal(int number) { (void)number; }

static pid_t Later(int ms, int fd, int number) {
  const pid_t self = getpid(), child = FORK();
  if (child == 0) {
    SleepMs(ms);
    if (number != 0) kill(self, number);
    if (fd >= 0) EXPECT(write(fd, "12345678", 8) == 8);
    _exit(0);
  }
  return child;
}

static int Epoll(void) {
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  EXPECT(fd >= 0);
  return fd;
}

static int Control(int epoll, int op, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  return epoll_ctl(epoll, op, fd, &event);
}

static int EventFd(int value, int flags) {
  const int fd = eventfd(value, flags);
  EXPECT(fd >= 0);
  return fd;
}

static void Add(int fd, uint64_t value) { EXPECT(write(fd, &value, 8) == 8); }

static uint64_t Take(int fd) {
  uint64_t value = 0;
  EXPECT_EQ(read(fd, &value, 8), 8);
  return value;
}

TEST(poll_basic) {
  MakePipe();
  struct pollfd list[4] = {
      {ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {-1, POLLIN, 99}, {777, POLLIN, 0}};
  EXPECT_EQ(poll(list, 4, 0), 2);
  EXPECT_EQ(list[0].revents, 0);
  EXPECT_EQ(list[1].revents, POLLOUT);
  EXPECT_EQ(list[2].revents, 0);
  EXPECT_EQ(list[3].revents, POLLNVAL);
}

TEST(poll_waits_and_times_out) {
  MakePipe();
  struct pollfd entry = {ends[0], POLLIN, 0};
  int64_t start = NowMs();
  EXPECT_EQ(poll(&entry, 1, 40), 0);
  EXPECT(NowMs() - start >= 40);
  const pid_t child = Later(30, ends[1], 0);
  EXPECT_EQ(poll(&entry, 1, -1), 1);
  EXPECT_EQ(entry.revents, POLLIN);
  EXPECT_EXIT(child, 0);
  start = NowMs();
  EXPECT_EQ(poll(NULL, 0, 20), 0);
  EXPECT(NowMs() - start >= 20);
}

TEST(poll_errors) {
  EXPECT_ERRNO(syscall(SYS_poll, BAD_POINTER, 1, 0), EFAULT);
  EXPECT_ERRNO(syscall(SYS_poll, NULL, 1 << 30, 0), EINVAL);
  struct timespec bad = {0, 1000000000}, zero = {0, 0};
  EXPECT_ERRNO(ppoll(NULL, 0, &bad, NULL), EINVAL);
  EXPECT_EQ(ppoll(NULL, 0, &zero, NULL), 0);
  EXPECT_ERRNO(syscall(SYS_ppoll, NULL, 0, BAD_POINTER, NULL, 8), EFAULT);
  uint64_t mask = 0;
  EXPECT_ERRNO(syscall(SYS_ppoll, NULL, 0, &zero, &mask, 4), EINVAL);
}

TEST(poll_files_and_directories) {
  const int file = open("file", O_RDWR | O_CREAT, 0600), null = open("/dev/null", O_RDWR);
  struct pollfd list[3] = {{file, POLLIN | POLLOUT, 0},
                           {null, POLLIN | POLLOUT, 0},
                           {open(".", O_RDONLY), POLLIN | POLLOUT, 0}};
  EXPECT_EQ(poll(list, 3, -1), 3);
  for (int i = 0; i < 3; i++) EXPECT_EQ(list[i].revents, POLLIN | POLLOUT);
}

TEST(ppoll_mask_lets_signal_in) {
  sigset_t block, none;
  sigemptyset(&none);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  sigprocmask(SIG_BLOCK, &block, NULL);
  signal(SIGUSR1, OnSignal);
  raise(SIGUSR1);
  struct timespec limit = {5, 0};
  EXPECT_ERRNO(ppoll(NULL, 0, &limit, &none), EINTR);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  EXPECT(sigismember(&now, SIGUSR1));
}

TEST(ppoll_leaves_remaining_time) {
  MakePipe();
  const pid_t child = Later(20, ends[1], 0);
  struct pollfd entry = {ends[0], POLLIN, 0};
  struct timespec limit = {5, 0};
  EXPECT_EQ(syscall(SYS_ppoll, &entry, 1, &limit, NULL, 8), 1);
  EXPECT(limit.tv_sec == 4 && limit.tv_nsec < 990000000);
  EXPECT_EXIT(child, 0);
}

TEST(select_basic) {
  MakePipe();
  fd_set in, out, except;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_ZERO(&except);
  FD_SET(ends[0], &in), FD_SET(ends[1], &out), FD_SET(ends[0], &except);
  struct timeval zero = {0, 0};
  EXPECT_EQ(select(ends[1] + 1, &in, &out, &except, &zero), 1);
  EXPECT(!FD_ISSET(ends[0], &in) && FD_ISSET(ends[1], &out) && !FD_ISSET(ends[0], &except));
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  FD_SET(ends[0], &in), FD_SET(ends[1], &out);
  EXPECT_EQ(select(ends[1] + 1, &in, &out, NULL, NULL), 2);
}

TEST(select_timeout_and_remaining) {
  MakePipe();
  fd_set in;
  FD_ZERO(&in);
  FD_SET(ends[0], &in);
  struct timeval limit = {0, 40000};
  const int64_t start = NowMs();
  EXPECT_EQ(select(ends[0] + 1, &in, NULL, NULL, &limit), 0);
  EXPECT(NowMs() - start >= 40);
  EXPECT(limit.tv_sec == 0 && limit.tv_usec == 0);
  EXPECT(!FD_ISSET(ends[0], &in));
}

TEST(select_errors) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(60, &in);
  struct timeval zero = {0, 0}, negative = {-1, 0};
  EXPECT_ERRNO(select(61, &in, NULL, NULL, &zero), EBADF);
  EXPECT_ERRNO(select(-1, NULL, NULL, NULL, &zero), EINVAL);
  EXPECT_ERRNO(select(0, NULL, NULL, NULL, &negative), EINVAL);
  EXPECT_ERRNO(syscall(SYS_select, 5, BAD_POINTER, NULL, NULL, &zero), EFAULT);
  EXPECT_EQ(select(100000, NULL, NULL, NULL, &zero), 0);
}

TEST(pselect_mask) {
  sigset_t block, none;
  sigemptyset(&none);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  sigprocmask(SIG_BLOCK, &block, NULL);
  signal(SIGUSR1, OnSignal);
  const pid_t child = Later(20, -1, SIGUSR1);
  struct timespec limit = {5, 0};
  EXPECT_ERRNO(pselect(0, NULL, NULL, NULL, &limit, &none), EINTR);
  EXPECT_EXIT(child, 0);
}

TEST(epoll_level) {
  MakePipe();
  const int epoll = Epoll();
  struct epoll_event got[4];
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 42) == 0);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 0);
  EXPECT_EQ(write(ends[1], "xy", 2), 2);
  for (int i = 0; i < 2; i++) {
    EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 1);
    EXPECT_EQ(got[0].events, EPOLLIN);
    EXPECT_EQ(got[0].data.u64, 42);
  }
  char buffer[4];
  EXPECT_EQ(read(ends[0], buffer, 4), 2);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 0);
}

TEST(epoll_edge) {
  MakePipe();
  const int epoll = Epoll();
  struct epoll_event got[4];
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET, 1) == 0);
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 1);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 0);
  EXPECT_EQ(write(ends[1], "y", 1), 1);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 1);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 0);
}

TEST(epoll_oneshot_and_mod) {
  MakePipe();
  const int epoll = Epoll();
  struct epoll_event got[4];
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLONESHOT, 1) == 0);
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 1);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 0);
  EXPECT(Control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLIN, 7) == 0);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 1);
  EXPECT_EQ(got[0].data.u64, 7);
  EXPECT(Control(epoll, EPOLL_CTL_DEL, ends[0], 0, 0) == 0);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 0);
}

TEST(epoll_hangup_and_limit) {
  MakePipe();
  const int epoll = Epoll();
  struct epoll_event got[4];
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[0], 0, 1) == 0);
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT, 2) == 0);
  close(ends[1]);
  EXPECT_EQ(epoll_wait(epoll, got, 4, 0), 1);
  EXPECT_EQ(got[0].events, EPOLLHUP);
  int many[5];
  for (int i = 0; i < 5; i++) {
    many[i] = EventFd(1, 0);
    EXPECT(Control(epoll, EPOLL_CTL_ADD, many[i], EPOLLIN, 10 + i) == 0);
  }
  int seen = 0;  // each call takes the next ones: nobody starves
  for (int call = 0; call < 3; call++) {
    const int n = epoll_wait(epoll, got, 2, 0);
    EXPECT_EQ(n, 2);
    for (int i = 0; i < n; i++) seen |= 1 << (got[i].data.u64 >= 10 ? got[i].data.u64 - 9 : 0);
  }
  EXPECT_EQ(seen, 63);
}

TEST(epoll_errors) {
  MakePipe();
  const int epoll = Epoll();
  struct epoll_event got[1];
  EXPECT_ERRNO(Control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLIN, 0), ENOENT);
  EXPECT_ERRNO(Control(epoll, EPOLL_CTL_DEL, ends[0], EPOLLIN, 0), ENOENT);
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0) == 0);
  EXPECT_ERRNO(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0), EEXIST);
  EXPECT_ERRNO(Control(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN, 0), EINVAL);
  EXPECT_ERRNO(Control(epoll, EPOLL_CTL_ADD, 888, EPOLLIN, 0), EBADF);
  EXPECT_ERRNO(Control(ends[0], EPOLL_CTL_ADD, ends[1], EPOLLIN, 0), EINVAL);
  EXPECT_ERRNO(Control(epoll, EPOLL_CTL_ADD, open(".", O_RDONLY), EPOLLIN, 0), EPERM);
  EXPECT_ERRNO(Control(epoll, 9, ends[1], EPOLLIN, 0), EINVAL);
  EXPECT_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[1], BAD_POINTER), EFAULT);
  EXPECT_ERRNO(epoll_wait(epoll, got, 0, 0), EINVAL);
  EXPECT_ERRNO(epoll_wait(ends[0], got, 1, 0), EINVAL);
  EXPECT_ERRNO(epoll_create(0), EINVAL);
  EXPECT_ERRNO(epoll_create1(7), EINVAL);
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT, 0) == 0);
  EXPECT_ERRNO(epoll_wait(epoll, BAD_POINTER, 1, 0), EFAULT);
}

TEST(epoll_waits) {
  MakePipe();
  const int epoll = Epoll();
  struct epoll_event got[1];
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0) == 0);
  const int64_t start = NowMs();
  EXPECT_EQ(epoll_wait(epoll, got, 1, 30), 0);
  EXPECT(NowMs() - start >= 30);
  const pid_t child = Later(20, ends[1], 0);
  EXPECT_EQ(epoll_wait(epoll, got, 1, -1), 1);
  EXPECT_EXIT(child, 0);
  struct timespec limit = {0, 20000000};
  char buffer[8];
  EXPECT_EQ(read(ends[0], buffer, 8), 8);
  EXPECT_EQ(syscall(SYS_epoll_pwait2, epoll, got, 1, &limit, NULL, 8), 0);
}

TEST(epoll_pwait_mask_lets_signal_in) {
  const int epoll = epoll_create1(0);
  struct epoll_event got;
  sigset_t blocked, none;
  sigemptyset(&none);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  signal(SIGUSR1, OnSignal);
  EXPECT(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
  EXPECT(raise(SIGUSR1) == 0);
  EXPECT_EQ(epoll_pwait(epoll, &got, 1, 1, NULL), 0);  // stays blocked
  EXPECT_ERRNO(epoll_pwait(epoll, &got, 1, 10000, &none), EINTR);
  sigset_t now, pending;
  EXPECT(sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sigpending(&pending) == 0);
  EXPECT(sigismember(&now, SIGUSR1) && !sigismember(&pending, SIGUSR1));
  EXPECT_ERRNO(syscall(SYS_epoll_pwait, epoll, &got, 1, 0, &none, 4), EINVAL);
  EXPECT_ERRNO(syscall(SYS_epoll_pwait, epoll, &got, 1, 0, BAD_POINTER, 8), EFAULT);
  EXPECT_ERRNO(syscall(SYS_epoll_pwait, epoll, &got, 0, 0, NULL, 8), EINVAL);
  EXPECT_ERRNO(syscall(SYS_epoll_pwait, 999, &got, 1, 0, NULL, 8), EBADF);
}

TEST(epoll_closed_descriptor_leaves) {
  MakePipe();
  const int epoll = Epoll();
  struct epoll_event got[1];
  const int copy = dup(ends[0]);
  EXPECT(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 5) == 0);
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  close(ends[0]);
  EXPECT_EQ(epoll_wait(epoll, got, 1, 0), 1);  // the open file lives on by its copy
  close(copy);
  EXPECT_EQ(epoll_wait(epoll, got, 1, 0), 0);
}

TEST(epoll_nested) {
  const int inner = Epoll(), outer = Epoll(), event = EventFd(0, 0);
  struct epoll_event got[2];
  EXPECT(Control(inner, EPOLL_CTL_ADD, event, EPOLLIN, 1) == 0);
  EXPECT(Control(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 2) == 0);
  EXPECT_ERRNO(Control(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 3), ELOOP);
  EXPECT_EQ(epoll_wait(outer, got, 2, 0), 0);
  Add(event, 1);
  EXPECT_EQ(epoll_wait(outer, got, 2, 1000), 1);
  EXPECT_EQ(got[0].data.u64, 2);
  struct pollfd entry = {inner, POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 1);
}

TEST(eventfd_counts) {
  const int fd = EventFd(3, EFD_NONBLOCK);
  EXPECT_EQ(Take(fd), 3);
  uint64_t value = 0;
  EXPECT_ERRNO(read(fd, &value, 8), EAGAIN);
  Add(fd, 5);
  Add(fd, 6);
  EXPECT_EQ(Take(fd), 11);
  EXPECT_ERRNO(read(fd, &value, 7), EINVAL);
  value = ~0ull;
  EXPECT_ERRNO(write(fd, &value, 8), EINVAL);
  Add(fd, ~0ull - 1);
  value = 1;
  EXPECT_ERRNO(write(fd, &value, 8), EAGAIN);
  struct pollfd entry = {fd, POLLIN | POLLOUT, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 1);
  EXPECT_EQ(entry.revents, POLLIN);
  EXPECT_ERRNO(eventfd(0, 0x7000), EINVAL);
}

TEST(eventfd_semaphore) {
  const int fd = EventFd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(Take(fd), 1);
  EXPECT_EQ(Take(fd), 1);
  uint64_t value;
  EXPECT_ERRNO(read(fd, &value, 8), EAGAIN);
}

TEST(eventfd_blocks) {
  const int fd = EventFd(0, 0);
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(20);
    Add(fd, 9);
    _exit(0);
  }
  EXPECT_EQ(Take(fd), 9);
  EXPECT_EXIT(child, 0);
  EXPECT_ERRNO(syscall(SYS_write, fd, BAD_POINTER, 8), EFAULT);
}
