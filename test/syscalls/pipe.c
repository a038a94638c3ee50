// Pipes and fifos: pipe(7), pipe(2), fifo(7), the poll(2) states of their ends.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "check.h"

static int Poll(int fd, short events) {
  struct pollfd entry = {fd, events, 0};
  EXPECT(poll(&entry, 1, 0) >= 0);
  return entry.revents;
}

static void Pipe(int ends[2], int flags) { EXPECT(pipe2(ends, flags) == 0); }

// Writes until the pipe is full; returns the bytes.
static long Fill(int fd) {
  static char page[4096];
  long total = 0, n;
  while ((n = write(fd, page, sizeof page)) > 0) total += n;
  EXPECT_EQ(errno, EAGAIN);
  return total;
}

TEST(flags) {
  int ends[2];
  Pipe(ends, O_CLOEXEC | O_NONBLOCK);
  EXPECT_EQ(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(ends[0], F_GETFL), O_RDONLY | O_NONBLOCK);
  EXPECT_EQ(fcntl(ends[1], F_GETFL), O_WRONLY | O_NONBLOCK);
  EXPECT_ERRNO(pipe2(ends, O_APPEND), EINVAL);
  EXPECT_ERRNO(syscall(SYS_pipe2, BAD_POINTER, 0), EFAULT);
  char c = 0;
  EXPECT_ERRNO(read(ends[1], &c, 1), EBADF);
  EXPECT_ERRNO(write(ends[0], &c, 1), EBADF);
}

TEST(bad_pointer_leaves_no_descriptors) {
  const int before = dup(2);
  close(before);
  EXPECT_ERRNO(syscall(SYS_pipe2, BAD_POINTER, 0), EFAULT);
  EXPECT_EQ(dup(2), before);
}

TEST(capacity) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  EXPECT_EQ(fcntl(ends[1], F_GETPIPE_SZ), 65536);
  EXPECT_EQ(Fill(ends[1]), 65536);
  int queued = 0;
  EXPECT(ioctl(ends[0], FIONREAD, &queued) == 0);
  EXPECT_EQ(queued, 65536);
}

TEST(set_capacity) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  EXPECT_EQ(fcntl(ends[1], F_SETPIPE_SZ, 5000), 8192);
  EXPECT_EQ(fcntl(ends[0], F_GETPIPE_SZ), 8192);
  EXPECT_EQ(Fill(ends[1]), 8192);
  EXPECT_ERRNO(fcntl(ends[1], F_SETPIPE_SZ, 4096), EBUSY);
  EXPECT_EQ(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
  EXPECT_ERRNO(fcntl(ends[1], F_SETPIPE_SZ, (1u << 31) + 1), EINVAL);
  EXPECT_ERRNO(fcntl(ends[1], F_SETPIPE_SZ, 0), EBUSY);
  EXPECT_ERRNO(fcntl(open("/dev/null", O_RDONLY), F_GETPIPE_SZ), EBADF);
}

TEST(small_writes_fill_pages) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  EXPECT_EQ(fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
  for (int i = 0; i < 4096; i++) EXPECT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_ERRNO(write(ends[1], "x", 1), EAGAIN);
}

TEST(nonblocking_read) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  char buffer[8];
  EXPECT_ERRNO(read(ends[0], buffer, 8), EAGAIN);
  EXPECT_EQ(read(ends[0], buffer, 0), 0);
  EXPECT_EQ(write(ends[1], "abcde", 5), 5);
  EXPECT_EQ(read(ends[0], buffer, 3), 3);
  EXPECT_EQ(read(ends[0], buffer, 8), 2);
  close(ends[1]);
  EXPECT_EQ(read(ends[0], buffer, 8), 0);
}

TEST(small_write_is_atomic) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  static char page[8192];
  Fill(ends[1]);
  EXPECT_EQ(read(ends[0], page, 4096), 4096);
  EXPECT_EQ(write(ends[1], page, 4000), 4000);
  EXPECT_ERRNO(write(ends[1], page, 4000), EAGAIN);  // PIPE_BUF: all or nothing
}

