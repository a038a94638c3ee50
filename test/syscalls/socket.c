// Unix sockets: unix(7), socket(2), socket(7), send(2), recv(2), cmsg(3).
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "check.h"

#define UNIX(...) ((struct sockaddr_un){AF_UNIX, __VA_ARGS__})

static int Socket(int type) { return (int)OK(socket(AF_UNIX, type, 0)); }

static void Pair(int ends[2], int type) { OK(socketpair(AF_UNIX, type, 0, ends)); }

static int Poll(int fd, short events) {
  struct pollfd entry = {fd, events, 0};
  EXPECT(poll(&entry, 1, 0) >= 0);
  return entry.revents;
}

static int Bind(int fd, const char* path) {
  struct sockaddr_un name = UNIX("");
  strcpy(name.sun_path, path);
  return bind(fd, (struct sockaddr*)&name, sizeof name);
}

static int Connect(int fd, const char* path) {
  struct sockaddr_un name = UNIX("");
  strcpy(name.sun_path, path);
  return connect(fd, (struct sockaddr*)&name, sizeof name);
}

// An abstract name that is this process's own.
static socklen_t Abstract(struct sockaddr_un* name) {
  *name = UNIX("");
  const int n = sprintf(name->sun_path + 1, "ringfence-check-%d", getpid());
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

static int Listener(const char* path, int type, int backlog) {
  const int fd = Socket(type);
  EXPECT_EQ(Bind(fd, path), 0);
  OK(listen(fd, backlog));
  return fd;
}

static void SetNonblocking(int fd) { OK(fcntl(fd, F_SETFL, O_NONBLOCK)); }

static int Option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  OK(getsockopt(fd, SOL_SOCKET, name, &value, &length));
  EXPECT_EQ(length, sizeof value);
  return value;
}

static int SetOption(int fd, int name, int value) {
  return setsockopt(fd, SOL_SOCKET, name, &value, sizeof value);
}

typedef struct {
  char buffer[CMSG_SPACE(300 * sizeof(int))] __attribute__((aligned(8)));
  struct iovec vector;
  struct msghdr header;
} Control;

static void Prepare(Control* c, void* data, size_t size) {
  memset(c, 0, sizeof *c);
  c->vector = (struct iovec){data, size};
  c->header = (struct msghdr){.msg_iov = &c->vector, .msg_iovlen = 1, .msg_control = c->buffer};
}

static long SendFds(int socket, const int* fds, int count, const char* text) {
  Control c;
  Prepare(&c, (void*)text, strlen(text));
  c.header.msg_controllen = CMSG_SPACE(count * sizeof(int));
  struct cmsghdr* message = CMSG_FIRSTHDR(&c.header);
  *message = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(message), fds, count * sizeof(int));
  return sendmsg(socket, &c.header, 0);
}

// Receives up to `size` bytes and returns the number of descriptors that came with them.
static int ReceiveFds(int socket, int* fds, void* data, size_t size, int flags) {
  Control c;
  Prepare(&c, data, size);
  c.header.msg_controllen = sizeof c.buffer;
  OK(recvmsg(socket, &c.header, flags));
  struct cmsghdr* message = CMSG_FIRSTHDR(&c.header);
  if (message == NULL) return 0;
  EXPECT_EQ(message->cmsg_type, SCM_RIGHTS);
  const int count = (int)((message->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  memcpy(fds, CMSG_DATA(message), count * sizeof(int));
  return count;
}

// --- making ---

TEST(families) {
  EXPECT_ERRNO(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
  EXPECT_ERRNO(socket(AF_UNIX, SOCK_STREAM, 77), EPROTONOSUPPORT);
  EXPECT_ERRNO(socket(AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL);
  EXPECT_ERRNO(socket(1000, SOCK_STREAM, 0), EAFNOSUPPORT);
  EXPECT_ERRNO(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
  EXPECT_ERRNO(socket(AF_UNIX, 15, 0), EINVAL);
  EXPECT(socket(AF_UNIX, SOCK_STREAM, AF_UNIX) >= 0);
}

TEST(flags_of_socket) {
  const int fd = Socket(SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
  int ends[2];
  Pair(ends, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
  EXPECT_EQ(fcntl(ends[1], F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(ends[1], F_GETFL), O_RDWR | O_NONBLOCK);
}

TEST(socketpair_bad_pointer) {
  const int before = dup(2);
  close(before);
  EXPECT_ERRNO(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD_POINTER), EFAULT);
  EXPECT_EQ(dup(2), before);
}

TEST(not_a_socket) {
  int ends[2];
  OK(pipe(ends));
  EXPECT_ERRNO(listen(ends[0], 1), ENOTSOCK);
  EXPECT_ERRNO(send(ends[0], "x", 1, 0), ENOTSOCK);
  EXPECT_ERRNO(recv(ends[0], ends, 1, 0), ENOTSOCK);
  EXPECT_ERRNO(shutdown(ends[0], SHUT_RD), ENOTSOCK);
  EXPECT_ERRNO(Connect(ends[0], "x"), ENOTSOCK);
  EXPECT_ERRNO(Bind(ends[0], "x"), ENOTSOCK);
  EXPECT_ERRNO(accept(ends[0], NULL, NULL), ENOTSOCK);
  EXPECT_ERRNO(accept4(ends[0], NULL, NULL, 0), ENOTSOCK);
  EXPECT_ERRNO(listen(999, 1), EBADF);
}

TEST(fstat_and_links) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  struct stat s, other;
  OK(fstat(ends[0], &s));
  OK(fstat(ends[1], &other));
  EXPECT(S_ISSOCK(s.st_mode));
  EXPECT_EQ(s.st_size, 0);
  EXPECT(s.st_ino != other.st_ino);
  char link[64], name[64], want[64];
  sprintf(link, "/proc/self/fd/%d", ends[0]);
  const long n = OK(readlink(link, name, sizeof name - 1));
  name[n] = 0;
  sprintf(want, "socket:[%lu]", (unsigned long)s.st_ino);
  EXPECT_STR(name, want);
  EXPECT_ERRNO(open(link, O_RDWR), ENXIO);
}

TEST(what_sockets_refuse) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char c;
  EXPECT_ERRNO(lseek(ends[0], 0, SEEK_SET), ESPIPE);
  EXPECT_ERRNO(pread(ends[0], &c, 1, 0), ESPIPE);
  EXPECT_ERRNO(pwrite(ends[0], &c, 1, 0), ESPIPE);
  EXPECT_ERRNO(ftruncate(ends[0], 0), EINVAL);
  EXPECT_ERRNO(fsync(ends[0]), EINVAL);
  EXPECT(mmap(NULL, 4096, PROT_READ, MAP_SHARED, ends[0], 0) == MAP_FAILED);
  EXPECT_EQ(errno, ENODEV);
}

// --- streams ---

TEST(stream_transfer) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char buffer[16];
  EXPECT_EQ(write(ends[0], "abc", 3), 3);
  EXPECT_EQ(send(ends[0], "defg", 4, 0), 4);
  EXPECT_EQ(read(ends[1], buffer, 5), 5);
  EXPECT(memcmp(buffer, "abcde", 5) == 0);
  EXPECT_EQ(recv(ends[1], buffer, sizeof buffer, 0), 2);
  EXPECT(memcmp(buffer, "fg", 2) == 0);
  EXPECT_EQ(write(ends[1], "back", 4), 4);
  EXPECT_EQ(read(ends[0], buffer, sizeof buffer), 4);
}

TEST(stream_vectors) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  struct iovec out[2] = {{"ab", 2}, {"cde", 3}};
  EXPECT_EQ(writev(ends[0], out, 2), 5);
  char a[1], b[8];
  struct iovec in[2] = {{a, 1}, {b, 8}};
  EXPECT_EQ(readv(ends[1], in, 2), 5);
  EXPECT(a[0] == 'a' && memcmp(b, "bcde", 4) == 0);
}

TEST(empty_transfers) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char c;
  EXPECT_EQ(read(ends[0], &c, 0), 0);
  EXPECT_EQ(write(ends[0], &c, 0), 0);
  EXPECT_EQ(send(ends[0], &c, 0, 0), 0);
  SetNonblocking(ends[1]);
  EXPECT_ERRNO(read(ends[1], &c, 1), EAGAIN);
  EXPECT_ERRNO(recv(ends[1], &c, 0, 0), EAGAIN);
}

TEST(stream_end) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char buffer[8];
  EXPECT_EQ(write(ends[0], "bye", 3), 3);
  close(ends[0]);
  EXPECT_EQ(Poll(ends[1], POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  EXPECT_EQ(read(ends[1], buffer, 8), 3);
  EXPECT_EQ(read(ends[1], buffer, 8), 0);
  EXPECT_EQ(read(ends[1], buffer, 8), 0);
}

TEST(write_after_end_raises_sigpipe) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  close(ends[1]);
  const pid_t child = FORK();
  if (child == 0) {
    (void)!write(ends[0], "x", 1);
    _exit(1);
  }
  EXPECT_KILLED(child, SIGPIPE);
  EXPECT_ERRNO(send(ends[0], "x", 1, MSG_NOSIGNAL), EPIPE);
  signal(SIGPIPE, SIG_IGN);
  EXPECT_ERRNO(write(ends[0], "x", 1), EPIPE);
}

TEST(unread_data_resets_the_peer) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char c;
  EXPECT_EQ(write(ends[0], "x", 1), 1);
  close(ends[1]);
  EXPECT_EQ(Poll(ends[0], POLLIN) & POLLERR, POLLERR);
  EXPECT_ERRNO(read(ends[0], &c, 1), ECONNRESET);
  EXPECT_EQ(read(ends[0], &c, 1), 0);
  EXPECT_EQ(Option(ends[0], SO_ERROR), 0);
}

TEST(so_error_tells_once) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_EQ(write(ends[0], "x", 1), 1);
  close(ends[1]);
  EXPECT_EQ(Option(ends[0], SO_ERROR), ECONNRESET);
  EXPECT_EQ(Option(ends[0], SO_ERROR), 0);
}

