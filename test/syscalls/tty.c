// Pseudo-terminals: pty(7), termios(3), ioctl_tty(2), and job control from a program's side.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "check.h"

typedef struct {
  int keys, program;
} Pair;

static Pair Open(void) {
  Pair p;
  EXPECT(openpty(&p.keys, &p.program, NULL, NULL, NULL) == 0);
  OK(fcntl(p.keys, F_SETFL, O_RDWR | O_NONBLOCK));
  OK(fcntl(p.program, F_SETFL, O_RDWR | O_NONBLOCK));
  return p;
}

static void Type(Pair p, const char* keys) {
  EXPECT_EQ(write(p.keys, keys, strlen(keys)), (long)strlen(keys));
}

// What comes within a moment; bytes of the other side take their time on Linux.
static const char* Get(int fd) {
  static char text[4][10000];
  static int next;
  char* out = text[next++ & 3];
  size_t size = 0;
  struct pollfd entry = {fd, POLLIN, 0};
  while (size < 9999 && poll(&entry, 1, 100) == 1) {
    const long n = read(fd, out + size, 9999 - size);
    if (n <= 0) break;
    size += (size_t)n;
  }
  out[size] = 0;
  return out;
}

static void ExpectText(int line, const char* got, const char* want) {
  if (strcmp(got, want) != 0) Fail(__FILE__, line, "got '%s', not '%s'", got, want);
}
#define READS(fd, text) ExpectText(__LINE__, Get(fd), text)

static void Change(Pair p, unsigned clear, unsigned set) {
  struct termios t;
  OK(tcgetattr(p.program, &t));
  t.c_lflag = (t.c_lflag & ~clear) | set;
  OK(tcsetattr(p.program, TCSANOW, &t));
}

