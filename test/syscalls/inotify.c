// Watching files: inotify(7).
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "check.h"

static int Poll(int fd, short events) {
  struct pollfd entry = {fd, events, 0};
  EXPECT(poll(&entry, 1, 0) >= 0);
  return entry.revents;
}

typedef struct {
  char buffer[16384] __attribute__((aligned(8)));
  char* at;
  long left;
} Events;

// The next event, one read(2) after the other; NULL when there is none (the descriptor is
// nonblocking).
static struct inotify_event* Next(int fd, Events* events) {
  if (events->left == 0) {
    events->left = read(fd, events->buffer, sizeof events->buffer);
    if (events->left < 0) {
      EXPECT_EQ(errno, EAGAIN);
      events->left = 0;
      return NULL;
    }
    events->at = events->buffer;
  }
  struct inotify_event* event = (struct inotify_event*)events->at;
  const long size = (long)(sizeof *event + event->len);
  events->at += size;
  events->left -= size;
  return event;
}

static Events queue;

#define EXPECT_EVENT(fd, watch, bits, text)         \
  do {                                              \
    struct inotify_event* e_ = Next(fd, &queue);    \
    EXPECT(e_ != NULL);                             \
    EXPECT_EQ(e_->mask, bits);                      \
    EXPECT_EQ(e_->wd, watch);                       \
    EXPECT_STR(e_->len == 0 ? "" : e_->name, text); \
  } while (0)
#define EXPECT_NO_EVENT(fd) EXPECT(Next(fd, &queue) == NULL)

static int Inotify(void) { return (int)OK(inotify_init1(IN_NONBLOCK)); }

TEST(inotify_flags) {
  EXPECT_ERRNO(inotify_init1(1), EINVAL);
  const int fd = (int)OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(fd, F_GETFL), O_NONBLOCK);
  EXPECT_EQ(fcntl((int)OK(syscall(SYS_inotify_init)), F_GETFL), 0);
  EXPECT_NO_EVENT(fd);
  EXPECT_EQ(Poll(fd, POLLIN), 0);
}

TEST(inotify_errors) {
  const int fd = Inotify();
  EXPECT_ERRNO(inotify_add_watch(fd, "none", IN_CREATE), ENOENT);
  EXPECT_ERRNO(inotify_add_watch(fd, ".", 0), EINVAL);
  EXPECT_ERRNO(inotify_add_watch(fd, BAD_POINTER, IN_CREATE), EFAULT);
  EXPECT_ERRNO(inotify_add_watch(999, ".", IN_CREATE), EBADF);
  EXPECT_ERRNO(inotify_add_watch(1, ".", IN_CREATE), EINVAL);
  EXPECT_ERRNO(inotify_rm_watch(fd, 1), EINVAL);
  EXPECT_ERRNO(inotify_rm_watch(1, 1), EINVAL);
  WriteFile("f", "");
  EXPECT_ERRNO(inotify_add_watch(fd, "f", IN_ONLYDIR | IN_OPEN), ENOTDIR);
  OK(inotify_add_watch(fd, "f", IN_OPEN));
  EXPECT_ERRNO(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_CREATE), EEXIST);
  EXPECT_ERRNO(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
  OK(chmod("f", 0));
  IN_CHILD({
    OK(setgid(12345));
    OK(setuid(12345));
    EXPECT_ERRNO(inotify_add_watch(fd, "f", IN_OPEN), EACCES);
  });
}