TEST(shutdown_write) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char c;
  OK(shutdown(ends[0], SHUT_WR));
  EXPECT_ERRNO(send(ends[0], "x", 1, MSG_NOSIGNAL), EPIPE);
  EXPECT_EQ(read(ends[1], &c, 1), 0);
  EXPECT_EQ(Poll(ends[1], POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
  EXPECT_EQ(write(ends[1], "y", 1), 1);
  EXPECT_EQ(read(ends[0], &c, 1), 1);
  EXPECT_ERRNO(shutdown(ends[0], 3), EINVAL);
  EXPECT_ERRNO(shutdown(ends[0], -1), EINVAL);
}

TEST(shutdown_read) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char c;
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  OK(shutdown(ends[0], SHUT_RD));
  EXPECT_EQ(read(ends[0], &c, 1), 1);  // what had come is still there
  EXPECT_EQ(read(ends[0], &c, 1), 0);
  EXPECT_ERRNO(send(ends[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(shutdown_wakes_a_reader) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char c;
  const pid_t child = FORK();
  if (child == 0) _exit(read(ends[0], &c, 1) == 0 ? 0 : 1);
  SleepMs(30);
  OK(shutdown(ends[1], SHUT_WR));
  EXPECT_EXIT(child, 0);
}

TEST(shutdown_of_an_unconnected_socket) {
  const int fd = Socket(SOCK_STREAM);
  OK(shutdown(fd, SHUT_RDWR));
}

TEST(unconnected_stream) {
  const int fd = Socket(SOCK_STREAM);
  char c;
  EXPECT_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
  EXPECT_ERRNO(recv(fd, &c, 1, 0), EINVAL);
  EXPECT_EQ(Poll(fd, POLLIN | POLLOUT), POLLOUT | POLLHUP);
  struct sockaddr_un name = UNIX("x");
  EXPECT_ERRNO(sendto(fd, "x", 1, 0, (struct sockaddr*)&name, sizeof name), EOPNOTSUPP);
  int ends[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_ERRNO(sendto(ends[0], "x", 1, 0, (struct sockaddr*)&name, sizeof name), EISCONN);
}

TEST(full_stream) {
  int ends[2];
  Pair(ends, SOCK_STREAM | SOCK_NONBLOCK);
  static char block[8192];
  long total = 0, n;
  while ((n = write(ends[0], block, sizeof block)) > 0) total += n;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT(total >= 65536);
  EXPECT_EQ(Poll(ends[0], POLLOUT), 0);
  while (total > 0) {
    n = OK(read(ends[1], block, sizeof block));
    total -= n;
  }
  EXPECT_EQ(Poll(ends[0], POLLOUT), POLLOUT);
  EXPECT_EQ(Poll(ends[1], POLLIN), 0);
}

TEST(large_write_blocks_until_read) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  enum { kSize = 3000000 };
  const pid_t child = FORK();
  if (child == 0) {
    char* data = calloc(1, kSize);
    _exit(write(ends[0], data, kSize) == kSize ? 0 : 1);
  }
  close(ends[0]);
  static char block[50000];
  long total = 0, n;
  while ((n = OK(read(ends[1], block, sizeof block))) > 0) total += n;
  EXPECT_EQ(total, kSize);
  EXPECT_EXIT(child, 0);
}

TEST(read_blocks_until_written) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(50);
    _exit(write(ends[0], "z", 1) == 1 ? 0 : 1);
  }
  char c = 0;
  EXPECT_EQ(read(ends[1], &c, 1), 1);
  EXPECT_EQ(c, 'z');
  EXPECT_EXIT(child, 0);
}

static void Nothing(int number) { (void)number; }

TEST(interrupted_read) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  struct sigaction action = {.sa_handler = Nothing};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval timer = {{0, 20000}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, NULL);
  char c;
  EXPECT_ERRNO(read(ends[0], &c, 1), EINTR);
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, NULL);
  struct timeval limit = {1, 0};
  OK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  EXPECT_ERRNO(read(ends[0], &c, 1), EINTR);  // never restarted with a timeout
}

TEST(receive_timeout) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  struct timeval limit = {0, 50000}, got;
  socklen_t length = sizeof got;
  OK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  OK(getsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &got, &length));
  EXPECT(got.tv_sec == 0 && got.tv_usec >= 48000 && got.tv_usec <= 60000);
  const int64_t start = NowMs();
  char c;
  EXPECT_ERRNO(recv(ends[0], &c, 1, 0), EAGAIN);
  EXPECT(NowMs() - start >= 40);
  limit.tv_usec = 1000000;
  EXPECT_ERRNO(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), EDOM);
  EXPECT_ERRNO(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, 8), EINVAL);
}

