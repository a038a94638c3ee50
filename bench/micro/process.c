// Processes, threads, signals.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/micro/guest.h"

static void WaitFor(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) Fail("waitpid");
  if (status != 0) Unable("the child failed");
}

static void ForkAndWait(void) {
  const pid_t child = fork();
  if (child < 0) Fail("fork");
  if (child == 0) _exit(0);
  WaitFor(child);
}

static void Fork(long n) {
  for (long i = 0; i < n; i++) ForkAndWait();
}

static const size_t kHuge = 2 << 20;
static const size_t kUnit = 64 << 10;
static char* dirty;
static size_t dirty_size;

static void MakeDirty(size_t size, int advice) {
  char* const raw =
      mmap(NULL, size + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) Fail("mmap");
  dirty = (char*)(((uintptr_t)raw + kHuge - 1) & ~(uintptr_t)(kHuge - 1));
  dirty_size = size;
  madvise(dirty, size, advice);
  memset(dirty, 1, size);
}

static void SetUp1M(void) { MakeDirty(1 << 20, MADV_NOHUGEPAGE); }
static void SetUp256MHuge(void) { MakeDirty(256 << 20, MADV_HUGEPAGE); }
static void SetUp256MSmall(void) { MakeDirty(256 << 20, MADV_NOHUGEPAGE); }

// fork, exit and wait; then the parent rewrites 10% of what it has: 64 KiB of each 640.
static void ForkAndRewrite(long n) {
  for (long i = 0; i < n; i++) {
    ForkAndWait();
    for (size_t at = 0; at + kUnit <= dirty_size; at += 10 * kUnit)
      memset(dirty + at, (int)i, kUnit);
  }
}

static void StartAndWait(const char* program, char* const* argv) {
  const pid_t child = vfork();
  if (child < 0) Fail("vfork");
  if (child == 0) {
    execv(program, argv);
    _exit(127);
  }
  WaitFor(child);
}

// A static program that ends at once: this one.
static void VforkExec(long n) {
  char* const argv[] = {(char*)"guest", (char*)"exit", NULL};
  for (volatile long i = 0; i < n; i++) StartAndWait(self_path, argv);
}

// The program of the arguments.
static void StartProgram(long n) {
  if (arguments[0] == NULL) Unable("needs a program");
  for (volatile long i = 0; i < n; i++) StartAndWait(arguments[0], arguments);
}

static void OnSignal(int signal) { (void)signal; }

static void SetUpSignal(void) { signal(SIGUSR1, OnSignal); }

static void Signal(long n) {
  const pid_t self = getpid();
  for (long i = 0; i < n; i++) kill(self, SIGUSR1);
}

static void* Nothing(void* arg) { return arg; }

static void Thread(long n) {
  for (long i = 0; i < n; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, Nothing, NULL) != 0) Fail("pthread_create");
    pthread_join(thread, NULL);
  }
}

const struct Workload kProcessWorkloads[] = {
    {.name = "fork", .loop = Fork},
    {.name = "fork_1m", .setup = SetUp1M, .loop = ForkAndRewrite},
    {.name = "fork_256m_huge", .setup = SetUp256MHuge, .loop = ForkAndRewrite},
    {.name = "fork_256m_small", .setup = SetUp256MSmall, .loop = ForkAndRewrite},
    {.name = "vfork_exec", .loop = VforkExec},
    {.name = "start_python", .loop = StartProgram},
    {.name = "signal", .setup = SetUpSignal, .loop = Signal},
    {.name = "thread", .loop = Thread},
    {0},
};
