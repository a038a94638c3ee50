// Out-of-band data of unix streams (MSG_OOB, SIOCATMARK) and SO_PEEK_OFF: socket(7), unix(7).
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "unix_sockets.h"

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

static int AtMark(int fd) {
  int at = -1;
  OK(ioctl(fd, SIOCATMARK, &at));
  return at;
}

static int Pending(int fd) {
  int bytes = -1;
  OK(ioctl(fd, SIOCINQ, &bytes));
  return bytes;
}

static int Urgent(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLPRI};
  poll(&p, 1, 0);
  return (p.revents & POLLPRI) != 0;
}

// What one recv(2) gives, as a string.
static const char* Take(int fd, int flags) {
  static char buffer[100];
  const ssize_t n = recv(fd, buffer, sizeof buffer - 1, flags | MSG_DONTWAIT);
  if (n < 0) return strerrorname_np(errno);
  buffer[n] = 0;
  return buffer;
}

static void Say(int fd, const char* text, int flags) {
  EXPECT_EQ(send(fd, text, strlen(text), flags), (ssize_t)strlen(text));
}

TEST(urgent_byte_is_taken_apart) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "hello", MSG_OOB);  // the last byte is the urgent one
  EXPECT(Urgent(ends[1]));
  EXPECT_EQ(AtMark(ends[1]), 0);
  EXPECT_EQ(Pending(ends[1]), 5);
  EXPECT_STR(Take(ends[1], MSG_OOB | MSG_PEEK), "o");
  EXPECT_STR(Take(ends[1], MSG_OOB), "o");
  EXPECT(!Urgent(ends[1]));
  EXPECT_STR(Take(ends[1], MSG_OOB), "EINVAL");
  EXPECT_EQ(Pending(ends[1]), 4);
  EXPECT_STR(Take(ends[1], 0), "hell");
  EXPECT_STR(Take(ends[1], 0), "EAGAIN");
}

TEST(reading_stops_at_the_mark_and_skips_it) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "ab!", MSG_OOB);
  Say(ends[0], "cd", 0);
  EXPECT_STR(Take(ends[1], MSG_PEEK), "ab");
  EXPECT_STR(Take(ends[1], 0), "ab");
  EXPECT_EQ(AtMark(ends[1]), 1);
  EXPECT_STR(Take(ends[1], MSG_PEEK), "cd");
  EXPECT_EQ(AtMark(ends[1]), 1);
  EXPECT(Urgent(ends[1]));
  EXPECT_STR(Take(ends[1], 0), "cd");
  EXPECT(!Urgent(ends[1]));
  EXPECT_STR(Take(ends[1], MSG_OOB), "EINVAL");
  EXPECT_EQ(AtMark(ends[1]), 0);
}

TEST(urgent_byte_taken_before_the_mark_is_reached) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "ab!", MSG_OOB);
  Say(ends[0], "cd", 0);
  EXPECT_STR(Take(ends[1], MSG_OOB), "!");
  EXPECT_STR(Take(ends[1], 0), "ab");  // the mark is still there
  EXPECT_EQ(AtMark(ends[1]), 1);
  EXPECT_STR(Take(ends[1], 0), "cd");
}

TEST(urgent_byte_in_line) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  const int one = 1;
  OK(setsockopt(ends[1], SOL_SOCKET, SO_OOBINLINE, &one, sizeof one));
  Say(ends[0], "ab!", MSG_OOB);
  Say(ends[0], "cd", 0);
  EXPECT_STR(Take(ends[1], MSG_OOB), "EINVAL");
  EXPECT(Urgent(ends[1]));
  EXPECT_STR(Take(ends[1], 0), "ab");
  EXPECT_EQ(AtMark(ends[1]), 1);
  EXPECT_STR(Take(ends[1], 0), "!cd");
  EXPECT(!Urgent(ends[1]));
}