TEST(new_terminal) {
  Pair p = Open();
  struct termios t;
  OK(tcgetattr(p.program, &t));
  EXPECT_EQ(t.c_iflag, ICRNL | IXON);
  EXPECT_EQ(t.c_oflag, OPOST | ONLCR);
  EXPECT_EQ(t.c_lflag, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
  EXPECT_EQ(t.c_cflag, B38400 | CS8 | CREAD);
  EXPECT_EQ(t.c_cc[VERASE], 0x7f);
  EXPECT_EQ(t.c_cc[VEOF], 4);
  EXPECT_EQ(t.c_cc[VMIN], 1);
  EXPECT_EQ(cfgetospeed(&t), B38400);
  OK(tcgetattr(p.keys, &t));  // the same from the other side
  EXPECT_EQ(t.c_oflag, OPOST | ONLCR);
  struct winsize size;
  OK(ioctl(p.program, TIOCGWINSZ, &size));
  EXPECT_EQ(size.ws_row, 0);
}

TEST(names_and_numbers) {
  const int keys = posix_openpt(O_RDWR | O_NOCTTY);
  EXPECT(keys >= 0);
  EXPECT_EQ(fcntl(keys, F_GETFL) & ~0100000, O_RDWR);
  int number = -1, locked = -1;
  OK(ioctl(keys, TIOCGPTN, &number));
  char path[64];
  snprintf(path, sizeof path, "/dev/pts/%d", number);
  OK(ioctl(keys, TIOCGPTLCK, &locked));
  EXPECT_EQ(locked, 1);
  EXPECT_ERRNO(open(path, O_RDWR | O_NOCTTY), EIO);
  EXPECT_EQ(strcmp(ptsname(keys), path), 0);
  OK(unlockpt(keys));
  const int program = open(path, O_RDWR | O_NOCTTY);
  EXPECT(program >= 0);
  EXPECT_EQ(strcmp(ttyname(program), path), 0);
  struct stat st;
  OK(fstat(program, &st));
  EXPECT(S_ISCHR(st.st_mode));
  EXPECT_EQ(st.st_rdev, makedev(136, number));
  OK(fstat(keys, &st));
  EXPECT_EQ(st.st_rdev, makedev(5, 2));
  EXPECT_ERRNO(ioctl(program, TIOCGPTN, &number), ENOTTY);
  EXPECT_EQ(isatty(keys), 1);
  close(program);
  close(keys);
  EXPECT_ERRNO(open(path, O_RDWR | O_NOCTTY), ENOENT);
}

TEST(peer_by_descriptor) {
  const int keys = posix_openpt(O_RDWR | O_NOCTTY);
  EXPECT(keys >= 0);
  OK(unlockpt(keys));
  const int peer = ioctl(keys, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT(peer >= 0);
  EXPECT_EQ(fcntl(peer, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(write(peer, "x", 1), 1);
  READS(keys, "x");
  EXPECT_ERRNO(ioctl(peer, TIOCGPTPEER, O_RDWR), EIO);
  int ends[2];
  OK(pipe(ends));
  EXPECT_ERRNO(ioctl(ends[0], TIOCGPTPEER, O_RDWR), ENOTTY);
}

TEST(lines) {
  Pair p = Open();
  char c[20];
  Type(p, "ab");
  READS(p.keys, "ab");
  EXPECT_ERRNO(read(p.program, c, 20), EAGAIN);
  Type(p, "c\rmore\n");
  READS(p.keys, "c\r\nmore\r\n");
  int bytes = 0;
  OK(ioctl(p.program, FIONREAD, &bytes));
  EXPECT_EQ(bytes, 9);
  EXPECT_EQ(read(p.program, c, 2), 2);
  EXPECT_EQ(read(p.program, c, 20), 2);
  EXPECT_EQ(read(p.program, c, 20), 5);
  EXPECT_ERRNO(read(p.program, c, 20), EAGAIN);
}

TEST(end_of_file) {
  Pair p = Open();
  char c[20];
  Type(p, "ab\004\004");
  READS(p.keys, "ab");
  EXPECT_EQ(read(p.program, c, 20), 2);
  EXPECT_EQ(read(p.program, c, 20), 0);
  EXPECT_ERRNO(read(p.program, c, 20), EAGAIN);
  Type(p, "abc\004");
  READS(p.keys, "abc");
  EXPECT_EQ(read(p.program, c, 3), 3);
  EXPECT_ERRNO(read(p.program, c, 3), EAGAIN);
}

TEST(editing) {
  Pair p = Open();
  Type(p, "abx\177c\n");
  READS(p.keys, "abx\b \bc\r\n");
  READS(p.program, "abc\n");
  Type(p, "one two  \027X\n");
  READS(p.keys, "one two  \b \b\b \b\b \b\b \b\b \bX\r\n");
  READS(p.program, "one X\n");
  Type(p, "gone\025kept\n");
  READS(p.keys, "gone\b \b\b \b\b \b\b \bkept\r\n");
  READS(p.program, "kept\n");
  Type(p, "a\001\t\177\177b\n");
  READS(p.program, "ab\n");
  READS(p.keys, "a^A\t\b\b\b\b\b\b \b\b \bb\r\n");
  Type(p, "abc\022d\n");
  READS(p.keys, "abc^R\r\nabcd\r\n");
  Type(p, "a\026\003b\n");
  READS(p.keys, "a^\b^Cb\r\n");
}

TEST(editing_without_echoke) {
  Pair p = Open();
  Change(p, ECHOKE, 0);
  Type(p, "gone\025kept\n");
  READS(p.keys, "gone^U\r\nkept\r\n");
  Change(p, ECHOE, ECHOKE);
  Type(p, "ab\177\n");
  READS(p.keys, "ab^?\r\n");
  Change(p, 0, ECHOE | ECHOPRT);
  Type(p, "ab\177\177c\n");
  READS(p.keys, "ab\\ba/c\r\n");
}

TEST(tab_after_prompt) {
  Pair p = Open();
  EXPECT_EQ(write(p.program, "prompt", 6), 6);
  Type(p, "\t\177x\n");
  READS(p.keys, "prompt\t\b\bx\r\n");
}

TEST(utf8_erase) {
  Pair p = Open();
  struct termios t;
  OK(tcgetattr(p.program, &t));
  t.c_iflag |= IUTF8;
  OK(tcsetattr(p.program, TCSANOW, &t));
  Type(p, "a\303\251\177\n");
  READS(p.keys, "a\303\251\b \b\r\n");
  READS(p.program, "a\n");
}

TEST(no_echo) {
  Pair p = Open();
  Change(p, ECHO, 0);
  Type(p, "secret\n");
  READS(p.keys, "");
  READS(p.program, "secret\n");
  Change(p, 0, ECHONL);
  Type(p, "secret\n");
  READS(p.keys, "\r\n");
}

TEST(output_processing) {
  Pair p = Open();
  EXPECT_EQ(write(p.program, "a\nb\r\n\tc", 7), 7);
  READS(p.keys, "a\r\nb\r\r\n\tc");
  struct termios t;
  OK(tcgetattr(p.program, &t));
  t.c_oflag = OPOST | XTABS | OLCUC;
  OK(tcsetattr(p.program, TCSANOW, &t));
  EXPECT_EQ(write(p.program, "\rab\tc\n", 6), 6);
  READS(p.keys, "\rAB      C\n");
  t.c_oflag = 0;
  OK(tcsetattr(p.program, TCSADRAIN, &t));
  EXPECT_EQ(write(p.program, "a\n", 2), 2);
  READS(p.keys, "a\n");
}

TEST(input_mapping) {
  Pair p = Open();
  struct termios t;
  OK(tcgetattr(p.program, &t));
  t.c_iflag = INLCR;
  t.c_lflag = 0;
  OK(tcsetattr(p.program, TCSANOW, &t));
  Type(p, "a\nb\r");
  READS(p.program, "a\rb\r");
  t.c_iflag = IGNCR | ISTRIP;
  OK(tcsetattr(p.program, TCSANOW, &t));
  Type(p, "\301\rb\n");
  READS(p.program, "Ab\n");
}

TEST(mode_change_keeps_input) {
  Pair p = Open();
  Type(p, "abc");
  READS(p.keys, "abc");
  Change(p, ICANON, 0);
  READS(p.program, "abc");
  Type(p, "de");
  READS(p.keys, "de");
  Change(p, 0, ICANON);
  READS(p.program, "de");
  Type(p, "gone");
  struct termios t;
  OK(tcgetattr(p.program, &t));
  READS(p.keys, "gone");
  OK(tcsetattr(p.program, TCSAFLUSH, &t));
  Type(p, "kept\n");
  READS(p.program, "kept\n");
}

TEST(flow_control) {
  Pair p = Open();
  Type(p, "\023");
  usleep(20000);
  EXPECT_ERRNO(write(p.program, "x", 1), EAGAIN);
  struct pollfd entry = {p.program, POLLOUT, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 0);
  Type(p, "\021");
  EXPECT_EQ(poll(&entry, 1, 1000), 1);
  EXPECT_EQ(write(p.program, "x", 1), 1);
  READS(p.keys, "x");
  OK(tcflow(p.program, TCOOFF));
  EXPECT_ERRNO(write(p.program, "x", 1), EAGAIN);
  OK(tcflow(p.program, TCOON));
  EXPECT_EQ(write(p.program, "y", 1), 1);
  READS(p.keys, "y");
  EXPECT_ERRNO(tcflow(p.program, 9), EINVAL);
}

TEST(flush) {
  Pair p = Open();
  Type(p, "line\n");
  READS(p.keys, "line\r\n");
  OK(tcflush(p.program, TCIFLUSH));
  READS(p.program, "");
  EXPECT_ERRNO(tcflush(p.program, 7), EINVAL);
  OK(tcdrain(p.program));
  OK(tcsendbreak(p.program, 0));
}

TEST(minimum_and_time) {
  Pair p = Open();
  struct termios t;
  char c[20];
  OK(tcgetattr(p.program, &t));
  t.c_lflag = 0;
  t.c_cc[VMIN] = 3;
  t.c_cc[VTIME] = 0;
  OK(tcsetattr(p.program, TCSANOW, &t));
  OK(fcntl(p.program, F_SETFL, O_RDWR));
  struct pollfd entry = {p.program, POLLIN, 0};
  Type(p, "ab");
  EXPECT_EQ(poll(&entry, 1, 50), 0);
  EXPECT_EQ(read(p.program, c, 2), 2);
  Type(p, "abcd");
  EXPECT_EQ(poll(&entry, 1, 1000), 1);
  EXPECT_EQ(read(p.program, c, 20), 4);

  t.c_cc[VTIME] = 1;
  OK(tcsetattr(p.program, TCSANOW, &t));
  Type(p, "e");
  EXPECT_EQ(read(p.program, c, 20), 1);

  t.c_cc[VMIN] = 0;
  t.c_cc[VTIME] = 2;
  OK(tcsetattr(p.program, TCSANOW, &t));
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  EXPECT_EQ(read(p.program, c, 20), 0);
  clock_gettime(CLOCK_MONOTONIC, &end);
  const double waited =
      (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
  EXPECT(waited > 0.15 && waited < 5);
  Type(p, "f");
  EXPECT_EQ(read(p.program, c, 20), 1);
  t.c_cc[VTIME] = 0;
  OK(tcsetattr(p.program, TCSANOW, &t));
  EXPECT_EQ(read(p.program, c, 20), 0);
}

TEST(long_line_can_be_ended) {
  Pair p = Open();
  Change(p, ECHO, 0);
  static char many[5000];
  memset(many, 'x', sizeof many);
  for (size_t done = 0; done < sizeof many;) {
    const long n = write(p.keys, many + done, sizeof many - done);
    if (n > 0) done += (size_t)n;
    usleep(1000);
  }
  Type(p, "\n");
  EXPECT_EQ(strlen(Get(p.program)), 4096);
}

TEST(hang_up_of_programs) {
  Pair p = Open();
  char c;
  EXPECT_EQ(write(p.program, "bye", 3), 3);
  close(p.program);
  READS(p.keys, "bye");
  EXPECT_ERRNO(read(p.keys, &c, 1), EIO);
  struct pollfd entry = {p.keys, POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 1);
  EXPECT((entry.revents & POLLHUP) != 0);
  const int again = open(ptsname(p.keys), O_RDWR | O_NOCTTY);
  EXPECT(again >= 0);
  EXPECT_ERRNO(read(p.keys, &c, 1), EAGAIN);
}

TEST(hang_up_of_keys) {
  Pair p = Open();
  char c;
  close(p.keys);
  EXPECT_EQ(read(p.program, &c, 1), 0);
  EXPECT_ERRNO(write(p.program, "x", 1), EIO);
  struct termios t;
  EXPECT_ERRNO(tcgetattr(p.program, &t), EIO);
  struct pollfd entry = {p.program, POLLIN | POLLOUT, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 1);
  EXPECT_EQ(entry.revents, POLLIN | POLLOUT | POLLERR | POLLHUP);
}

TEST(packet_mode) {
  Pair p = Open();
  int on = 1, is = 0;
  OK(ioctl(p.keys, TIOCPKT, &on));
  OK(ioctl(p.keys, TIOCGPKT, &is));
  EXPECT_EQ(is, 1);
  EXPECT_EQ(write(p.program, "x", 1), 1);
  char c[4];
  struct pollfd entry = {p.keys, POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 1000), 1);
  EXPECT_EQ(read(p.keys, c, 4), 2);
  EXPECT_EQ(c[0], TIOCPKT_DATA);
  OK(tcflush(p.program, TCIFLUSH));
  EXPECT_EQ(read(p.keys, c, 4), 1);
  EXPECT_EQ(c[0], TIOCPKT_FLUSHREAD);
}

TEST(exclusive) {
  Pair p = Open();
  int is = 0;
  OK(ioctl(p.program, TIOCEXCL));
  OK(ioctl(p.program, TIOCGEXCL, &is));
  EXPECT_EQ(is, 1);
  IN_CHILD({
    EXPECT_EQ(setuid(65534), 0);
    EXPECT(open(ptsname(p.keys), O_RDWR | O_NOCTTY) < 0);
    EXPECT(errno == EBUSY || errno == EACCES);
  });
  OK(ioctl(p.program, TIOCNXCL));
}

TEST(bad_arguments) {
  Pair p = Open();
  EXPECT_ERRNO(ioctl(p.program, TCGETS, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(ioctl(p.program, TCSETS, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(ioctl(p.program, TIOCSWINSZ, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(ioctl(p.program, 0x5499, 0), ENOTTY);
  EXPECT_EQ(read(p.program, BAD_POINTER, 0), 0);
  EXPECT_ERRNO(lseek(p.program, 0, SEEK_SET), ESPIPE);
  char c;
  EXPECT_ERRNO(pread(p.program, &c, 1, 0), ESPIPE);
}

// --- sessions ---

// A child that leads a session with the terminal; it runs `body`, the status is returned.
static int status;
#define ON_TERMINAL(p, ...)                                  \
  do {                                                        \
    const pid_t child = FORK();                               \
    if (child == 0) {                                         \
      EXPECT(setsid() > 0);                                   \
      OK(ioctl((p).program, TIOCSCTTY, 0));                   \
      OK(fcntl((p).program, F_SETFL, O_RDWR));                \
      close((p).keys);                                        \
      __VA_ARGS__;                                                   \
      _exit(0);                                               \
    }                                                         \
    EXPECT_EQ(waitpid(child, &status, 0), child);             \
  } while (0)

TEST(controlling_terminal) {
  Pair p = Open();
  ON_TERMINAL(p, {
    int pgrp = 0;
    OK(ioctl(p.program, TIOCGPGRP, &pgrp));
    EXPECT_EQ(pgrp, getpid());
    EXPECT_EQ(tcgetsid(p.program), getpid());
    const int tty = open("/dev/tty", O_RDWR);
    EXPECT(tty >= 0);
    EXPECT_EQ(isatty(tty), 1);
    EXPECT_EQ(strcmp(ttyname(tty), "/dev/tty"), 0);
    EXPECT_EQ(write(tty, "hi", 2), 2);
    EXPECT_ERRNO(ioctl(p.program, TIOCSPGRP, &(int){-1}), EINVAL);
    EXPECT_ERRNO(ioctl(p.program, TIOCSPGRP, &(int){99999}), ESRCH);
    signal(SIGHUP, SIG_IGN);
    OK(ioctl(p.program, TIOCNOTTY));
    EXPECT_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
    EXPECT_ERRNO(ioctl(p.program, TIOCGPGRP, &pgrp), ENOTTY);
  });
  EXPECT_EQ(status, 0);
  READS(p.keys, "hi");
  int session = 0;
  EXPECT_ERRNO(ioctl(p.keys, TIOCGSID, &session), ENOTTY);
}

TEST(opening_makes_it_controlling) {
  Pair p = Open();
  IN_CHILD({
    EXPECT(setsid() > 0);
    const int without = open(ptsname(p.keys), O_RDWR | O_NOCTTY);
    EXPECT(without >= 0);
    EXPECT_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
    EXPECT(open(ptsname(p.keys), O_RDWR) >= 0);
    EXPECT(open("/dev/tty", O_RDWR) >= 0);
    int session = 0;
    OK(ioctl(p.keys, TIOCGSID, &session));
    EXPECT_EQ(session, getpid());
    EXPECT_ERRNO(ioctl(p.keys, TIOCNOTTY), ENOTTY);
  });
}

static void Exit3(int signal) {
  (void)signal;
  _exit(3);
}

TEST(keys_signal_the_foreground) {
  Pair p = Open();
  const char* const keys[] = {"\003", "\034", "\032"};
  const int signals[] = {SIGINT, SIGQUIT, SIGTSTP};
  for (int i = 0; i < 3; i++) {
    int ready[2];
    OK(pipe(ready));
    const pid_t child = FORK();
    if (child == 0) {
      EXPECT(setsid() > 0);
      OK(ioctl(p.program, TIOCSCTTY, 0));
      signal(signals[i], Exit3);
      EXPECT_EQ(write(ready[1], "x", 1), 1);
      while (1) pause();
    }
    char c;
    EXPECT_EQ(read(ready[0], &c, 1), 1);
    Type(p, keys[i]);
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 3 << 8);
  }
  READS(p.keys, "^C^\\^Z");
}

TEST(window_change_signals_the_foreground) {
  Pair p = Open();
  int ready[2];
  OK(pipe(ready));
  const pid_t child = FORK();
  if (child == 0) {
    EXPECT(setsid() > 0);
    OK(ioctl(p.program, TIOCSCTTY, 0));
    signal(SIGWINCH, Exit3);
    EXPECT_EQ(write(ready[1], "x", 1), 1);
    while (1) pause();
  }
  char c;
  EXPECT_EQ(read(ready[0], &c, 1), 1);
  struct winsize size = {0};
  OK(ioctl(p.keys, TIOCSWINSZ, &size));  // no change, no signal
  usleep(50000);
  EXPECT_EQ(waitpid(child, &status, WNOHANG), 0);
  size.ws_row = 33;
  OK(ioctl(p.keys, TIOCSWINSZ, &size));
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 3 << 8);
  size.ws_row = 0;
  OK(ioctl(p.program, TIOCGWINSZ, &size));
  EXPECT_EQ(size.ws_row, 33);
}

TEST(background_reads_and_writes) {
  Pair p = Open();
  ON_TERMINAL(p, {
    const pid_t job = FORK();
    if (job == 0) {
      char c;
      OK(setpgid(0, 0));
      EXPECT_EQ(write(p.program, "x", 1), 1);  // allowed without TOSTOP
      (void)!read(p.program, &c, 1);
      signal(SIGTTIN, SIG_IGN);
      EXPECT_ERRNO(read(p.program, &c, 1), EIO);
      struct termios t;
      OK(tcgetattr(p.program, &t));
      t.c_lflag |= TOSTOP;
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, SIGTTOU);
      sigprocmask(SIG_BLOCK, &set, NULL);
      OK(tcsetattr(p.program, TCSANOW, &t));  // allowed with SIGTTOU blocked
      sigprocmask(SIG_UNBLOCK, &set, NULL);
      EXPECT_EQ(write(p.program, "y", 1), 1);
      _exit(5);
    }
    int s;
    EXPECT_EQ(waitpid(job, &s, WUNTRACED), job);
    EXPECT(WIFSTOPPED(s) && WSTOPSIG(s) == SIGTTIN);
    OK(ioctl(p.program, TIOCSPGRP, &job));
    kill(job, SIGSTOP);
    signal(SIGTTOU, SIG_IGN);
    OK(ioctl(p.program, TIOCSPGRP, &(int){getpid()}));
    kill(job, SIGCONT);
    EXPECT_EQ(waitpid(job, &s, WUNTRACED), job);
    // The read began again in the background.
    EXPECT(WIFSTOPPED(s) && WSTOPSIG(s) == SIGTTIN);
    kill(job, SIGKILL);
    EXPECT_EQ(waitpid(job, &s, 0), job);
  });
  EXPECT_EQ(status, 0);
}

TEST(background_writes_stop_with_tostop) {
  Pair p = Open();
  Change(p, 0, TOSTOP);
  ON_TERMINAL(p, {
    const pid_t job = FORK();
    if (job == 0) {
      OK(setpgid(0, 0));
      EXPECT_EQ(write(p.program, "x", 1), 1);
      _exit(5);
    }
    int s;
    EXPECT_EQ(waitpid(job, &s, WUNTRACED), job);
    EXPECT(WIFSTOPPED(s) && WSTOPSIG(s) == SIGTTOU);
    OK(ioctl(p.program, TIOCSPGRP, &job));
    kill(job, SIGCONT);
    EXPECT_EQ(waitpid(job, &s, WUNTRACED), job);
    EXPECT_EQ(s, 5 << 8);
  });
  EXPECT_EQ(status, 0);
}

TEST(hang_up_signals_the_leader) {
  Pair p = Open();
  int ready[2];
  OK(pipe(ready));
  const pid_t child = FORK();
  if (child == 0) {
    EXPECT(setsid() > 0);
    OK(ioctl(p.program, TIOCSCTTY, 0));
    close(p.keys);
    signal(SIGHUP, Exit3);
    EXPECT_EQ(write(ready[1], "x", 1), 1);
    while (1) pause();
  }
  char c;
  EXPECT_EQ(read(ready[0], &c, 1), 1);
  close(p.keys);
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 3 << 8);
}

TEST(leader_exit_signals_the_foreground) {
  Pair p = Open();
  int ready[2], result[2];
  OK(pipe(ready));
  OK(pipe(result));
  ON_TERMINAL(p, {
    const pid_t job = FORK();
    if (job == 0) {
      OK(setpgid(0, 0));
      signal(SIGHUP, Exit3);
      signal(SIGTTOU, SIG_IGN);
      OK(ioctl(p.program, TIOCSPGRP, &(int){getpid()}));
      EXPECT_EQ(write(ready[1], "x", 1), 1);
      while (1) pause();
    }
    char c;
    EXPECT_EQ(read(ready[0], &c, 1), 1);
    close(result[0]);
  });
  EXPECT_EQ(status, 0);
  close(result[1]);
  char c;
  EXPECT_EQ(read(result[0], &c, 1), 0);  // the job is gone
}

TEST(devpts_directory) {
  struct stat st;
  OK(stat("/dev/pts", &st));
  EXPECT(S_ISDIR(st.st_mode));
  OK(stat("/dev/pts/ptmx", &st));
  EXPECT_EQ(st.st_rdev, makedev(5, 2));
  OK(stat("/dev/ptmx", &st));
  EXPECT_EQ(st.st_mode, S_IFCHR | 0666);
  EXPECT(open("/dev/pts/new", O_RDWR | O_CREAT, 0600) < 0);
  EXPECT_ERRNO(unlink("/dev/pts/ptmx"), EPERM);
}
