// What the programs about unix sockets share.
#ifndef RINGFENCE_TEST_SYSCALLS_UNIX_SOCKETS_H_
#define RINGFENCE_TEST_SYSCALLS_UNIX_SOCKETS_H_

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

static inline int Socket(int type) { return (int)OK(socket(AF_UNIX, type, 0)); }

static inline void Pair(int ends[2], int type) { OK(socketpair(AF_UNIX, type, 0, ends)); }

static inline int Poll(int fd, short events) {
  struct pollfd entry = {fd, events, 0};
  EXPECT(poll(&entry, 1, 0) >= 0);
  return entry.revents;
}

static inline int Bind(int fd, const char* path) {
  struct sockaddr_un name = UNIX("");
  strcpy(name.sun_path, path);
  return bind(fd, (struct sockaddr*)&name, sizeof name);
}

static inline int Connect(int fd, const char* path) {
  struct sockaddr_un name = UNIX("");
  strcpy(name.sun_path, path);
  return connect(fd, (struct sockaddr*)&name, sizeof name);
}

// An abstract name that is this process's own.
static inline socklen_t Abstract(struct sockaddr_un* name) {
  *name = UNIX("");
  const int n = sprintf(name->sun_path + 1, "ringfence-check-%d", getpid());
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

static inline int Listener(const char* path, int type, int backlog) {
  const int fd = Socket(type);
  EXPECT_EQ(Bind(fd, path), 0);
  OK(listen(fd, backlog));
  return fd;
}

static inline void SetNonblocking(int fd) { OK(fcntl(fd, F_SETFL, O_NONBLOCK)); }

static inline int Option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  OK(getsockopt(fd, SOL_SOCKET, name, &value, &length));
  EXPECT_EQ(length, sizeof value);
  return value;
}

static inline int SetOption(int fd, int name, int value) {
  return setsockopt(fd, SOL_SOCKET, name, &value, sizeof value);
}

typedef struct {
  char buffer[CMSG_SPACE(300 * sizeof(int))] __attribute__((aligned(8)));
  struct iovec vector;
  struct msghdr header;
} Control;

static inline void Prepare(Control* c, void* data, size_t size) {
  memset(c, 0, sizeof *c);
  c->vector = (struct iovec){data, size};
  c->header = (struct msghdr){.msg_iov = &c->vector, .msg_iovlen = 1, .msg_control = c->buffer};
}

static inline long SendFds(int socket, const int* fds, int count, const char* text) {
  Control c;
  Prepare(&c, (void*)text, strlen(text));
  c.header.msg_controllen = CMSG_SPACE(count * sizeof(int));
  struct cmsghdr* message = CMSG_FIRSTHDR(&c.header);
  *message = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(message), fds, count * sizeof(int));
  return sendmsg(socket, &c.header, 0);
}

// Receives up to `size` bytes and returns the number of descriptors that came with them.
static inline int ReceiveFds(int socket, int* fds, void* data, size_t size, int flags) {
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

#endif  // RINGFENCE_TEST_SYSCALLS_UNIX_SOCKETS_H_