TEST(broken_pipe_signals) {
  int ends[2];
  Pipe(ends, 0);
  close(ends[0]);
  const pid_t child = FORK();
  if (child == 0) {
    write(ends[1], "x", 1);
    _exit(0);
  }
  EXPECT_KILLED(child, SIGPIPE);
  signal(SIGPIPE, SIG_IGN);
  EXPECT_ERRNO(write(ends[1], "x", 1), EPIPE);
}

static volatile int got_signal;
static void OnSignal(int number) { got_signal = number; }

TEST(writing_nothing_needs_no_reader) {
  int ends[2];
  Pipe(ends, 0);
  signal(SIGPIPE, SIG_IGN);
  close(ends[0]);
  EXPECT_ERRNO(write(ends[1], "x", 1), EPIPE);
  EXPECT_EQ(write(ends[1], "x", 0), 0);
}

TEST(blocked_writer_gets_epipe) {
  int ends[2];
  Pipe(ends, 0);
  const pid_t child = FORK();
  if (child == 0) {
    static char big[200000];
    close(ends[0]);
    signal(SIGPIPE, OnSignal);
    const long n = write(ends[1], big, sizeof big);
    EXPECT_EQ(n, 65536);  // what went in before counts, the signal comes all the same
    EXPECT_EQ(got_signal, SIGPIPE);
    _exit(0);
  }
  close(ends[1]);
  SleepMs(50);
  close(ends[0]);
  EXPECT_EXIT(child, 0);
}

TEST(blocking_read_wakes) {
  int ends[2];
  Pipe(ends, 0);
  const pid_t child = FORK();
  if (child == 0) {
    char c = 0;
    close(ends[1]);
    EXPECT_EQ(read(ends[0], &c, 1), 1);
    EXPECT_EQ(c, 'z');
    EXPECT_EQ(read(ends[0], &c, 1), 0);
    _exit(0);
  }
  SleepMs(20);
  EXPECT_EQ(write(ends[1], "z", 1), 1);
  SleepMs(20);
  close(ends[1]);
  EXPECT_EXIT(child, 0);
}

TEST(large_transfer) {
  int ends[2];
  Pipe(ends, 0);
  enum { kTotal = 3 << 20 };
  const pid_t child = FORK();
  if (child == 0) {
    close(ends[0]);
    unsigned char* data = malloc(kTotal);
    for (int i = 0; i < kTotal; i++) data[i] = i * 7 + (i >> 12);
    EXPECT_EQ(write(ends[1], data, kTotal), kTotal);
    _exit(0);
  }
  close(ends[1]);
  static unsigned char buffer[10007];
  long at = 0, n;
  while ((n = read(ends[0], buffer, sizeof buffer)) > 0) {
    for (long i = 0; i < n; i++, at++) {
      if (buffer[i] != (unsigned char)(at * 7 + (at >> 12))) EXPECT_EQ(at, -1);
    }
  }
  EXPECT_EQ(at, kTotal);
  EXPECT_EXIT(child, 0);
}

TEST(poll_states) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  const short all = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
  EXPECT_EQ(Poll(ends[0], all), 0);
  EXPECT_EQ(Poll(ends[1], all), POLLOUT | POLLWRNORM);
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_EQ(Poll(ends[0], all), POLLIN | POLLRDNORM);
  Fill(ends[1]);
  EXPECT_EQ(Poll(ends[1], all), 0);
  close(ends[0]);
  EXPECT_EQ(Poll(ends[1], all), POLLERR);
}

TEST(poll_hangup) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  close(ends[1]);
  EXPECT_EQ(Poll(ends[0], POLLIN), POLLIN | POLLHUP);
  char c;
  EXPECT_EQ(read(ends[0], &c, 1), 1);
  EXPECT_EQ(Poll(ends[0], POLLIN), POLLHUP);
}

