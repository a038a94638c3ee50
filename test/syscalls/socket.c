// Unix sockets: making, streams, names: unix(7), socket(2), socket(7), connect(2), accept(2).
#include "unix_sockets.h"

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
