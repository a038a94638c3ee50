// Descriptors that tell of events: signalfd(2), pidfd_open(2).
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "check.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int Poll(int fd, short events) {
  struct pollfd entry = {fd, events, 0};
  EXPECT(poll(&entry, 1, 0) >= 0);
  return entry.revents;
}

// --- signalfd ---

static sigset_t Block(int a, int b) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, a);
  if (b != 0) sigaddset(&set, b);
  OK(sigprocmask(SIG_BLOCK, &set, NULL));
  return set;
}

TEST(signalfd_reads_a_signal) {
  const sigset_t set = Block(SIGUSR1, SIGUSR2);
  const int fd = (int)OK(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
  struct signalfd_siginfo info;
  EXPECT_ERRNO(read(fd, &info, sizeof info), EAGAIN);
  EXPECT_EQ(Poll(fd, POLLIN), 0);
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(Poll(fd, POLLIN), POLLIN);
  EXPECT_EQ(read(fd, &info, sizeof info), sizeof info);
  EXPECT_EQ(info.ssi_signo, SIGUSR1);
  EXPECT_EQ(info.ssi_code, SI_USER);
  EXPECT_EQ(info.ssi_pid, getpid());
  EXPECT_EQ(info.ssi_uid, getuid());
  sigset_t pending;
  sigpending(&pending);
  EXPECT(!sigismember(&pending, SIGUSR1));
}

TEST(signalfd_errors) {
  sigset_t set = Block(SIGUSR1, 0);
  struct signalfd_siginfo info;
  EXPECT_ERRNO(syscall(SYS_signalfd4, -1, &set, 4, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_signalfd4, -1, BAD_POINTER, 8, 0), EFAULT);
  EXPECT_ERRNO(syscall(SYS_signalfd4, -1, &set, 8, 1), EINVAL);
  EXPECT_ERRNO(syscall(SYS_signalfd4, 999, &set, 8, 0), EBADF);
  EXPECT_ERRNO(syscall(SYS_signalfd4, 1, &set, 8, 0), EINVAL);
  const int fd = (int)OK(syscall(SYS_signalfd, -1, &set, 8));
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR);
  EXPECT_ERRNO(read(fd, &info, sizeof info - 1), EINVAL);
  EXPECT_ERRNO(write(fd, &info, sizeof info), EINVAL);
}

TEST(signalfd_several_at_once) {
  const sigset_t set = Block(SIGRTMIN, SIGUSR2);
  const int fd = (int)OK(signalfd(-1, &set, 0));
  for (int i = 1; i <= 3; i++) {
    const union sigval value = {.sival_int = i};
    OK(sigqueue(getpid(), SIGRTMIN, value));
  }
  kill(getpid(), SIGUSR2);
  struct signalfd_siginfo info[8];
  EXPECT_EQ(read(fd, info, sizeof info), 4 * sizeof info[0]);
  EXPECT_EQ(info[0].ssi_signo, SIGUSR2);
  for (int i = 1; i <= 3; i++) {
    EXPECT_EQ(info[i].ssi_signo, SIGRTMIN);
    EXPECT_EQ(info[i].ssi_int, i);
    EXPECT_EQ(info[i].ssi_code, SI_QUEUE);
  }
}

TEST(signalfd_blocks_until_a_signal) {
  const sigset_t set = Block(SIGUSR1, 0);
  const int fd = (int)OK(signalfd(-1, &set, 0));
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(30);
    kill(getppid(), SIGUSR1);
    _exit(0);
  }
  struct signalfd_siginfo info;
  EXPECT_EQ(read(fd, &info, sizeof info), sizeof info);
  EXPECT_EQ(info.ssi_pid, child);
  EXPECT_EXIT(child, 0);
}

TEST(signalfd_tells_of_children) {
  const sigset_t set = Block(SIGCHLD, 0);
  const int fd = (int)OK(signalfd(-1, &set, 0));
  const pid_t child = FORK();
  if (child == 0) _exit(7);
  struct signalfd_siginfo info;
  EXPECT_EQ(read(fd, &info, sizeof info), sizeof info);
  EXPECT_EQ(info.ssi_signo, SIGCHLD);
  EXPECT_EQ(info.ssi_code, CLD_EXITED);
  EXPECT_EQ(info.ssi_status, 7);
  EXPECT_EQ(info.ssi_pid, child);
  EXPECT_EXIT(child, 7);
}