TEST(fstat_and_name) {
  int ends[2];
  Pipe(ends, 0);
  struct stat a, b;
  EXPECT(fstat(ends[0], &a) == 0 && fstat(ends[1], &b) == 0);
  EXPECT(S_ISFIFO(a.st_mode));
  EXPECT_EQ(a.st_mode & 07777, 0600);
  EXPECT_EQ(a.st_ino, b.st_ino);
  char proc[40], target[60] = "", want[60];
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", ends[0]);
  snprintf(want, sizeof want, "pipe:[%lu]", a.st_ino);
  EXPECT(readlink(proc, target, sizeof target - 1) > 0);
  EXPECT_STR(target, want);
}

TEST(reopen_through_proc) {
  int ends[2];
  Pipe(ends, 0);
  char proc[40], c = 0;
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", ends[0]);
  const int writer = open(proc, O_WRONLY);
  EXPECT(writer >= 0);
  EXPECT_EQ(write(writer, "q", 1), 1);
  EXPECT_EQ(read(ends[0], &c, 1), 1);
  EXPECT_EQ(c, 'q');
}

TEST(direct_mode_keeps_packets) {
  int ends[2];
  Pipe(ends, O_DIRECT);
  EXPECT_EQ(write(ends[1], "abc", 3), 3);
  EXPECT_EQ(write(ends[1], "defg", 4), 4);
  char buffer[10];
  EXPECT_EQ(read(ends[0], buffer, 2), 2);  // the rest of the packet is dropped
  EXPECT_EQ(read(ends[0], buffer, 10), 4);
}

TEST(fifo_open_waits_for_peer) {
  EXPECT(mkfifo("fifo", 0644) == 0);
  EXPECT_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
  const int64_t start = NowMs();
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(50);
    const int fd = open("fifo", O_WRONLY);
    EXPECT_EQ(write(fd, "hello", 5), 5);
    _exit(0);
  }
  const int fd = open("fifo", O_RDONLY);
  EXPECT(fd >= 0);
  EXPECT(NowMs() - start >= 40);
  char buffer[10];
  EXPECT_EQ(read(fd, buffer, 10), 5);
  EXPECT_EXIT(child, 0);
  EXPECT_EQ(read(fd, buffer, 10), 0);
}

TEST(fifo_short_lived_ends_meet) {
  EXPECT(mkfifo("fifo", 0644) == 0);
  for (int i = 0; i < 100; i++) {
    const pid_t child = FORK();
    if (child == 0) {
      const int fd = open("fifo", O_WRONLY);
      EXPECT_EQ(write(fd, "hello", 5), 5);
      _exit(0);
    }
    if (i % 2 == 0) SleepMs(2);  // the writer waits, writes and is gone while we open
    const int fd = open("fifo", O_RDONLY);
    EXPECT(fd >= 0);
    char buffer[10];
    EXPECT_EQ(read(fd, buffer, 10), 5);
    EXPECT_EXIT(child, 0);
    close(fd);
  }
}

TEST(fifo_open_modes) {
  EXPECT(mknod("fifo", S_IFIFO | 0600, 0) == 0);
  struct stat s;
  EXPECT(stat("fifo", &s) == 0);
  EXPECT(S_ISFIFO(s.st_mode));
  const int reader = open("fifo", O_RDONLY | O_NONBLOCK);
  EXPECT(reader >= 0);
  EXPECT_EQ(Poll(reader, POLLIN), 0);  // no writer yet: no hang-up
  const int writer = open("fifo", O_WRONLY | O_NONBLOCK);
  EXPECT(writer >= 0);
  const int both = open("fifo", O_RDWR);
  EXPECT(both >= 0);
  EXPECT_EQ(write(writer, "x", 1), 1);
  char c;
  EXPECT_EQ(read(both, &c, 1), 1);
  EXPECT_ERRNO(lseek(reader, 0, SEEK_SET), ESPIPE);
  EXPECT_ERRNO(mkfifo("fifo", 0600), EEXIST);
}

