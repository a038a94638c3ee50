// Unix sockets: datagrams, options, descriptors and credentials in messages, readiness: unix(7),
// socket(7), send(2), recv(2), cmsg(3), epoll(7).
#include "unix_sockets.h"

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