TEST(send_timeout) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  struct timeval limit = {0, 30000};
  OK(setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
  static char block[1 << 20];
  const long n = OK(write(ends[0], block, sizeof block));
  EXPECT(n > 0 && n < (long)sizeof block);
  EXPECT_ERRNO(write(ends[0], block, sizeof block), EAGAIN);
}

TEST(dontwait) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char c;
  EXPECT_ERRNO(recv(ends[0], &c, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(peek) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  char buffer[8];
  EXPECT_EQ(write(ends[0], "ab", 2), 2);
  EXPECT_EQ(write(ends[0], "cd", 2), 2);
  EXPECT_EQ(recv(ends[1], buffer, 8, MSG_PEEK), 4);
  EXPECT(memcmp(buffer, "abcd", 4) == 0);
  EXPECT_EQ(recv(ends[1], buffer, 3, MSG_PEEK), 3);
  EXPECT_EQ(recv(ends[1], buffer, 8, 0), 4);
}

TEST(waitall) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  const pid_t child = FORK();
  if (child == 0) {
    for (int i = 0; i < 3; i++) {
      SleepMs(20);
      if (write(ends[0], "abcd", 4) != 4) _exit(1);
    }
    _exit(0);
  }
  char buffer[16];
  EXPECT_EQ(recv(ends[1], buffer, 10, MSG_WAITALL), 10);
  EXPECT(memcmp(buffer, "abcdabcdab", 10) == 0);
  EXPECT_EXIT(child, 0);
  close(ends[0]);
  EXPECT_EQ(recv(ends[1], buffer, 10, MSG_WAITALL), 2);
}

TEST(low_water_mark) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_EQ(Option(ends[1], SO_RCVLOWAT), 1);
  EXPECT_EQ(SetOption(ends[1], SO_RCVLOWAT, 4), 0);
  EXPECT_EQ(Option(ends[1], SO_RCVLOWAT), 4);
  const pid_t child = FORK();
  if (child == 0) {
    for (int i = 0; i < 2; i++) {
      if (write(ends[0], "abc", 3) != 3) _exit(1);
      SleepMs(20);
    }
    _exit(0);
  }
  char buffer[8];
  EXPECT(OK(read(ends[1], buffer, 8)) >= 4);
  EXPECT_EXIT(child, 0);
}

TEST(bad_buffers) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_ERRNO(write(ends[0], BAD_POINTER, 4), EFAULT);
  EXPECT_EQ(write(ends[0], "data", 4), 4);
  EXPECT_ERRNO(read(ends[1], BAD_POINTER, 4), EFAULT);
  char buffer[8];
  EXPECT_EQ(read(ends[1], buffer, 8), 4);  // nothing was lost
}

TEST(bytes_to_read_and_send) {
  int ends[2], n = -1;
  Pair(ends, SOCK_STREAM);
  OK(ioctl(ends[1], FIONREAD, &n));
  EXPECT_EQ(n, 0);
  EXPECT_EQ(write(ends[0], "12345", 5), 5);
  EXPECT_EQ(write(ends[0], "678", 3), 3);
  OK(ioctl(ends[1], FIONREAD, &n));
  EXPECT_EQ(n, 8);
  OK(ioctl(ends[0], TIOCOUTQ, &n));
  EXPECT(n >= 8);
  char buffer[8];
  EXPECT_EQ(read(ends[1], buffer, 8), 8);
  OK(ioctl(ends[0], TIOCOUTQ, &n));
  EXPECT_EQ(n, 0);
  EXPECT_ERRNO(ioctl(ends[0], FIONREAD, BAD_POINTER), EFAULT);
}

TEST(sendfile_to_a_socket) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  WriteFile("f", "contents");
  const int fd = (int)OK(open("f", O_RDONLY));
  EXPECT_EQ(sendfile(ends[0], fd, NULL, 100), 8);
  char buffer[16];
  EXPECT_EQ(read(ends[1], buffer, 16), 8);
}

TEST(splice_with_a_socket) {
  int ends[2], tube[2];
  Pair(ends, SOCK_STREAM);
  OK(pipe(tube));
  EXPECT_EQ(write(ends[0], "through", 7), 7);
  EXPECT_EQ(splice(ends[1], NULL, tube[1], NULL, 100, 0), 7);
  EXPECT_EQ(splice(tube[0], NULL, ends[0], NULL, 7, 0), 7);
  char buffer[16];
  EXPECT_EQ(read(ends[1], buffer, 16), 7);
}

// --- names ---

TEST(bind_makes_a_node) {
  const int fd = Socket(SOCK_STREAM);
  EXPECT_EQ(Bind(fd, "s"), 0);
  struct stat s;
  OK(stat("s", &s));
  EXPECT_EQ(s.st_mode, S_IFSOCK | 0755);
  EXPECT_ERRNO(open("s", O_RDWR), ENXIO);
  EXPECT_ERRNO(Bind(fd, "t"), EINVAL);
  EXPECT_ERRNO(Bind(Socket(SOCK_STREAM), "s"), EADDRINUSE);
  close(fd);
  OK(stat("s", &s));  // the name stays
  EXPECT_ERRNO(Connect(Socket(SOCK_STREAM), "s"), ECONNREFUSED);
}

TEST(bind_errors) {
  const int fd = Socket(SOCK_STREAM);
  struct sockaddr_un name = UNIX("x");
  EXPECT_ERRNO(bind(fd, (struct sockaddr*)&name, 1), EINVAL);
  EXPECT_ERRNO(bind(fd, (struct sockaddr*)&name, sizeof name + 1), EINVAL);
  EXPECT_ERRNO(bind(fd, (struct sockaddr*)&name, -1), EINVAL);
  EXPECT_ERRNO(bind(fd, BAD_POINTER, sizeof name), EFAULT);
  name.sun_family = AF_INET;
  EXPECT_ERRNO(bind(fd, (struct sockaddr*)&name, sizeof name), EINVAL);
  EXPECT_ERRNO(Bind(fd, "none/x"), ENOENT);
  WriteFile("f", "");
  EXPECT_ERRNO(Bind(fd, "f/x"), ENOTDIR);
  EXPECT_ERRNO(Bind(fd, "f"), EADDRINUSE);
}

TEST(name_lengths) {
  const int fd = Socket(SOCK_STREAM);
  struct sockaddr_un name;
  socklen_t length = sizeof name;
  OK(getsockname(fd, (struct sockaddr*)&name, &length));
  EXPECT_EQ(length, 2);
  EXPECT_EQ(name.sun_family, AF_UNIX);
  EXPECT_EQ(Bind(fd, "abc"), 0);
  length = sizeof name;
  OK(getsockname(fd, (struct sockaddr*)&name, &length));
  EXPECT_EQ(length, 2 + 4);
  EXPECT_STR(name.sun_path, "abc");
  length = 3;
  name.sun_path[1] = '?';
  OK(getsockname(fd, (struct sockaddr*)&name, &length));
  EXPECT_EQ(length, 6);
  EXPECT_EQ(name.sun_path[1], '?');
  length = -1;
  EXPECT_ERRNO(getsockname(fd, (struct sockaddr*)&name, &length), EINVAL);
  EXPECT_ERRNO(getsockname(fd, (struct sockaddr*)&name, BAD_POINTER), EFAULT);
}

