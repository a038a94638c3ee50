// One kind of work, as often as asked, for tests that count what it costs: repeat KIND N.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// A call that does nothing; like all that have arguments it is made to the kernel each time.
static void GetPgid(long n) {
  while (n-- > 0) syscall(SYS_getpgid, 0);
}

// Calls that a kernel could answer without being entered.
static void GetIds(long n) {
  const long pid = getpid();
  while (n-- > 0) {
    if (syscall(SYS_getpid) != pid || syscall(SYS_gettid) != pid) exit(1);
    if (syscall(SYS_getppid) < 0 || syscall(SYS_getpgrp) < 0) exit(1);
    if (syscall(SYS_getuid) < 0 || syscall(SYS_geteuid) < 0) exit(1);
    if (syscall(SYS_getgid) < 0 || syscall(SYS_getegid) < 0) exit(1);
  }
}

// Wake-ups of nobody, and waits for a word that has changed already.
static void Futexes(long n) {
  static uint32_t word;
  while (n-- > 0) {
    if (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 0) exit(1);
    if (syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0) != -1) exit(1);
  }
}

// N mebibytes of fresh memory, one store a page.
static void Touch(long n) {
  const size_t bytes = (size_t)n << 20;
  uint8_t* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) exit(1);
  for (size_t i = 0; i < bytes; i += 4096) p[i] = 1;
}

static uint8_t* Memory(size_t bytes) {
  uint8_t* p =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) exit(1);
  return p;
}

// A byte in each of N blocks of 2 MiB.
static void Sparse(long n) {
  const size_t block = 2 << 20;
  uint8_t* p = Memory(n * block);
  for (long i = 0; i < n; i++) p[i * block] = 1;
  for (long i = 0; i < n; i++) {
    if (p[i * block] != 1 || p[i * block + 1] != 0) exit(1);
  }
}

// Forks of a process with 1 MiB of its own, of which it changes a tenth after each.
static void ForkDirty(long n) {
  const size_t bytes = 1 << 20;
  uint8_t* p = Memory(bytes);
  memset(p, 1, bytes);
  while (n-- > 0) {
    const pid_t child = fork();
    if (child == 0) _exit(p[bytes / 20] == 1 || p[bytes / 20] == (uint8_t)(n + 1) ? 0 : 1);
    int status = 1;
    if (waitpid(child, &status, 0) != child || status != 0) exit(1);
    for (size_t i = 0; i < bytes / 10; i += 4096) p[i] = n;
  }
}

static void Step(const char* done) {
  puts(done);
  fflush(stdout);
  if (getchar() != '\n') exit(1);
}

// Takes N mebibytes and gives them back, in each way there is, a line of input for each step.
static void GiveBack(long n) {
  const size_t bytes = (size_t)n << 20;
  uint8_t* p = Memory(bytes);
  Step("start");
  memset(p, 1, bytes);
  Step("touched");
  if (madvise(p, bytes, MADV_DONTNEED) != 0) exit(1);
  Step("discarded");
  memset(p, 2, bytes);
  Step("touched");
  munmap(p, bytes);
  Step("unmapped");
  const pid_t child = fork();
  if (child == 0) {
    memset(Memory(bytes), 3, bytes);
    Step("touched");
    _exit(0);
  }
  if (waitpid(child, NULL, 0) != child) exit(1);
  Step("ended");
}

static void Fork(long n) {
  while (n-- > 0) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (waitpid(child, NULL, 0) != child) exit(1);
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const long n = atol(argv[2]);
  if (strcmp(argv[1], "getpgid") == 0) {
    GetPgid(n);
  } else if (strcmp(argv[1], "ids") == 0) {
    GetIds(n);
  } else if (strcmp(argv[1], "futexes") == 0) {
    Futexes(n);
  } else if (strcmp(argv[1], "touch") == 0) {
    Touch(n);
  } else if (strcmp(argv[1], "sparse") == 0) {
    Sparse(n);
  } else if (strcmp(argv[1], "fork") == 0) {
    Fork(n);
  } else if (strcmp(argv[1], "fork_dirty") == 0) {
    ForkDirty(n);
  } else if (strcmp(argv[1], "give_back") == 0) {
    GiveBack(n);
  } else {
    return 2;
  }
  return 0;
}
