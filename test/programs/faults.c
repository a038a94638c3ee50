// Faults that Linux turns into signals: stack overflow, truncated mapping, protection, null; each
// in a child, printed with si_code and the address's place.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile uint8_t* expected;

static void Report(int signal, siginfo_t* info, void* context) {
  (void)context;
  char line[80];
  const int n = snprintf(line, sizeof line, "signal %d code %d address %s\n", signal,
                         info->si_code, info->si_addr == (void*)expected ? "exact" : "other");
  if (write(1, line, n) != n) _exit(2);
  _exit(0);
}

static void CatchOnAlternativeStack(void) {
  static uint8_t stack[65536];
  stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternative, NULL);
  struct sigaction action = {.sa_sigaction = Report, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

static int Recurse(volatile int depth) {
  volatile char frame[4000];
  memset((char*)frame, depth, sizeof frame);
  return Recurse(depth + 1) + frame[depth % 4000];
}

static void StackOverflow(void) { exit(Recurse(0)); }
static void StackOverflowUncaught(void) {
  signal(SIGSEGV, SIG_DFL);
  exit(Recurse(0));
}

static int TemporaryFile(size_t size) {
  const int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, size) != 0) _exit(3);
  unlink("mapped");
  return fd;
}

static void Truncated(int flags, int prot) {
  const int fd = TemporaryFile(3 * 4096);
  uint8_t* map = mmap(NULL, 3 * 4096, prot, flags, fd, 0);
  volatile uint8_t* p = map;
  if (p[0] + p[4096] + p[8192] != 0) _exit(4);
  if (ftruncate(fd, 4096) != 0) _exit(5);
  if (p[100] != 0) _exit(6);
  expected = p + 8192 + 17;
  (void)*expected;
}
static void TruncatedShared(void) { Truncated(MAP_SHARED, PROT_READ | PROT_WRITE); }
static void TruncatedPrivate(void) { Truncated(MAP_PRIVATE, PROT_READ); }
static void TruncatedCopied(void) {
  const int fd = TemporaryFile(2 * 4096);
  volatile uint8_t* p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  p[4096] = 1;
  if (ftruncate(fd, 0) != 0) _exit(5);
  expected = p + 4096;
  (void)*expected;
}
static void BeyondEnd(void) {
  const int fd = TemporaryFile(10);
  volatile uint8_t* p = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p[4095] != 0) _exit(4);
  expected = p + 4096;
  (void)*expected;
}
static void SyscallOnTruncated(void) {
  const int fd = TemporaryFile(4096);
  void* p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (ftruncate(fd, 0) != 0) _exit(5);
  const ssize_t n = write(open("/dev/null", O_WRONLY), p, 100);
  const int zero = open("/dev/zero", O_RDONLY);
  const ssize_t r = read(zero, p, 100);
  printf("write %zd read %zd\n", n, r);
  exit(0);
}
static void ReadOnlyStore(void) {
  expected = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *expected = 1;
}
static void NoAccess(void) {
  expected = (volatile uint8_t*)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 5;
  (void)*expected;
}
static void ExecuteData(void) {
  expected = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *expected = 0xc3;
  ((void (*)(void))(uintptr_t)expected)();
}
static void AfterUnmap(void) {
  expected = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *expected = 1;
  munmap((void*)expected, 4096);
  *expected = 2;
}
static void AfterProtect(void) {
  expected = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *expected = 1;
  mprotect((void*)expected, 4096, PROT_READ);
  if (*expected != 1) _exit(4);
  *expected = 2;
}
static void AboveUserRange(void) {
  expected = (volatile uint8_t*)0x7ffffffff000;
  (void)*expected;
}
static void NonCanonical(void) {
  (void)*(volatile uint8_t*)0x800000000000;
}
static void JumpAway(void) {
  expected = (volatile uint8_t*)0x123456789000;
  ((void (*)(void))(uintptr_t)expected)();
}
static void KernelAddress(void) {
  expected = (volatile uint8_t*)0xffffffff80001000;
  (void)*expected;
}

static void BadPointers(void) {
  int fds[2];
  if (pipe(fds) != 0) _exit(1);
  if (write(fds[1], "0123456789", 10) != 10) _exit(1);
  uint8_t* two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(two + 4096, 4096);
  const ssize_t partial = write(fds[1], two + 4090, 100);
  void* volatile low_address = (void*)16;
  void* volatile trampoline = (void*)0xffffc90000000000;
  void* volatile kernel_address = (void*)0xffffffff80000000;
  const ssize_t none = write(fds[1], low_address, 10);
  const ssize_t high = write(fds[1], trampoline, 10);
  const ssize_t kernel = read(fds[0], kernel_address, 5);
  printf("partial %zd none %zd high %zd kernel %zd\n", partial, none, high, kernel);
  exit(0);
}

static const struct {
  const char* name;
  void (*run)(void);
} kFaults[] = {
    {"stack overflow", StackOverflow},
    {"stack overflow uncaught", StackOverflowUncaught},
    {"truncated shared", TruncatedShared},
    {"truncated private", TruncatedPrivate},
    {"truncated after copy", TruncatedCopied},
    {"beyond the end", BeyondEnd},
    {"syscalls on a truncated map", SyscallOnTruncated},
    {"read-only store", ReadOnlyStore},
    {"no access", NoAccess},
    {"execute data", ExecuteData},
    {"after munmap", AfterUnmap},
    {"after mprotect", AfterProtect},
    {"above the user range", AboveUserRange},
    {"non-canonical", NonCanonical},
    {"jump away", JumpAway},
    {"kernel address", KernelAddress},
    {"bad pointers", BadPointers},
};

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  const struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (unsigned i = 0; i < sizeof kFaults / sizeof *kFaults; i++) {
    if (argc > 1 && strcmp(argv[1], kFaults[i].name) != 0) continue;
    printf("%s: ", kFaults[i].name);
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      CatchOnAlternativeStack();
      kFaults[i].run();
      printf("no fault\n");
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) printf("status %x\n", status);
  }
  return 0;
}