TEST(signalfd_changes_its_mask) {
  sigset_t set = Block(SIGUSR1, SIGUSR2);
  const int fd = (int)OK(signalfd(-1, &set, SFD_NONBLOCK));
  sigdelset(&set, SIGUSR1);
  EXPECT_EQ(signalfd(fd, &set, 0), fd);
  kill(getpid(), SIGUSR1);
  struct signalfd_siginfo info;
  EXPECT_EQ(Poll(fd, POLLIN), 0);
  EXPECT_ERRNO(read(fd, &info, sizeof info), EAGAIN);
  sigaddset(&set, SIGUSR1);
  EXPECT_EQ(signalfd(fd, &set, 0), fd);
  EXPECT_EQ(Poll(fd, POLLIN), POLLIN);
}

// The signals are those of whoever reads.
TEST(signalfd_is_the_readers) {
  const sigset_t set = Block(SIGUSR1, 0);
  const int fd = (int)OK(signalfd(-1, &set, SFD_NONBLOCK));
  kill(getpid(), SIGUSR1);
  IN_CHILD({
    struct signalfd_siginfo info;
    EXPECT_EQ(Poll(fd, POLLIN), 0);
    EXPECT_ERRNO(read(fd, &info, sizeof info), EAGAIN);
    kill(getpid(), SIGUSR1);
    EXPECT_EQ(Poll(fd, POLLIN), POLLIN);
    EXPECT_EQ(read(fd, &info, sizeof info), sizeof info);
    EXPECT_EQ(info.ssi_pid, getpid());
  });
  EXPECT_EQ(Poll(fd, POLLIN), POLLIN);
}

TEST(signalfd_in_epoll) {
  const sigset_t set = Block(SIGUSR1, 0);
  const int fd = (int)OK(signalfd(-1, &set, SFD_NONBLOCK));
  const int epoll = (int)OK(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN | EPOLLET}, got;
  OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 0);
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(30);
    kill(getppid(), SIGUSR1);
    _exit(0);
  }
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 5000), 1);
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 0);
  EXPECT_EXIT(child, 0);
}

// --- pidfd ---

static int PidfdOpen(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }

static long PidfdSignal(int fd, int number, siginfo_t* info, unsigned flags) {
  return syscall(SYS_pidfd_send_signal, fd, number, info, flags);
}

TEST(pidfd_polls_the_end) {
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(50);
    _exit(3);
  }
  const int fd = (int)OK(PidfdOpen(child, 0));
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(Poll(fd, POLLIN), 0);
  struct pollfd entry = {fd, POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 5000), 1);
  EXPECT_EQ(entry.revents, POLLIN);
  siginfo_t info = {0};
  OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_status, 3);
  EXPECT_ERRNO(PidfdSignal(fd, 0, NULL, 0), ESRCH);
  EXPECT_ERRNO(waitid(P_PIDFD, (id_t)fd, &info, WEXITED), ECHILD);
}

TEST(pidfd_errors) {
  EXPECT_ERRNO(PidfdOpen(0, 0), EINVAL);
  EXPECT_ERRNO(PidfdOpen(-1, 0), EINVAL);
  EXPECT_ERRNO(PidfdOpen(getpid(), 1), EINVAL);
  EXPECT_ERRNO(PidfdOpen(4000000, 0), ESRCH);
  EXPECT_ERRNO(PidfdSignal(999, 0, NULL, 0), EBADF);
  EXPECT_ERRNO(PidfdSignal(open("/dev/null", O_RDONLY), 0, NULL, 0), EBADF);
  const int fd = (int)OK(PidfdOpen(getpid(), 0));
  char c;
  EXPECT_ERRNO(read(fd, &c, 1), EINVAL);
  EXPECT_ERRNO(PidfdSignal(fd, 0, NULL, 1u << 20), EINVAL);
  EXPECT_ERRNO(PidfdSignal(fd, 100, NULL, 0), EINVAL);
  siginfo_t info = {0};
  EXPECT_ERRNO(waitid(P_PIDFD, 999, &info, WEXITED), EBADF);
  EXPECT_ERRNO(waitid(P_PIDFD, (id_t)open("/dev/null", O_RDONLY), &info, WEXITED), EBADF);
}