TEST(fifo_open_is_interrupted) {
  EXPECT(mkfifo("fifo", 0644) == 0);
  struct sigaction action = {.sa_handler = OnSignal};
  sigaction(SIGUSR1, &action, NULL);
  const pid_t self = getpid();
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(50);
    kill(self, SIGUSR1);
    _exit(0);
  }
  EXPECT_ERRNO(open("fifo", O_RDONLY), EINTR);
  EXPECT_EXIT(child, 0);
}

TEST(bad_buffer) {
  int ends[2];
  Pipe(ends, O_NONBLOCK);
  EXPECT_ERRNO(syscall(SYS_write, ends[1], BAD_POINTER, 10), EFAULT);
  EXPECT_EQ(write(ends[1], "abc", 3), 3);
  EXPECT_ERRNO(syscall(SYS_read, ends[0], BAD_POINTER, 10), EFAULT);
  char buffer[10];
  EXPECT_EQ(read(ends[0], buffer, 10), 3);  // nothing was lost
  EXPECT_ERRNO(ioctl(ends[0], FIONREAD, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(ioctl(ends[0], TCGETS, buffer), ENOTTY);
}

TEST(tee_duplicates) {
  int from[2], to[2];
  Pipe(from, 0);
  Pipe(to, 0);
  EXPECT_EQ(write(from[1], "abcd", 4), 4);
  EXPECT_EQ(tee(from[0], to[1], 3, 0), 3);
  char buffer[10] = "";
  EXPECT_EQ(read(to[0], buffer, 10), 3);
  EXPECT_EQ(read(from[0], buffer, 10), 4);
  EXPECT_STR(buffer, "abcd");
}

TEST(splice_into_a_full_pipe_loses_nothing) {
  int from[2], to[2];
  Pipe(from, O_NONBLOCK);
  Pipe(to, O_NONBLOCK);
  Fill(to[1]);
  EXPECT_EQ(write(from[1], "abcd", 4), 4);
  EXPECT_ERRNO(splice(from[0], NULL, to[1], NULL, 4, SPLICE_F_NONBLOCK), EAGAIN);
  close(to[0]);
  signal(SIGPIPE, SIG_IGN);
  EXPECT_ERRNO(splice(from[0], NULL, to[1], NULL, 4, 0), EPIPE);
  char buffer[10] = "";
  EXPECT_EQ(read(from[0], buffer, 10), 4);
  EXPECT_STR(buffer, "abcd");
}

TEST(tee_states) {
  int from[2], to[2];
  Pipe(from, O_NONBLOCK);
  Pipe(to, O_NONBLOCK);
  EXPECT_ERRNO(tee(from[0], to[1], 3, 0), EAGAIN);
  EXPECT_ERRNO(tee(from[0], from[1], 3, 0), EINVAL);
  EXPECT_ERRNO(tee(from[1], to[1], 3, 0), EBADF);
  EXPECT_ERRNO(tee(from[0], to[1], 3, 64), EINVAL);
  EXPECT_EQ(write(from[1], "abcd", 4), 4);
  close(from[1]);
  EXPECT_EQ(tee(from[0], to[1], 30, 0), 4);
  char buffer[10];
  EXPECT_EQ(read(from[0], buffer, 10), 4);
  EXPECT_EQ(tee(from[0], to[1], 30, 0), 0);
}

TEST(vmsplice_writes) {
  int ends[2];
  Pipe(ends, 0);
  struct iovec part = {(void*)"words", 5};
  EXPECT_EQ(vmsplice(ends[1], &part, 1, 0), 5);
  char buffer[10] = "";
  EXPECT_EQ(read(ends[0], buffer, 10), 5);
  EXPECT_STR(buffer, "words");
}