TEST(abstract_names) {
  struct sockaddr_un name, told;
  const socklen_t length = Abstract(&name);
  const int server = Socket(SOCK_STREAM);
  OK(bind(server, (struct sockaddr*)&name, length));
  EXPECT_ERRNO(bind(Socket(SOCK_STREAM), (struct sockaddr*)&name, length), EADDRINUSE);
  OK(listen(server, 1));
  const int client = Socket(SOCK_STREAM);
  OK(connect(client, (struct sockaddr*)&name, length));
  socklen_t got = sizeof told;
  OK(getpeername(client, (struct sockaddr*)&told, &got));
  EXPECT_EQ(got, length);
  EXPECT(memcmp(&name, &told, length) == 0);
  close(server);
  EXPECT_ERRNO(connect(Socket(SOCK_STREAM), (struct sockaddr*)&name, length), ECONNREFUSED);
  OK(bind(Socket(SOCK_STREAM), (struct sockaddr*)&name, length));  // free again
}

TEST(automatic_names) {
  const int a = Socket(SOCK_DGRAM), b = Socket(SOCK_DGRAM);
  struct sockaddr_un name = UNIX(""), other = UNIX("");
  OK(bind(a, (struct sockaddr*)&name, sizeof(sa_family_t)));
  OK(bind(b, (struct sockaddr*)&other, sizeof(sa_family_t)));
  socklen_t length = sizeof name;
  OK(getsockname(a, (struct sockaddr*)&name, &length));
  EXPECT_EQ(length, 2 + 6);
  EXPECT_EQ(name.sun_path[0], 0);
  length = sizeof other;
  OK(getsockname(b, (struct sockaddr*)&other, &length));
  EXPECT(memcmp(&name, &other, 8) != 0);
}

TEST(renamed_and_linked_names) {
  const int server = Listener("a", SOCK_STREAM, 5);
  OK(rename("a", "b"));
  EXPECT_EQ(Connect(Socket(SOCK_STREAM), "b"), 0);
  OK(link("b", "c"));
  OK(unlink("b"));
  EXPECT_EQ(Connect(Socket(SOCK_STREAM), "c"), 0);
  OK(symlink("c", "d"));
  EXPECT_EQ(Connect(Socket(SOCK_STREAM), "d"), 0);
  OK(unlink("c"));
  EXPECT_ERRNO(Connect(Socket(SOCK_STREAM), "d"), ENOENT);
  close(server);
}

TEST(connect_needs_write_permission) {
  Listener("s", SOCK_STREAM, 5);
  OK(chmod("s", 0644));
  OK(chmod(".", 0755));
  IN_CHILD({
    OK(setgid(12345));
    OK(setuid(12345));
    EXPECT_ERRNO(Connect(Socket(SOCK_STREAM), "s"), EACCES);
  });
}

// --- connections ---

TEST(connect_and_accept) {
  const int server = Listener("s", SOCK_STREAM, 5);
  const int client = Socket(SOCK_STREAM);
  EXPECT_EQ(Poll(server, POLLIN | POLLOUT), 0);
  EXPECT_EQ(Connect(client, "s"), 0);
  EXPECT_EQ(Poll(server, POLLIN), POLLIN);
  EXPECT_EQ(write(client, "early", 5), 5);
  struct sockaddr_un name;
  memset(&name, 'x', sizeof name);
  socklen_t length = sizeof name;
  const int fd = (int)OK(accept(server, (struct sockaddr*)&name, &length));
  EXPECT_EQ(length, 2);
  EXPECT_EQ(name.sun_family, AF_UNIX);
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR);
  char buffer[8];
  EXPECT_EQ(read(fd, buffer, 8), 5);
  length = sizeof name;
  OK(getsockname(fd, (struct sockaddr*)&name, &length));
  EXPECT_STR(name.sun_path, "s");
  EXPECT_ERRNO(Connect(client, "s"), EISCONN);
  EXPECT_ERRNO(Connect(server, "s"), EINVAL);
  EXPECT_ERRNO(listen(client, 1), EINVAL);
}

TEST(accept4_flags) {
  const int server = Listener("s", SOCK_STREAM, 5);
  EXPECT_EQ(Connect(Socket(SOCK_STREAM), "s"), 0);
  EXPECT_ERRNO(accept4(server, NULL, NULL, 1), EINVAL);
  const int fd = (int)OK(accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

TEST(accept_errors) {
  const int fd = Socket(SOCK_STREAM);
  EXPECT_ERRNO(accept(fd, NULL, NULL), EINVAL);
  EXPECT_ERRNO(listen(fd, 5), EINVAL);  // no name
  EXPECT_ERRNO(accept(Socket(SOCK_DGRAM), NULL, NULL), EOPNOTSUPP);
  EXPECT_ERRNO(listen(Socket(SOCK_DGRAM), 5), EOPNOTSUPP);
  const int server = Listener("s", SOCK_STREAM, 5);
  SetNonblocking(server);
  EXPECT_ERRNO(accept(server, NULL, NULL), EAGAIN);
  OK(shutdown(server, SHUT_RD));
  EXPECT_ERRNO(accept(server, NULL, NULL), EAGAIN);
  OK(fcntl(server, F_SETFL, 0));
  EXPECT_ERRNO(accept(server, NULL, NULL), EINVAL);
  EXPECT_ERRNO(Connect(Socket(SOCK_STREAM), "s"), ECONNREFUSED);
}

TEST(accept_blocks) {
  const int server = Listener("s", SOCK_STREAM, 5);
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(50);
    _exit(Connect(Socket(SOCK_STREAM), "s"));
  }
  OK(accept(server, NULL, NULL));
  EXPECT_EXIT(child, 0);
}

TEST(connect_errors) {
  const int fd = Socket(SOCK_STREAM);
  EXPECT_ERRNO(Connect(fd, "none"), ENOENT);
  WriteFile("f", "");
  EXPECT_ERRNO(Connect(fd, "f"), ECONNREFUSED);
  EXPECT_EQ(Bind(Socket(SOCK_STREAM), "unheard"), 0);
  EXPECT_ERRNO(Connect(fd, "unheard"), ECONNREFUSED);
  EXPECT_EQ(Bind(Socket(SOCK_DGRAM), "dgram"), 0);
  EXPECT_ERRNO(Connect(fd, "dgram"), EPROTOTYPE);
  struct sockaddr_un name = UNIX("");
  EXPECT_ERRNO(connect(fd, (struct sockaddr*)&name, 1), EINVAL);
  EXPECT_ERRNO(connect(fd, (struct sockaddr*)&name, 2), EINVAL);
  name.sun_family = AF_INET;
  EXPECT_ERRNO(connect(fd, (struct sockaddr*)&name, sizeof name), EINVAL);
  EXPECT_ERRNO(connect(fd, BAD_POINTER, sizeof name), EFAULT);
}

TEST(backlog) {
  const int server = Listener("s", SOCK_STREAM, 1);
  EXPECT_EQ(Connect(Socket(SOCK_STREAM), "s"), 0);
  EXPECT_EQ(Connect(Socket(SOCK_STREAM), "s"), 0);
  const int third = Socket(SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_ERRNO(Connect(third, "s"), EAGAIN);
  const pid_t child = FORK();
  if (child == 0) _exit(Connect(Socket(SOCK_STREAM), "s"));
  SleepMs(50);
  OK(accept(server, NULL, NULL));
  EXPECT_EXIT(child, 0);
  OK(accept(server, NULL, NULL));
  EXPECT_EQ(Connect(third, "s"), 0);
}

TEST(listener_that_closes_resets) {
  const int server = Listener("s", SOCK_STREAM, 5);
  const int client = Socket(SOCK_STREAM);
  EXPECT_EQ(Connect(client, "s"), 0);
  close(server);
  char c;
  EXPECT_ERRNO(read(client, &c, 1), ECONNRESET);
  EXPECT_EQ(read(client, &c, 1), 0);
}

TEST(connector_that_closes_early) {
  const int server = Listener("s", SOCK_STREAM, 5);
  const int client = Socket(SOCK_STREAM);
  EXPECT_EQ(Connect(client, "s"), 0);
  EXPECT_EQ(write(client, "last", 4), 4);
  close(client);
  const int fd = (int)OK(accept(server, NULL, NULL));
  char buffer[8];
  EXPECT_EQ(read(fd, buffer, 8), 4);
  EXPECT_EQ(read(fd, buffer, 8), 0);
}

TEST(peer_names) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  struct sockaddr_un name;
  socklen_t length = sizeof name;
  OK(getpeername(ends[0], (struct sockaddr*)&name, &length));
  EXPECT_EQ(length, 2);
  length = sizeof name;
  EXPECT_ERRNO(getpeername(Socket(SOCK_STREAM), (struct sockaddr*)&name, &length), ENOTCONN);
  EXPECT_EQ(Bind(ends[1], "named"), 0);
  length = sizeof name;
  OK(getpeername(ends[0], (struct sockaddr*)&name, &length));
  EXPECT_STR(name.sun_path, "named");
}

TEST(peer_credentials) {
  const int server = Listener("s", SOCK_STREAM, 5);
  const int client = Socket(SOCK_STREAM);
  struct ucred ids;
  socklen_t length = sizeof ids;
  OK(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &ids, &length));
  EXPECT(ids.pid == 0 && ids.uid == (uid_t)-1);
  const pid_t child = FORK();
  if (child == 0) {
    if (Connect(client, "s") != 0) _exit(1);
    SleepMs(5000);
    _exit(0);
  }
  const int fd = (int)OK(accept(server, NULL, NULL));
  length = sizeof ids;
  OK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ids, &length));
  EXPECT_EQ(ids.pid, child);
  EXPECT_EQ(ids.uid, geteuid());
  OK(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &ids, &length));
  EXPECT_EQ(ids.pid, getpid());
  kill(child, SIGKILL);
}