TEST(inotify_life_of_a_file) {
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, ".", IN_ALL_EVENTS));
  const int file = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
  EXPECT_EVENT(fd, w, IN_CREATE, "f");
  EXPECT_EVENT(fd, w, IN_OPEN, "f");
  EXPECT_EQ(write(file, "abc", 3), 3);
  EXPECT_EVENT(fd, w, IN_MODIFY, "f");
  char c;
  EXPECT_EQ(pread(file, &c, 1, 0), 1);
  EXPECT_EVENT(fd, w, IN_ACCESS, "f");
  OK(ftruncate(file, 1));
  EXPECT_EVENT(fd, w, IN_MODIFY, "f");
  OK(fchmod(file, 0600));
  EXPECT_EVENT(fd, w, IN_ATTRIB, "f");
  OK(close(file));
  EXPECT_EVENT(fd, w, IN_CLOSE_WRITE, "f");
  close((int)OK(open("f", O_RDONLY)));
  EXPECT_EVENT(fd, w, IN_OPEN, "f");
  EXPECT_EVENT(fd, w, IN_CLOSE_NOWRITE, "f");
  OK(unlink("f"));
  EXPECT_EVENT(fd, w, IN_DELETE, "f");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_directories) {
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE));
  OK(mkdir("d", 0755));
  EXPECT_EVENT(fd, w, IN_CREATE | IN_ISDIR, "d");
  OK(symlink("d", "s"));
  EXPECT_EVENT(fd, w, IN_CREATE, "s");
  OK(mkfifo("p", 0644));
  EXPECT_EVENT(fd, w, IN_CREATE, "p");
  OK(link("p", "q"));
  EXPECT_EVENT(fd, w, IN_CREATE, "q");
  OK(rmdir("d"));
  EXPECT_EVENT(fd, w, IN_DELETE | IN_ISDIR, "d");
  WriteFile("d2", "");
  EXPECT_EVENT(fd, w, IN_CREATE, "d2");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_renames) {
  OK(mkdir("d", 0755));
  WriteFile("f", "");
  const int fd = Inotify();
  const int top = (int)OK(inotify_add_watch(fd, ".", IN_MOVE));
  const int sub = (int)OK(inotify_add_watch(fd, "d", IN_MOVE));
  const int file = (int)OK(inotify_add_watch(fd, "f", IN_MOVE_SELF));
  OK(rename("f", "d/g"));
  struct inotify_event* event = Next(fd, &queue);
  EXPECT(event != NULL);
  EXPECT(event->mask == IN_MOVED_FROM && event->wd == top && strcmp(event->name, "f") == 0);
  const uint32_t cookie = event->cookie;
  EXPECT(cookie != 0);
  event = Next(fd, &queue);
  EXPECT(event != NULL);
  EXPECT(event->mask == IN_MOVED_TO && event->wd == sub && strcmp(event->name, "g") == 0);
  EXPECT_EQ(event->cookie, cookie);
  EXPECT_EVENT(fd, file, IN_MOVE_SELF, "");
  OK(rename("d", "e"));
  EXPECT_EVENT(fd, top, IN_MOVED_FROM | IN_ISDIR, "d");
  EXPECT_EVENT(fd, top, IN_MOVED_TO | IN_ISDIR, "e");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_end_of_a_file) {
  WriteFile("f", "x");
  const int fd = Inotify();
  const int w = (int)OK(inotify_add_watch(fd, "f", IN_ATTRIB | IN_DELETE_SELF));
  const int file = (int)OK(open("f", O_RDONLY));
  OK(unlink("f"));
  EXPECT_EVENT(fd, w, IN_ATTRIB, "");
  EXPECT_NO_EVENT(fd);  // it lives as long as it is open
  OK(close(file));
  EXPECT_EVENT(fd, w, IN_DELETE_SELF, "");
  EXPECT_EVENT(fd, w, IN_IGNORED, "");
  EXPECT_ERRNO(inotify_rm_watch(fd, w), EINVAL);
}

TEST(inotify_end_of_a_directory) {
  OK(mkdir("d", 0755));
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, "d", IN_DELETE_SELF));
  OK(rmdir("d"));
  EXPECT_EVENT(fd, w, IN_DELETE_SELF, "");
  EXPECT_EVENT(fd, w, IN_IGNORED, "");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_replaced_file) {
  WriteFile("a", "");
  WriteFile("b", "");
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, "b", IN_DELETE_SELF));
  const int top = (int)OK(inotify_add_watch(fd, ".", IN_MOVED_TO | IN_DELETE));
  OK(rename("a", "b"));
  EXPECT_EVENT(fd, top, IN_MOVED_TO, "b");
  EXPECT_EVENT(fd, w, IN_DELETE_SELF, "");
  EXPECT_EVENT(fd, w, IN_IGNORED, "");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_remove_watch) {
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, ".", IN_CREATE));
  OK(inotify_rm_watch(fd, w));
  EXPECT_EVENT(fd, w, IN_IGNORED, "");
  WriteFile("f", "");
  EXPECT_NO_EVENT(fd);
  EXPECT_EQ(OK(inotify_add_watch(fd, ".", IN_CREATE)), w + 1);  // numbers are not used again
}

