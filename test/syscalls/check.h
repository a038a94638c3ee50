// The frame of a conformance program: cases, checks and children. Plain C for Linux, no library.
//
// A program is a list of TEST(name) { ... } and nothing else; main() is here. Each case runs in a
// child of its own, in an empty scratch directory below /tmp (or below $CHECK_SCRATCH), with umask
// 022, default signal actions, an empty mask and 30 s of time. The first failed check of the case
// or of any process forked in it decides. Prints `ok NAME` or `not ok NAME # file:line what` for
// each case and exits with 1 if any failed; `PROGRAM --list` prints the names, `PROGRAM CASE...`
// runs only these.
#ifndef RINGFENCE_TEST_SYSCALLS_CHECK_H_
#define RINGFENCE_TEST_SYSCALLS_CHECK_H_

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

// An address that no program can use: user half, never mapped.
#define BAD_POINTER ((void*)0x10)

typedef struct Case {
  const char* name;
  void (*body)(void);
  struct Case* next;
} Case;

// Shared with all processes of a case; `failed` is claimed by the first that reports.
typedef struct {
  int failed;
  char text[400];
} Verdict;

static Case* check_first;
static Case** check_last = &check_first;
static Verdict* check_verdict;
static pid_t check_running;
static const char* check_program;

#define TEST(case_name)                                                 \
  static void Test_##case_name(void);                                   \
  static Case entry_##case_name = {#case_name, Test_##case_name, NULL}; \
  __attribute__((constructor)) static void Register_##case_name(void) { \
    *check_last = &entry_##case_name;                                   \
    check_last = &entry_##case_name.next;                               \
  }                                                                     \
  static void Test_##case_name(void)

// Records the first failure and ends the calling process.
__attribute__((noreturn, format(printf, 3, 4))) static void Fail(const char* file, int line,
                                                                 const char* format, ...) {
  if (__atomic_exchange_n(&check_verdict->failed, 1, __ATOMIC_SEQ_CST) == 0) {
    char what[300];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    const char* slash = strrchr(file, '/');
    snprintf(check_verdict->text, sizeof check_verdict->text, "%s:%d %s", slash ? slash + 1 : file,
             line, what);
  }
  _exit(99);
}