TEST(pidfd_signals) {
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  const int fd = (int)OK(PidfdOpen(child, 0));
  OK(PidfdSignal(fd, 0, NULL, 0));
  siginfo_t info = {.si_signo = SIGTERM, .si_code = SI_USER};
  EXPECT_ERRNO(PidfdSignal(fd, SIGTERM, &info, 0), EPERM);
  info.si_code = SI_QUEUE;
  EXPECT_ERRNO(PidfdSignal(fd, SIGHUP, &info, 0), EINVAL);
  OK(PidfdSignal(fd, SIGTERM, &info, 0));
  EXPECT_KILLED(child, SIGTERM);
}

TEST(pidfd_of_a_directory_of_proc) {
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d", child);
  const int fd = (int)OK(open(path, O_RDONLY | O_DIRECTORY));
  OK(PidfdSignal(fd, 0, NULL, 0));
  siginfo_t info = {0};
  EXPECT_ERRNO(waitid(P_PIDFD, (id_t)fd, &info, WEXITED), EBADF);
  snprintf(path, sizeof path, "/proc/%d/fd", child);
  EXPECT_ERRNO(PidfdSignal((int)OK(open(path, O_RDONLY)), 0, NULL, 0), EBADF);
  snprintf(path, sizeof path, "/proc/%d/task/%d", child, child);
  EXPECT_ERRNO(PidfdSignal((int)OK(open(path, O_RDONLY)), 0, NULL, 0), EBADF);
  OK(PidfdSignal(fd, SIGTERM, NULL, 0));
  EXPECT_KILLED(child, SIGTERM);
  EXPECT_ERRNO(PidfdSignal(fd, SIGTERM, NULL, 0), ESRCH);
}

TEST(pidfd_nonblocking_wait) {
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  const int fd = (int)OK(PidfdOpen(child, O_NONBLOCK));
  siginfo_t info = {0};
  EXPECT_ERRNO(waitid(P_PIDFD, (id_t)fd, &info, WEXITED), EAGAIN);
  EXPECT_EQ(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG), 0);
  EXPECT_EQ(info.si_pid, 0);
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}

TEST(pidfd_getfd) {
  int ends[2], tube[2];
  char c;
  OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  const pid_t child = FORK();
  if (child == 0) {
    OK(pipe(tube));
    OK(write(ends[1], tube, sizeof tube));
    OK(read(ends[1], &c, 1));
    _exit(0);
  }
  OK(read(ends[0], tube, sizeof tube));
  const int fd = (int)OK(PidfdOpen(child, 0));
  const int mine = (int)OK(syscall(SYS_pidfd_getfd, fd, tube[1], 0));
  EXPECT_EQ(fcntl(mine, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(write(mine, "x", 1), 1);
  EXPECT_ERRNO(syscall(SYS_pidfd_getfd, fd, 999, 0), EBADF);
  EXPECT_ERRNO(syscall(SYS_pidfd_getfd, fd, 0, 1), EINVAL);
  EXPECT_ERRNO(syscall(SYS_pidfd_getfd, ends[0], 0, 0), EBADF);
  OK(write(ends[0], "x", 1));
  EXPECT_EXIT(child, 0);
}

TEST(clone_pidfd) {
  int fd = -1;
  const pid_t child = (pid_t)OK(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0));
  if (child == 0) {
    for (;;) pause();
  }
  EXPECT(fd >= 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  OK(PidfdSignal(fd, SIGKILL, NULL, 0));
  EXPECT_KILLED(child, SIGKILL);
  EXPECT_ERRNO(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd, NULL, 0),
               EINVAL);
}

TEST(clone3_pidfd) {
  int fd = -1;
  struct clone_args args = {
      .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&fd, .exit_signal = SIGCHLD};
  const pid_t child = (pid_t)OK(syscall(SYS_clone3, &args, sizeof args));
  if (child == 0) _exit(5);
  EXPECT(fd >= 0);
  siginfo_t info = {0};
  OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_status, 5);
}