TEST(inotify_masks) {
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, ".", IN_CREATE));
  EXPECT_EQ(inotify_add_watch(fd, ".", IN_DELETE), w);  // replaces
  WriteFile("f", "");
  OK(unlink("f"));
  EXPECT_EVENT(fd, w, IN_DELETE, "f");
  EXPECT_EQ(inotify_add_watch(fd, ".", IN_CREATE | IN_MASK_ADD), w);
  WriteFile("f", "");
  EXPECT_EVENT(fd, w, IN_CREATE, "f");
  OK(unlink("f"));
  EXPECT_EVENT(fd, w, IN_DELETE, "f");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_one_shot) {
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, ".", IN_CREATE | IN_ONESHOT));
  WriteFile("f", "");
  WriteFile("g", "");
  EXPECT_EVENT(fd, w, IN_CREATE, "f");
  EXPECT_EVENT(fd, w, IN_IGNORED, "");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_joins_equal_events) {
  WriteFile("f", "");
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, "f", IN_MODIFY));
  const int file = (int)OK(open("f", O_WRONLY));
  for (int i = 0; i < 5; i++) EXPECT_EQ(write(file, "x", 1), 1);
  EXPECT_EVENT(fd, w, IN_MODIFY, "");
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_unlinked_children) {
  const int fd = Inotify(), w = (int)OK(inotify_add_watch(fd, ".", IN_MODIFY | IN_EXCL_UNLINK));
  const int file = (int)OK(open("f", O_CREAT | O_WRONLY, 0644));
  EXPECT_EQ(write(file, "x", 1), 1);
  EXPECT_EVENT(fd, w, IN_MODIFY, "f");
  OK(unlink("f"));
  EXPECT_EQ(write(file, "x", 1), 1);
  EXPECT_NO_EVENT(fd);
}

TEST(inotify_short_reads) {
  const int fd = Inotify();
  OK(inotify_add_watch(fd, ".", IN_CREATE));
  WriteFile("name", "");
  int bytes = 0;
  OK(ioctl(fd, FIONREAD, &bytes));
  EXPECT_EQ(bytes, 32);  // the name and its padding to 16
  char buffer[64];
  EXPECT_EQ(Poll(fd, POLLIN), POLLIN);
  EXPECT_ERRNO(read(fd, buffer, 31), EINVAL);
  EXPECT_EQ(read(fd, buffer, 32), 32);
  EXPECT_ERRNO(write(fd, buffer, 1), EBADF);
}

TEST(inotify_wakes_a_reader) {
  const int fd = (int)OK(inotify_init1(0));
  const int w = (int)OK(inotify_add_watch(fd, ".", IN_CREATE));
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(30);
    WriteFile("f", "");
    _exit(0);
  }
  EXPECT_EVENT(fd, w, IN_CREATE, "f");
  EXPECT_EXIT(child, 0);
}

TEST(inotify_overflow) {
  const int fd = Inotify();
  OK(inotify_add_watch(fd, ".", IN_ATTRIB));
  WriteFile("a", "");
  WriteFile("b", "");
  for (int i = 0; i < 9000; i++) {  // two names in turn: none are joined
    OK(chmod("a", 0600));
    OK(chmod("b", 0600));
  }
  int events = 0, overflows = 0;
  struct inotify_event* event;
  while ((event = Next(fd, &queue)) != NULL) {
    events++;
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
      EXPECT_EQ(event->wd, -1);
      overflows++;
    }
  }
  EXPECT_EQ(overflows, 1);
  EXPECT(events <= 16385);
}

TEST(inotify_two_instances) {
  const int a = Inotify(), b = Inotify();
  const int wa = (int)OK(inotify_add_watch(a, ".", IN_CREATE));
  const int wb = (int)OK(inotify_add_watch(b, ".", IN_CREATE | IN_OPEN));
  close((int)OK(open("f", O_CREAT | O_WRONLY, 0644)));
  EXPECT_EVENT(a, wa, IN_CREATE, "f");
  EXPECT_NO_EVENT(a);
  EXPECT_EVENT(b, wb, IN_CREATE, "f");
  EXPECT_EVENT(b, wb, IN_OPEN, "f");
}