// --- datagrams ---

TEST(datagrams_keep_their_bounds) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  char buffer[16];
  EXPECT_EQ(send(ends[0], "one", 3, 0), 3);
  EXPECT_EQ(send(ends[0], "", 0, 0), 0);
  EXPECT_EQ(send(ends[0], "three", 5, 0), 5);
  EXPECT_EQ(recv(ends[1], buffer, 16, 0), 3);
  EXPECT_EQ(recv(ends[1], buffer, 16, 0), 0);
  EXPECT_EQ(recv(ends[1], buffer, 2, 0), 2);  // the rest is lost
  EXPECT_ERRNO(recv(ends[1], buffer, 2, MSG_DONTWAIT), EAGAIN);
}

TEST(datagram_truncation) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  char buffer[4];
  EXPECT_EQ(send(ends[0], "longer", 6, 0), 6);
  EXPECT_EQ(recv(ends[1], buffer, 4, MSG_PEEK | MSG_TRUNC), 6);
  struct iovec vector = {buffer, 4};
  struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
  EXPECT_EQ(recvmsg(ends[1], &header, 0), 4);
  EXPECT_EQ(header.msg_flags, MSG_TRUNC);
}

TEST(datagrams_by_name) {
  const int a = Socket(SOCK_DGRAM), b = Socket(SOCK_DGRAM);
  EXPECT_EQ(Bind(a, "a"), 0);
  EXPECT_EQ(Bind(b, "b"), 0);
  struct sockaddr_un to = UNIX("b"), from;
  EXPECT_EQ(sendto(a, "hi", 2, 0, (struct sockaddr*)&to, sizeof to), 2);
  char buffer[8];
  socklen_t length = sizeof from;
  EXPECT_EQ(recvfrom(b, buffer, 8, 0, (struct sockaddr*)&from, &length), 2);
  EXPECT_EQ(length, 4);
  EXPECT_STR(from.sun_path, "a");
  EXPECT_EQ(sendto(b, "re", 2, 0, (struct sockaddr*)&from, length), 2);
  EXPECT_EQ(read(a, buffer, 8), 2);
  to = UNIX("c");
  EXPECT_ERRNO(sendto(a, "hi", 2, 0, (struct sockaddr*)&to, sizeof to), ENOENT);
  EXPECT_ERRNO(send(a, "hi", 2, 0), ENOTCONN);
  // Without a name there is nobody to answer.
  to = UNIX("b");
  EXPECT_EQ(sendto(Socket(SOCK_DGRAM), "x", 1, 0, (struct sockaddr*)&to, sizeof to), 1);
  length = sizeof from;
  EXPECT_EQ(recvfrom(b, buffer, 8, 0, (struct sockaddr*)&from, &length), 1);
  EXPECT_EQ(length, 0);
}

TEST(datagram_peers) {
  const int server = Socket(SOCK_DGRAM), client = Socket(SOCK_DGRAM), third = Socket(SOCK_DGRAM);
  EXPECT_EQ(Bind(server, "server"), 0);
  EXPECT_EQ(Bind(client, "client"), 0);
  EXPECT_EQ(Connect(client, "server"), 0);
  EXPECT_EQ(send(client, "x", 1, 0), 1);
  EXPECT_EQ(Connect(server, "client"), 0);
  EXPECT_ERRNO(Connect(third, "server"), EPERM);
  struct sockaddr_un to = UNIX("server");
  EXPECT_ERRNO(sendto(third, "x", 1, 0, (struct sockaddr*)&to, sizeof to), EPERM);
  to.sun_family = AF_UNSPEC;
  OK(connect(client, (struct sockaddr*)&to, sizeof to.sun_family));
  EXPECT_ERRNO(send(client, "x", 1, 0), ENOTCONN);
}

TEST(datagram_receiver_that_has_gone) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  close(ends[1]);
  EXPECT_ERRNO(send(ends[0], "x", 1, 0), ECONNREFUSED);
  EXPECT_ERRNO(send(ends[0], "x", 1, 0), ENOTCONN);
}

TEST(datagram_too_long) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  static char big[1 << 20];
  EXPECT_ERRNO(send(ends[0], big, sizeof big, 0), EMSGSIZE);
  EXPECT_EQ(send(ends[0], big, 60000, 0), 60000);
}

TEST(datagram_epipe_without_signal) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  OK(shutdown(ends[0], SHUT_WR));
  EXPECT_ERRNO(send(ends[0], "x", 1, 0), EPIPE);
  EXPECT_ERRNO(write(ends[0], "x", 1), EPIPE);
}

