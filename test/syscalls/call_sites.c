// Calls from places that make many of them: a kernel that treats such a place in a way of its own
// must not be seen doing it.
#include <fcntl.h>
#include <pthread.h>
#include <sys/time.h>
#include <ucontext.h>

#include "check.h"

enum { kPage = 4096, kMany = 1000 };

// A page of text of its own. Short instructions before each function, and what an assembler fills
// gaps with behind it.
__asm__(
    ".section .hot_text, \"ax\", @progbits\n"
    ".balign 4096\n"
    "hot_page: .fill 64, 1, 0x90\n"
    "hot_getppid: mov $110, %eax\n"
    "hot_getppid_call: syscall\n"
    "ret\n"
    ".balign 16\n"
    ".fill 32, 1, 0x90\n"
    "hot_read: xor %eax, %eax\n"
    "syscall\n"
    "ret\n"
    ".balign 16\n"
    ".fill 32, 1, 0x90\n"
    "hot_wait4: mov %rcx, %r10\n"
    "mov $61, %eax\n"
    "syscall\n"
    "ret\n"
    ".balign 4096\n"
    ".previous\n");
extern char hot_page[], hot_getppid_call[];
long hot_getppid(void);
long hot_read(int fd, void* to, size_t n);
long hot_wait4(pid_t pid, int* status, int options, void* usage);

typedef long Getppid(void);

static void MakeHot(Getppid* call) {
  const pid_t parent = getppid();
  for (int i = 0; i < kMany; ++i) EXPECT_EQ(call(), parent);
}

// The page in a file of its own.
static char* MapText(void) {
  const int fd = open("text", O_RDWR | O_CREAT | O_TRUNC, 0755);
  EXPECT(fd >= 0);
  EXPECT_EQ(write(fd, hot_page, kPage), kPage);
  char* text = mmap(NULL, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  EXPECT(text != MAP_FAILED);
  close(fd);
  return text;
}

static Getppid* GetppidIn(char* text) { return (Getppid*)(text + ((char*)hot_getppid - hot_page)); }

static int pipe_ends[2];
static void WriteOne(int number) {
  (void)number;
  EXPECT_EQ(write(pipe_ends[1], "x", 1), 1);
}

static void AlarmIn(int microseconds, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  EXPECT_EQ(sigaction(SIGALRM, &action, NULL), 0);
  struct itimerval timer = {.it_value = {.tv_usec = microseconds}};
  EXPECT_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void ReadManyTimes(void) {
  EXPECT_EQ(pipe(pipe_ends), 0);
  char c;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(write(pipe_ends[1], "y", 1), 1);
    EXPECT_EQ(hot_read(pipe_ends[0], &c, 1), 1);
    EXPECT(c == 'y');
  }
}

TEST(interrupted_read_starts_again) {
  ReadManyTimes();
  AlarmIn(50000, WriteOne, SA_RESTART);
  char c = 0;
  EXPECT_EQ(hot_read(pipe_ends[0], &c, 1), 1);
  EXPECT(c == 'x');
}

static void Nothing(int number) { (void)number; }

TEST(interrupted_read_ends) {
  ReadManyTimes();
  AlarmIn(50000, Nothing, 0);
  char c;
  EXPECT_EQ(hot_read(pipe_ends[0], &c, 1), -EINTR);
}

static pid_t sleeper;
static void EndSleeper(int number) {
  (void)number;
  EXPECT_EQ(kill(sleeper, SIGKILL), 0);
}

TEST(interrupted_wait_starts_again) {
  sleeper = FORK();
  if (sleeper == 0) {
    for (;;) pause();
  }
  int status = 0;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(hot_wait4(sleeper, &status, WNOHANG, NULL), 0);
  AlarmIn(50000, EndSleeper, SA_RESTART);
  EXPECT_EQ(hot_wait4(sleeper, &status, 0, NULL), sleeper);
  EXPECT(WIFSIGNALED(status));
}

TEST(a_jump_to_the_instruction_itself_is_a_call) {
  MakeHot(hot_getppid);
  long number = SYS_getpid;
  __asm__ volatile("call *%1" : "+a"(number) : "r"(hot_getppid_call) : "rcx", "r11", "memory");
  EXPECT_EQ(number, getpid());
  MakeHot(hot_getppid);
}

TEST(a_child_has_it_too) {
  MakeHot(hot_getppid);
  const pid_t parent = getpid();
  const pid_t child = FORK();
  if (child == 0) {
    for (int i = 0; i < kMany; ++i) EXPECT_EQ(hot_getppid(), parent);
    _exit(0);
  }
  MakeHot(hot_getppid);
  EXPECT_EXIT(child, 0);
}

static void* CallInThread(void* parent) {
  for (int i = 0; i < 20 * kMany; ++i) EXPECT(hot_getppid() == (intptr_t)parent);
  return NULL;
}

TEST(threads_have_their_own_results) {
  pthread_t threads[3];
  void* parent = (void*)(intptr_t)getppid();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pthread_create(&threads[i], NULL, CallInThread, parent), 0);
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pthread_join(threads[i], NULL), 0);
}