TEST(a_second_urgent_byte_replaces_the_first) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "a1", MSG_OOB);
  Say(ends[0], "b2", MSG_OOB);
  EXPECT_STR(Take(ends[1], MSG_OOB), "2");
  EXPECT_STR(Take(ends[1], MSG_OOB), "EINVAL");
  EXPECT_STR(Take(ends[1], 0), "a1b");
  EXPECT_STR(Take(ends[1], 0), "EAGAIN");
}

TEST(only_an_urgent_byte) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "!", MSG_OOB);
  EXPECT_EQ(AtMark(ends[1]), 1);
  EXPECT_STR(Take(ends[1], MSG_OOB), "!");
  EXPECT_STR(Take(ends[1], 0), "EAGAIN");
  Say(ends[0], "x", 0);
  EXPECT_STR(Take(ends[1], 0), "x");
  Say(ends[0], "!", MSG_OOB);
  EXPECT_STR(Take(ends[1], 0), "EAGAIN");  // and it is lost
  EXPECT_STR(Take(ends[1], MSG_OOB), "EINVAL");
}

TEST(the_end_after_an_urgent_byte) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "a!", MSG_OOB);
  close(ends[0]);
  EXPECT_STR(Take(ends[1], 0), "a");
  EXPECT_STR(Take(ends[1], MSG_OOB), "!");
  EXPECT_STR(Take(ends[1], 0), "");
}

TEST(recvmsg_says_that_it_is_urgent) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "a!", MSG_OOB);
  char byte[5];
  struct iovec vector = {byte, sizeof byte};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  EXPECT_EQ(recvmsg(ends[1], &message, MSG_OOB), 1);
  EXPECT_EQ(message.msg_flags, MSG_OOB);
  EXPECT_EQ(byte[0], '!');
}

TEST(urgent_byte_errors) {
  int ends[2], packets[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_STR(Take(ends[1], MSG_OOB), "EINVAL");
  EXPECT_ERRNO(send(ends[0], "", 0, MSG_OOB), EOPNOTSUPP);
  Pair(packets, SOCK_DGRAM);
  EXPECT_ERRNO(send(packets[0], "x", 1, MSG_OOB), EOPNOTSUPP);
  EXPECT_STR(Take(packets[1], MSG_OOB), "EOPNOTSUPP");
  Pair(packets, SOCK_SEQPACKET);
  EXPECT_ERRNO(send(packets[0], "x", 1, MSG_OOB), EOPNOTSUPP);
  EXPECT_STR(Take(packets[1], MSG_OOB), "EOPNOTSUPP");
  const int alone = Socket(SOCK_STREAM);
  EXPECT_STR(Take(alone, MSG_OOB), "EINVAL");
  EXPECT_ERRNO(send(alone, "x", 1, MSG_OOB), ENOTCONN);
  close(ends[1]);
  EXPECT_ERRNO(send(ends[0], "xy", 2, MSG_OOB | MSG_NOSIGNAL), EPIPE);
}

TEST(a_long_urgent_message) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  static char sent[100000], got[100001];
  memset(sent, 'x', sizeof sent);
  sent[sizeof sent - 1] = '!';
  EXPECT_EQ(send(ends[0], sent, sizeof sent, MSG_OOB), sizeof sent);
  EXPECT_EQ(Pending(ends[1]), sizeof sent);
  EXPECT_EQ(recv(ends[1], got, sizeof got, 0), sizeof sent - 1);
  EXPECT(memcmp(sent, got, sizeof sent - 1) == 0);
  EXPECT_EQ(recv(ends[1], got, 10, MSG_OOB), 1);
  EXPECT_EQ(got[0], '!');
}

// --- SO_PEEK_OFF ---

static void SetPeekOffset(int fd, int offset) {
  OK(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));
}

static int PeekOffset(int fd) {
  int offset = 77;
  socklen_t size = sizeof offset;
  OK(getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &size));
  EXPECT_EQ(size, sizeof offset);
  return offset;
}

static const char* Peek(int fd, size_t n) {
  static char buffer[100];
  const ssize_t got = recv(fd, buffer, n, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0) return strerrorname_np(errno);
  buffer[got] = 0;
  return buffer;
}

