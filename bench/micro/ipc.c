// Bytes from a task to itself, and between two threads: pipes, eventfd, epoll, sockets.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/micro/guest.h"

static int in, out;  // what goes into `in` comes out of `out`
static int event, poller;

static void SetUpPipe(void) {
  int fds[2];
  if (pipe(fds) != 0) Fail("pipe");
  out = fds[0];
  in = fds[1];
}

static void SetUpPair(void) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) Fail("socketpair");
  out = fds[0];
  in = fds[1];
}

static void ThereAndBack(long n) {
  char byte = 0;
  for (long i = 0; i < n; i++) {
    if (write(in, &byte, 1) != 1 || read(out, &byte, 1) != 1) Fail("round trip");
  }
}

static void SetUpEvent(void) {
  event = eventfd(0, 0);
  if (event < 0) Fail("eventfd");
}

static void Event(long n) {
  uint64_t value = 1;
  for (long i = 0; i < n; i++) {
    if (write(event, &value, 8) != 8 || read(event, &value, 8) != 8) Fail("eventfd");
  }
}

static void SetUpEpoll(void) {
  SetUpEvent();
  poller = epoll_create1(0);
  struct epoll_event interest = {.events = EPOLLIN};
  if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, event, &interest) != 0) Fail("epoll");
}

// An event, the wait that finds it at once, and its end.
static void Epoll(long n) {
  uint64_t value = 1;
  struct epoll_event ready;
  for (long i = 0; i < n; i++) {
    if (write(event, &value, 8) != 8 || epoll_wait(poller, &ready, 1, -1) != 1 ||
        read(event, &value, 8) != 8) {
      Fail("epoll");
    }
  }
}

static int echo_from, echo_to;

// Sends each byte back, to the end of the connection.
static void* Echo(void* arg) {
  char byte;
  while (read(echo_from, &byte, 1) == 1 && write(echo_to, &byte, 1) == 1) {
  }
  return arg;
}

static void StartEcho(int from, int to) {
  pthread_t thread;
  echo_from = from;
  echo_to = to;
  if (pthread_create(&thread, NULL, Echo, NULL) != 0) Fail("pthread_create");
}

// Connects `in` to a listener of `family` at `address`; a thread echoes.
static void Connect(int family, struct sockaddr* address, socklen_t size) {
  const int listener = socket(family, SOCK_STREAM, 0);
  if (listener < 0) Fail(family == AF_INET ? "socket(AF_INET)" : "socket(AF_UNIX)");
  if (bind(listener, address, size) != 0 || listen(listener, 1) != 0) Fail("listen");
  if (getsockname(listener, address, &size) != 0) Fail("getsockname");
  in = socket(family, SOCK_STREAM, 0);
  if (in < 0 || connect(in, address, size) != 0) Fail("connect");
  const int accepted = accept(listener, NULL, NULL);
  if (accepted < 0) Fail("accept");
  if (family == AF_INET) {
    const int on = 1;
    setsockopt(in, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  out = in;
  StartEcho(accepted, accepted);
}

static void SetUpUnix(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, "@ringfence-bench");
  address.sun_path[0] = 0;  // abstract
  Connect(AF_UNIX, (struct sockaddr*)&address, sizeof address);
}

static void SetUpTcp(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  Connect(AF_INET, (struct sockaddr*)&address, sizeof address);
}

// Two pipes to a thread and back: what a wake-up costs.
static void SetUpPipeThreads(void) {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) Fail("pipe");
  in = there[1];
  out = back[0];
  StartEcho(there[0], back[1]);
}

const struct Workload kIpcWorkloads[] = {
    {.name = "pipe", .setup = SetUpPipe, .loop = ThereAndBack},
    {.name = "eventfd", .setup = SetUpEvent, .loop = Event},
    {.name = "epoll", .setup = SetUpEpoll, .loop = Epoll},
    {.name = "unix_pair", .setup = SetUpPair, .loop = ThereAndBack},
    {.name = "pipe_threads", .setup = SetUpPipeThreads, .loop = ThereAndBack},
    {.name = "unix_loopback", .setup = SetUpUnix, .loop = ThereAndBack},
    {.name = "tcp_loopback", .setup = SetUpTcp, .loop = ThereAndBack},
    {0},
};