TEST(text_that_moves_returns_to_where_it_is) {
  char* text = MapText();
  MakeHot(GetppidIn(text));
  char* place = mmap(NULL, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(place != MAP_FAILED);
  EXPECT(mremap(text, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
  EXPECT_EQ(memcmp(place, hot_page, kPage), 0);
  MakeHot(GetppidIn(place));
}

TEST(text_that_moves_beside_a_child_returns_to_where_it_is) {
  char* text = MapText();
  MakeHot(GetppidIn(text));
  const pid_t parent = getpid();
  const pid_t child = FORK();
  if (child == 0) {
    for (int i = 0; i < kMany; ++i) EXPECT_EQ(GetppidIn(text)(), parent);
    raise(SIGSTOP);
    for (int i = 0; i < kMany; ++i) EXPECT_EQ(GetppidIn(text)(), parent);
    _exit(0);
  }
  int status;
  EXPECT_EQ(waitpid(child, &status, WUNTRACED), child);
  EXPECT(WIFSTOPPED(status));
  char* place = mmap(NULL, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(mremap(text, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
  MakeHot(GetppidIn(place));
  kill(child, SIGCONT);
  EXPECT_EXIT(child, 0);
}

TEST(text_that_is_read_anew_works) {
  char* text = MapText();
  for (int i = 0; i < 10; ++i) {
    MakeHot(GetppidIn(text));
    EXPECT_EQ(madvise(text, kPage, MADV_DONTNEED), 0);
  }
}

TEST(other_text_in_its_place_is_other_text) {
  char* text = MapText();
  MakeHot(GetppidIn(text));
  char* other =
      mmap(text, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  EXPECT(other == text);
  memcpy(text, hot_page, kPage);
  EXPECT_EQ(mprotect(text, kPage, PROT_READ | PROT_EXEC), 0);
  MakeHot(GetppidIn(text));
}

TEST(a_program_may_write_over_its_text) {
  char* text = MapText();
  MakeHot(GetppidIn(text));
  EXPECT_EQ(mprotect(text, kPage, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
  const unsigned char seven[] = {0xb8, 7, 0, 0, 0, 0xc3};  // mov $7, %eax; ret
  char* function = (char*)GetppidIn(text);
  memcpy(function, seven, sizeof seven);
  EXPECT_EQ(GetppidIn(text)(), 7);
  memcpy(function, (char*)hot_getppid, sizeof seven + 2);
  EXPECT_EQ(mprotect(text, kPage, PROT_READ | PROT_EXEC), 0);
  MakeHot(GetppidIn(text));
}

static volatile int ticks, strangers;
static void Tick(int number, siginfo_t* info, void* context) {
  (void)number, (void)info;
  const uintptr_t at = ((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
  const uintptr_t page = (uintptr_t)hot_page;
  const int in_function = at >= (uintptr_t)hot_getppid && at <= (uintptr_t)hot_getppid_call + 2;
  if (at >> 47 != 0 || (at - page < kPage && !in_function)) ++strangers;
  ++ticks;
}

TEST(signals_find_the_program_in_its_own_code) {
  struct sigaction action = {.sa_sigaction = Tick, .sa_flags = SA_SIGINFO | SA_RESTART};
  EXPECT_EQ(sigaction(SIGALRM, &action, NULL), 0);
  struct itimerval timer = {.it_value = {.tv_usec = 300}, .it_interval = {.tv_usec = 300}};
  EXPECT_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
  const pid_t parent = getppid();
  while (ticks < 200) EXPECT_EQ(hot_getppid(), parent);
  EXPECT_EQ(strangers, 0);
}