TEST(full_datagram_queue) {
  const int server = Socket(SOCK_DGRAM), client = Socket(SOCK_DGRAM | SOCK_NONBLOCK);
  EXPECT_EQ(Bind(server, "s"), 0);
  EXPECT_EQ(Connect(client, "s"), 0);
  int sent = 0;
  while (send(client, "x", 1, 0) == 1) sent++;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT(sent > 5);
  EXPECT_EQ(Poll(client, POLLOUT), 0);
  const pid_t child = FORK();
  if (child == 0) {
    OK(fcntl(client, F_SETFL, 0));
    _exit(send(client, "y", 1, 0) == 1 ? 0 : 1);
  }
  SleepMs(30);
  char c;
  for (int i = 0; i < sent; i++) EXPECT_EQ(read(server, &c, 1), 1);
  EXPECT_EXIT(child, 0);
  EXPECT_EQ(Poll(client, POLLOUT), POLLOUT);
}

// --- sequenced packets ---

TEST(seqpacket) {
  const int server = Listener("s", SOCK_SEQPACKET, 5);
  const int client = Socket(SOCK_SEQPACKET);
  char buffer[16];
  EXPECT_ERRNO(send(client, "x", 1, 0), ENOTCONN);
  EXPECT_ERRNO(recv(client, buffer, 1, 0), ENOTCONN);
  EXPECT_EQ(Connect(client, "s"), 0);
  const int fd = (int)OK(accept(server, NULL, NULL));
  EXPECT_EQ(write(client, "one", 3), 3);
  EXPECT_EQ(write(client, "two!", 4), 4);
  EXPECT_EQ(read(fd, buffer, 2), 2);
  EXPECT_EQ(read(fd, buffer, 16), 4);
  close(client);
  EXPECT_EQ(read(fd, buffer, 16), 0);
  EXPECT_ERRNO(write(fd, "x", 1), EPIPE);  // and no signal
}

// --- options ---

TEST(fixed_options) {
  int ends[2];
  Pair(ends, SOCK_SEQPACKET);
  EXPECT_EQ(Option(ends[0], SO_TYPE), SOCK_SEQPACKET);
  EXPECT_EQ(Option(ends[0], SO_DOMAIN), AF_UNIX);
  EXPECT_EQ(Option(ends[0], SO_PROTOCOL), 0);
  EXPECT_EQ(Option(ends[0], SO_ACCEPTCONN), 0);
  EXPECT_EQ(Option(Listener("s", SOCK_STREAM, 1), SO_ACCEPTCONN), 1);
  EXPECT_ERRNO(SetOption(ends[0], SO_TYPE, 1), ENOPROTOOPT);
  EXPECT_ERRNO(SetOption(ends[0], SO_ERROR, 1), ENOPROTOOPT);
}

TEST(buffer_sizes) {
  const int fd = Socket(SOCK_STREAM);
  EXPECT_EQ(SetOption(fd, SO_SNDBUF, 50000), 0);
  EXPECT_EQ(Option(fd, SO_SNDBUF), 100000);
  EXPECT_EQ(SetOption(fd, SO_SNDBUF, 1), 0);
  EXPECT_EQ(Option(fd, SO_SNDBUF), 4608);
  EXPECT_EQ(SetOption(fd, SO_RCVBUF, 1), 0);
  EXPECT_EQ(Option(fd, SO_RCVBUF), 2304);
  EXPECT_EQ(SetOption(fd, SO_RCVBUF, 30000), 0);
  EXPECT_EQ(Option(fd, SO_RCVBUF), 60000);
  EXPECT_EQ(SetOption(fd, SO_SNDBUF, 1 << 30), 0);
  EXPECT(Option(fd, SO_SNDBUF) < 1 << 30);
}

TEST(small_send_buffer_bounds) {
  int ends[2];
  Pair(ends, SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_EQ(SetOption(ends[0], SO_SNDBUF, 4096), 0);
  static char block[100000];
  const long n = OK(write(ends[0], block, sizeof block));
  EXPECT(n < 20000);
}

TEST(switches) {
  const int fd = Socket(SOCK_STREAM);
  static const int names[] = {SO_REUSEADDR, SO_KEEPALIVE, SO_BROADCAST,
                              SO_DONTROUTE, SO_OOBINLINE, SO_PASSCRED};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    EXPECT_EQ(Option(fd, names[i]), 0);
    EXPECT_EQ(SetOption(fd, names[i], 7), 0);
    EXPECT_EQ(Option(fd, names[i]), 1);
    EXPECT_EQ(SetOption(fd, names[i], 0), 0);
    EXPECT_EQ(Option(fd, names[i]), 0);
  }
  struct linger linger = {1, 5}, got;
  socklen_t length = sizeof got;
  OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
  OK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &length));
  EXPECT(got.l_onoff == 1 && got.l_linger == 5);
}

TEST(option_errors) {
  const int fd = Socket(SOCK_STREAM);
  int value = 1;
  socklen_t length = sizeof value;
  EXPECT_ERRNO(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 2), EINVAL);
  EXPECT_ERRNO(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, BAD_POINTER, 4), EFAULT);
  EXPECT_ERRNO(setsockopt(fd, SOL_SOCKET, 9999, &value, 4), ENOPROTOOPT);
  EXPECT_ERRNO(getsockopt(fd, SOL_SOCKET, 9999, &value, &length), ENOPROTOOPT);
  EXPECT_ERRNO(getsockopt(fd, IPPROTO_TCP, 1, &value, &length), EOPNOTSUPP);
  length = -1;
  EXPECT_ERRNO(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length), EINVAL);
  length = 1;
  value = 0;
  OK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length));
  EXPECT_EQ(length, 1);
  EXPECT_EQ(value, SOCK_STREAM);
}

// --- messages ---

TEST(message_vectors) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  struct iovec out[3] = {{"a", 1}, {"", 0}, {"bc", 2}};
  struct msghdr header = {.msg_iov = out, .msg_iovlen = 3};
  EXPECT_EQ(sendmsg(ends[0], &header, 0), 3);
  char a[2], b[2];
  struct iovec in[2] = {{a, 2}, {b, 2}};
  header = (struct msghdr){.msg_iov = in, .msg_iovlen = 2, .msg_flags = -1};
  EXPECT_EQ(recvmsg(ends[1], &header, 0), 3);
  EXPECT_EQ(header.msg_flags, 0);
  EXPECT(a[0] == 'a' && a[1] == 'b' && b[0] == 'c');
  header.msg_iovlen = 1025;
  EXPECT_ERRNO(sendmsg(ends[0], &header, 0), EMSGSIZE);
  EXPECT_ERRNO(recvmsg(ends[0], BAD_POINTER, 0), EFAULT);
}

TEST(rights) {
  int ends[2], tube[2], got[4];
  char buffer[8];
  Pair(ends, SOCK_STREAM);
  OK(pipe(tube));
  EXPECT_EQ(SendFds(ends[0], tube, 2, "x"), 1);
  close(tube[1]);
  EXPECT_EQ(ReceiveFds(ends[1], got, buffer, 8, 0), 2);
  EXPECT_EQ(fcntl(got[0], F_GETFD), 0);
  EXPECT_EQ(write(got[1], "via", 3), 3);
  EXPECT_EQ(read(tube[0], buffer, 8), 3);
}

TEST(rights_cloexec) {
  int ends[2], got[4];
  char buffer[8];
  Pair(ends, SOCK_DGRAM);
  EXPECT_EQ(SendFds(ends[0], ends, 1, "x"), 1);
  EXPECT_EQ(ReceiveFds(ends[1], got, buffer, 8, MSG_CMSG_CLOEXEC), 1);
  EXPECT_EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
}