#define EXPECT(condition)                                         \
  do {                                                            \
    if (!(condition)) Fail(__FILE__, __LINE__, "%s", #condition); \
  } while (0)

#define EXPECT_EQ(got, want)                                                             \
  do {                                                                                   \
    const long long got_ = (long long)(got), want_ = (long long)(want);                  \
    if (got_ != want_)                                                                   \
      Fail(__FILE__, __LINE__, "%s is %lld (%#llx), not %lld", #got, got_, got_, want_); \
  } while (0)

#define EXPECT_STR(got, want)                                                  \
  do {                                                                         \
    const char *got_ = (got), *want_ = (want);                                 \
    if (strcmp(got_, want_) != 0)                                              \
      Fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #got, got_, want_); \
  } while (0)

// The call succeeds; the value is its result.
#define OK(call)                                                                                \
  ({                                                                                            \
    errno = 0;                                                                                  \
    const long result_ = (long)(call);                                                          \
    if (result_ == -1) Fail(__FILE__, __LINE__, "%s fails: %s", #call, strerrorname_np(errno)); \
    result_;                                                                                    \
  })

#define EXPECT_ERRNO(call, error)                                                                \
  do {                                                                                           \
    errno = 0;                                                                                   \
    const long result_ = (long)(call);                                                           \
    const int errno_ = errno;                                                                    \
    if (result_ != -1) Fail(__FILE__, __LINE__, "%s gives %ld, not %s", #call, result_, #error); \
    if (errno_ != (error))                                                                       \
      Fail(__FILE__, __LINE__, "%s: %s, not %s", #call, strerrorname_np(errno_), #error);        \
  } while (0)

static UNUSED pid_t ForkAt(const char* file, int line) {
  const pid_t pid = fork();
  if (pid < 0) Fail(file, line, "fork: %s", strerrorname_np(errno));
  return pid;
}

// In the child the value is 0; it must end with _exit().
#define FORK() ForkAt(__FILE__, __LINE__)

static UNUSED int WaitStatusAt(const char* file, int line, pid_t pid) {
  int status = 0;
  pid_t done;
  do {
    done = waitpid(pid, &status, __WALL);
  } while (done < 0 && errno == EINTR);
  if (done != pid) Fail(file, line, "waitpid(%d): %d, %s", pid, done, strerrorname_np(errno));
  return status;
}

#define WAIT_STATUS(pid) WaitStatusAt(__FILE__, __LINE__, pid)
#define EXPECT_EXIT(pid, code) EXPECT_EQ(WAIT_STATUS(pid), (code) << 8)
#define EXPECT_KILLED(pid, number) EXPECT_EQ(WAIT_STATUS(pid) & 0x7f, number)

// Runs the statements in a child and expects them to come through.
#define IN_CHILD(...)            \
  do {                           \
    const pid_t child_ = FORK(); \
    if (child_ == 0) {           \
      __VA_ARGS__;               \
      _exit(0);                  \
    }                            \
    EXPECT_EXIT(child_, 0);      \
  } while (0)

static UNUSED void SleepMs(int ms) {
  struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

static UNUSED int64_t NowMs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Waits until the condition holds, 10 s at most.
#define EVENTUALLY(condition)                                                \
  do {                                                                       \
    const int64_t end_ = NowMs() + 10000;                                    \
    while (!(condition)) {                                                   \
      if (NowMs() > end_) Fail(__FILE__, __LINE__, "never: %s", #condition); \
      SleepMs(1);                                                            \
    }                                                                        \
  } while (0)

// Memory that this process shares with its children.
static UNUSED void* Shared(size_t size) {
  void* p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT(p != MAP_FAILED);
  return p;
}

// A file of the scratch directory with this text.
static UNUSED void WriteFile(const char* path, const char* text) {
  FILE* file = fopen(path, "w");
  EXPECT(file != NULL);
  EXPECT(fputs(text, file) >= 0);
  EXPECT(fclose(file) == 0);
}

// The first bytes of a file, as a string; false if it cannot be read.
static UNUSED int ReadFile(const char* path, char* buffer, size_t size) {
  FILE* file = fopen(path, "r");
  if (file == NULL) return 0;
  const size_t n = fread(buffer, 1, size - 1, file);
  buffer[n] = 0;
  fclose(file);
  return 1;
}

static UNUSED int CheckRemove(const char* path, const struct stat* s, int type, struct FTW* walk) {
  (void)s, (void)type, (void)walk;
  return remove(path);
}

static void CheckTimeout(int number) {
  (void)number;
  kill(-check_running, SIGKILL);
  kill(check_running, SIGKILL);
}

__attribute__((noreturn)) static void CheckChild(const Case* test, const char* directory) {
  setpgid(0, 0);
  for (int i = 1; i < NSIG; i++) signal(i, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  umask(022);
  EXPECT(chdir(directory) == 0);
  test->body();
  _exit(0);
}

static int CheckRun(const Case* test) {
  const char* below = getenv("CHECK_SCRATCH");
  char directory[256];
  snprintf(directory, sizeof directory, "%s/ringfence-check-XXXXXX", below ? below : "/tmp");
  memset(check_verdict, 0, sizeof *check_verdict);
  if (mkdtemp(directory) == NULL || chmod(directory, 0755) != 0) {
    printf("not ok %s # no scratch directory: %s\n", test->name, strerrorname_np(errno));
    return 1;
  }
  fflush(stdout);
  check_running = fork();
  if (check_running == 0) CheckChild(test, directory);
  setpgid(check_running, check_running);
  alarm(30);
  int status = 0;
  while (waitpid(check_running, &status, 0) < 0) {
    if (errno != EINTR) Fail(__FILE__, __LINE__, "waitpid: %s", strerrorname_np(errno));
  }
  alarm(0);
  kill(-check_running, SIGKILL);
  nftw(directory, CheckRemove, 16, FTW_DEPTH | FTW_PHYS);
  if (check_verdict->failed) {
    printf("not ok %s # %s\n", test->name, check_verdict->text);
  } else if (status != 0) {
    printf("not ok %s # ended with wait status %#x\n", test->name, status);
  } else {
    printf("ok %s\n", test->name);
  }
  return check_verdict->failed || status != 0;
}

static int CheckWanted(const Case* test, int argc, char** argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], test->name) == 0) return 1;
  }
  return argc == 1;
}

// A program that executes itself defines CHECK_REENTRY and gets the arguments that begin with
// "--as-".
#ifdef CHECK_REENTRY
static int Reentry(int argc, char** argv);
#endif

// make(1) leaves signals ignored that nobody can name (32 and 33, the C library's own).
static void DefaultSignals(void) {
  const unsigned long by_default[4] = {0};  // struct sigaction of the kernel
  for (int signal = 1; signal <= 64; signal++)
    syscall(SYS_rt_sigaction, signal, by_default, NULL, 8);
}

int main(int argc, char** argv) {
  check_verdict =
      mmap(NULL, sizeof *check_verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
#ifdef CHECK_REENTRY
  if (argc > 1 && strncmp(argv[1], "--as-", 5) == 0) return Reentry(argc, argv);
#endif
  DefaultSignals();
  static char self[4096];
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) strcpy(self, argv[0]);
  check_program = self;
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (const Case* test = check_first; test != NULL; test = test->next) puts(test->name);
    return 0;
  }
  struct sigaction action = {.sa_handler = CheckTimeout};
  sigaction(SIGALRM, &action, NULL);
  int failed = 0;
  for (const Case* test = check_first; test != NULL; test = test->next) {
    if (CheckWanted(test, argc, argv)) failed += CheckRun(test);
  }
  return failed > 0;
}

#endif  // RINGFENCE_TEST_SYSCALLS_CHECK_H_