TEST(peek_offset_of_streams) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  EXPECT_EQ(PeekOffset(ends[1]), -1);
  Say(ends[0], "abc", 0);
  Say(ends[0], "defgh", 0);
  EXPECT_STR(Peek(ends[1], 2), "ab");
  EXPECT_STR(Peek(ends[1], 2), "ab");
  SetPeekOffset(ends[1], 1);
  EXPECT_STR(Peek(ends[1], 4), "bcde");
  EXPECT_EQ(PeekOffset(ends[1]), 5);
  EXPECT_STR(Peek(ends[1], 2), "fg");
  char two[3] = "";
  EXPECT_EQ(recv(ends[1], two, 2, 0), 2);  // takes from the front
  EXPECT_STR(two, "ab");
  EXPECT_EQ(PeekOffset(ends[1]), 5);
  EXPECT_STR(Peek(ends[1], 9), "h");
  EXPECT_STR(Peek(ends[1], 9), "EAGAIN");
  Say(ends[0], "ij", 0);
  EXPECT_STR(Peek(ends[1], 9), "ij");
  EXPECT_STR(Take(ends[1], 0), "cdefghij");
  EXPECT_EQ(PeekOffset(ends[1]), 0);
  SetPeekOffset(ends[1], -1);
  Say(ends[0], "kl", 0);
  EXPECT_STR(Peek(ends[1], 1), "k");
  EXPECT_STR(Peek(ends[1], 1), "k");
  EXPECT_EQ(PeekOffset(ends[1]), -1);
}

TEST(peek_offset_at_the_end_of_a_stream) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "abc", 0);
  SetPeekOffset(ends[1], 0);
  EXPECT_STR(Peek(ends[1], 9), "abc");
  close(ends[0]);
  EXPECT_STR(Peek(ends[1], 9), "");
  SetPeekOffset(ends[1], 1);
  EXPECT_STR(Peek(ends[1], 9), "bc");
}

TEST(peek_offset_of_datagrams) {
  int ends[2];
  Pair(ends, SOCK_DGRAM);
  Say(ends[0], "abc", 0);
  Say(ends[0], "defgh", 0);
  SetPeekOffset(ends[1], 1);
  EXPECT_STR(Peek(ends[1], 9), "bc");
  EXPECT_EQ(PeekOffset(ends[1]), 3);
  EXPECT_STR(Peek(ends[1], 2), "de");
  EXPECT_STR(Peek(ends[1], 9), "fgh");
  EXPECT_STR(Peek(ends[1], 9), "EAGAIN");
  EXPECT_STR(Take(ends[1], 0), "abc");
  EXPECT_EQ(PeekOffset(ends[1]), 5);
  SetPeekOffset(ends[1], 2);
  EXPECT_EQ(recv(ends[1], (char[1]){0}, 1, MSG_PEEK | MSG_TRUNC), 3);
  EXPECT_STR(Take(ends[1], 0), "defgh");
  EXPECT_EQ(PeekOffset(ends[1]), 0);
}

TEST(peek_offset_of_packets) {
  int ends[2];
  Pair(ends, SOCK_SEQPACKET);
  Say(ends[0], "abc", 0);
  Say(ends[0], "de", 0);
  SetPeekOffset(ends[1], 0);
  EXPECT_STR(Peek(ends[1], 9), "abc");
  EXPECT_STR(Peek(ends[1], 9), "de");
  EXPECT_STR(Peek(ends[1], 9), "EAGAIN");
}

TEST(peek_waits_for_what_is_past_the_offset) {
  int ends[2];
  Pair(ends, SOCK_STREAM);
  Say(ends[0], "abc", 0);
  SetPeekOffset(ends[1], 3);
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(50);
    Say(ends[0], "de", 0);
    _exit(0);
  }
  char two[3] = "";
  EXPECT_EQ(recv(ends[1], two, 2, MSG_PEEK), 2);
  EXPECT_STR(two, "de");
  EXPECT_EXIT(child, 0);
}