TEST(rights_split_streams) {
  int ends[2], got[4];
  char buffer[16];
  Pair(ends, SOCK_STREAM);
  EXPECT_EQ(write(ends[0], "ab", 2), 2);
  EXPECT_EQ(SendFds(ends[0], ends, 1, "cd"), 2);
  EXPECT_EQ(write(ends[0], "ef", 2), 2);
  // As far as the message with descriptors, and no farther.
  EXPECT_EQ(ReceiveFds(ends[1], got, buffer, 16, 0), 1);
  EXPECT_EQ(recv(ends[1], buffer, 16, 0), 2);
  EXPECT(memcmp(buffer, "ef", 2) == 0);
}

TEST(rights_that_nobody_wants) {
  int ends[2], tube[2];
  char c;
  Pair(ends, SOCK_STREAM);
  OK(pipe(tube));
  EXPECT_EQ(SendFds(ends[0], &tube[1], 1, "x"), 1);
  close(tube[1]);
  SetNonblocking(tube[0]);
  EXPECT_ERRNO(read(tube[0], &c, 1), EAGAIN);
  EXPECT_EQ(read(ends[1], &c, 1), 1);  // read(2) drops what is not bytes
  EXPECT_EQ(read(tube[0], &c, 1), 0);
}

TEST(rights_truncated) {
  int ends[2], tube[2];
  Pair(ends, SOCK_STREAM);
  OK(pipe(tube));
  EXPECT_EQ(SendFds(ends[0], tube, 2, "x"), 1);
  char data[8];
  Control c;
  Prepare(&c, data, sizeof data);
  c.header.msg_controllen = CMSG_LEN(sizeof(int));
  EXPECT_EQ(recvmsg(ends[1], &c.header, 0), 1);
  EXPECT_EQ(c.header.msg_flags, MSG_CTRUNC);
  EXPECT_EQ(c.header.msg_controllen, CMSG_LEN(sizeof(int)));
  EXPECT_EQ(SendFds(ends[0], tube, 2, "x"), 1);
  c.header.msg_control = NULL;
  c.header.msg_controllen = 0;
  EXPECT_EQ(recvmsg(ends[1], &c.header, 0), 1);
  EXPECT_EQ(c.header.msg_flags, MSG_CTRUNC);
}

TEST(rights_peeked) {
  int ends[2], first[2], second[2];
  char buffer[8];
  Pair(ends, SOCK_STREAM);
  EXPECT_EQ(SendFds(ends[0], ends, 1, "x"), 1);
  EXPECT_EQ(ReceiveFds(ends[1], first, buffer, 8, MSG_PEEK), 1);
  EXPECT_EQ(ReceiveFds(ends[1], second, buffer, 8, 0), 1);
  EXPECT(first[0] != second[0]);
}

TEST(rights_errors) {
  int ends[2], bad = 999, many[254];
  Pair(ends, SOCK_STREAM);
  EXPECT_ERRNO(SendFds(ends[0], &bad, 1, "x"), EBADF);
  for (int i = 0; i < 254; i++) many[i] = ends[0];
  EXPECT_ERRNO(SendFds(ends[0], many, 254, "x"), EINVAL);
  EXPECT_EQ(SendFds(ends[0], many, 253, "x"), 1);
  Control c;
  Prepare(&c, "x", 1);
  c.header.msg_controllen = CMSG_SPACE(4);
  struct cmsghdr* message = CMSG_FIRSTHDR(&c.header);
  *message = (struct cmsghdr){CMSG_LEN(4) + 100, SOL_SOCKET, SCM_RIGHTS};
  EXPECT_ERRNO(sendmsg(ends[0], &c.header, 0), EINVAL);
  *message = (struct cmsghdr){3, SOL_SOCKET, SCM_RIGHTS};
  EXPECT_ERRNO(sendmsg(ends[0], &c.header, 0), EINVAL);
  *message = (struct cmsghdr){CMSG_LEN(4), SOL_SOCKET, 77};
  EXPECT_ERRNO(sendmsg(ends[0], &c.header, 0), EINVAL);
}

TEST(rights_survive_the_sender) {
  int ends[2], tube[2], got[2];
  char buffer[8];
  Pair(ends, SOCK_STREAM);
  OK(pipe(tube));
  IN_CHILD({
    EXPECT_EQ(SendFds(ends[0], &tube[0], 1, "x"), 1);
    EXPECT_EQ(write(tube[1], "kept", 4), 4);
  });
  close(tube[0]);
  EXPECT_EQ(ReceiveFds(ends[1], got, buffer, 8, 0), 1);
  EXPECT_EQ(read(got[0], buffer, 8), 4);
}

// Sockets that only their own queue knows go away: what they carry is closed, too.
TEST(cycle_of_rights_is_collected) {
  int ends[2], tube[2];
  char c;
  Pair(ends, SOCK_STREAM);
  OK(pipe(tube));
  const int carried[2] = {ends[1], tube[1]};
  EXPECT_EQ(SendFds(ends[0], carried, 2, "x"), 1);  // into the queue of ends[1]
  close(tube[1]);
  close(ends[1]);
  close(ends[0]);
  SetNonblocking(tube[0]);
  for (int i = 0; i < 1000 && read(tube[0], &c, 1) != 0; i++) {
    close(Socket(SOCK_STREAM));
    SleepMs(1);
  }
  EXPECT_EQ(read(tube[0], &c, 1), 0);
}

TEST(flying_socket_is_not_collected) {
  int ends[2], inner[2], got[2];
  char buffer[8];
  Pair(ends, SOCK_STREAM);
  Pair(inner, SOCK_STREAM);
  EXPECT_EQ(SendFds(inner[0], &inner[1], 1, "in"), 2);  // a cycle
  EXPECT_EQ(SendFds(ends[0], &inner[1], 1, "out"), 3);  // that can be reached
  close(inner[1]);
  close(inner[0]);
  for (int i = 0; i < 10; i++) close(Socket(SOCK_STREAM));
  EXPECT_EQ(ReceiveFds(ends[1], got, buffer, 8, 0), 1);
  int again[2];
  EXPECT_EQ(ReceiveFds(got[0], again, buffer, 8, 0), 1);
  EXPECT(memcmp(buffer, "in", 2) == 0);
}

TEST(long_chain_of_rights) {
  // Each socket in flight to the next one; the last close ends them all.
  int outer[2];
  Pair(outer, SOCK_DGRAM);
  for (int i = 0; i < 2000; i++) {
    int next[2];
    Pair(next, SOCK_DGRAM);
    if (SendFds(next[0], &outer[1], 1, "x") != 1) {
      EXPECT_EQ(errno, ETOOMANYREFS);
      break;
    }
    close(outer[0]);
    close(outer[1]);
    outer[0] = next[0];
    outer[1] = next[1];
  }
  close(outer[0]);
  close(outer[1]);
}

TEST(credentials) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_EQ(SetOption(ends[1], SO_PASSCRED, 1), 0);
  const pid_t child = FORK();
  if (child == 0) _exit(write(ends[0], "x", 1) == 1 ? 0 : 1);
  char data[8];
  Control c;
  Prepare(&c, data, sizeof data);
  c.header.msg_controllen = sizeof c.buffer;
  EXPECT_EQ(recvmsg(ends[1], &c.header, 0), 1);
  struct cmsghdr* message = CMSG_FIRSTHDR(&c.header);
  EXPECT(message != NULL);
  EXPECT_EQ(message->cmsg_type, SCM_CREDENTIALS);
  EXPECT_EQ(message->cmsg_len, CMSG_LEN(sizeof(struct ucred)));
  struct ucred ids;
  memcpy(&ids, CMSG_DATA(message), sizeof ids);
  EXPECT_EQ(ids.pid, child);
  EXPECT_EQ(ids.uid, getuid());
  EXPECT_EXIT(child, 0);
}

static long SendIds(int fd, struct ucred ids) {
  Control c;
  Prepare(&c, "x", 1);
  c.header.msg_controllen = CMSG_SPACE(sizeof ids);
  struct cmsghdr* message = CMSG_FIRSTHDR(&c.header);
  *message = (struct cmsghdr){CMSG_LEN(sizeof ids), SOL_SOCKET, SCM_CREDENTIALS};
  memcpy(CMSG_DATA(message), &ids, sizeof ids);
  return sendmsg(fd, &c.header, 0);
}

TEST(explicit_credentials) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  EXPECT_EQ(SendIds(ends[0], (struct ucred){getpid(), getuid(), getgid()}), 1);
  IN_CHILD({
    OK(setgid(12345));
    OK(setuid(12345));
    EXPECT_ERRNO(SendIds(ends[0], (struct ucred){getpid(), 0, 12345}), EPERM);
    EXPECT_ERRNO(SendIds(ends[0], (struct ucred){getppid(), 12345, 12345}), EPERM);
    EXPECT_EQ(SendIds(ends[0], (struct ucred){getpid(), 12345, 12345}), 1);
  });
}

TEST(streams_of_two_writers_are_not_glued) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_EQ(SetOption(ends[1], SO_PASSCRED, 1), 0);
  EXPECT_EQ(write(ends[0], "me", 2), 2);
  IN_CHILD(EXPECT_EQ(write(ends[0], "child", 5), 5));
  char data[16];
  Control c;
  Prepare(&c, data, sizeof data);
  c.header.msg_controllen = sizeof c.buffer;
  EXPECT_EQ(recvmsg(ends[1], &c.header, 0), 2);
  EXPECT_EQ(read(ends[1], data, 16), 5);
}

TEST(multiple_messages) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  struct iovec out[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
  struct mmsghdr messages[3];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < 3; i++)
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
  EXPECT_EQ(sendmmsg(ends[0], messages, 3, 0), 3);
  EXPECT_EQ(messages[2].msg_len, 3);
  char buffers[4][8];
  struct iovec in[4];
  struct mmsghdr got[4];
  memset(got, 0, sizeof got);
  for (int i = 0; i < 4; i++) {
    in[i] = (struct iovec){buffers[i], 8};
    got[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
  }
  EXPECT_EQ(recvmmsg(ends[1], got, 4, MSG_WAITFORONE, NULL), 3);
  EXPECT_EQ(got[1].msg_len, 2);
  struct timespec limit = {1, 0};
  EXPECT_ERRNO(recvmmsg(ends[1], got, 4, MSG_DONTWAIT, &limit), EAGAIN);
  limit.tv_nsec = -1;
  EXPECT_ERRNO(recvmmsg(ends[1], got, 4, MSG_DONTWAIT, &limit), EINVAL);
}

// --- readiness ---

TEST(edge_triggered) {
  int ends[2];
  Pair(ends, SOCK_STREAM | SOCK_NONBLOCK);
  const int epoll = (int)OK(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP}, got;
  OK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 1);
  EXPECT_EQ(got.events, EPOLLOUT);
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 0);
  EXPECT_EQ(write(ends[1], "a", 1), 1);
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 1);
  EXPECT_EQ(got.events, EPOLLIN | EPOLLOUT);
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 0);
  EXPECT_EQ(write(ends[1], "b", 1), 1);  // more of the same is an edge
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 1);
  char buffer[8];
  EXPECT_EQ(read(ends[0], buffer, 8), 2);
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 0);
  close(ends[1]);
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 1);
  EXPECT_EQ(got.events, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP);
}

TEST(edge_of_room) {
  int ends[2];
  Pair(ends, SOCK_STREAM | SOCK_NONBLOCK);
  const int epoll = (int)OK(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLOUT | EPOLLET}, got;
  OK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 1);
  static char block[4096];
  while (write(ends[0], block, sizeof block) > 0) {
  }
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 0);
  while (read(ends[1], block, sizeof block) > 0) {
  }
  EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 1);
  EXPECT_EQ(got.events, EPOLLOUT);
}

TEST(poll_wakes) {
  const int server = Listener("s", SOCK_STREAM, 5);
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(30);
    const int fd = Socket(SOCK_STREAM);
    _exit(Connect(fd, "s") != 0 || write(fd, "x", 1) != 1);
  }
  struct pollfd entry = {server, POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 5000), 1);
  const int fd = (int)OK(accept(server, NULL, NULL));
  entry = (struct pollfd){fd, POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 5000), 1);
  EXPECT_EXIT(child, 0);
}

static void* CloseLater(void* fd) {
  SleepMs(30);
  close(*(int*)fd);
  return NULL;
}

TEST(peer_close_wakes_a_writer) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  signal(SIGPIPE, SIG_IGN);
  pthread_t thread;
  EXPECT_EQ(pthread_create(&thread, NULL, CloseLater, &ends[1]), 0);
  static char block[1 << 20];
  const long n = write(ends[0], block, sizeof block);
  EXPECT(n > 0 && n < (long)sizeof block);
  pthread_join(thread, NULL);
}

TEST(proc_net_unix) {
  Listener("listed", SOCK_STREAM, 1);
  static char text[1 << 16];
  EXPECT(ReadFile("/proc/net/unix", text, sizeof text));
  EXPECT(strncmp(text, "Num       RefCount Protocol Flags    Type St Inode Path\n", 56) == 0);
  const char* line = strstr(text, " listed\n");
  EXPECT(line != NULL);
  char* start = (char*)line;
  while (start[-1] != '\n') start--;
  unsigned flags, type, state;
  EXPECT_EQ(sscanf(start, "%*x: %*x %*x %x %x %x", &flags, &type, &state), 3);
  EXPECT(flags == 0x10000 && type == 1 && state == 1);
}

TEST(echo_between_threads_many_times) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  const pid_t child = FORK();
  if (child == 0) {
    close(ends[0]);
    char c;
    while (read(ends[1], &c, 1) == 1) (void)!write(ends[1], &c, 1);
    _exit(0);
  }
  close(ends[1]);
  for (int i = 0; i < 2000; i++) {
    char c = (char)i, got = 0;
    EXPECT_EQ(write(ends[0], &c, 1), 1);
    EXPECT_EQ(read(ends[0], &got, 1), 1);
    EXPECT_EQ(got, c);
  }
  close(ends[0]);
  EXPECT_EXIT(child, 0);
}

TEST(buffers_are_freed) {
  // Many sockets, each with a full queue that nobody reads, one after the other.
  static char block[32768];
  for (int i = 0; i < 2000; i++) {
    int ends[2];
    Pair(ends, SOCK_STREAM | SOCK_NONBLOCK);
    int rounds = 0;
    while (write(ends[0], block, sizeof block) > 0) rounds++;
    EXPECT(rounds > 0);
    close(ends[0]);
    close(ends[1]);
  }
}
