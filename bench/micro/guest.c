// Guest side of the micro benchmarks: `guest NAME COUNT [ARGUMENT...]` prints nanoseconds per operation.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static long Raw0(long number) {
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
  return result;
}

static void Fail(const char* what) {
  fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
  exit(1);
}

// SYS_getppid: the kernel has to be asked, nothing can be cached by libc.
static double Getppid(long count) {
  const double start = Now();
  for (long i = 0; i < count; i++) Raw0(SYS_getppid);
  return (Now() - start) / count;
}

static double Cpu(long count) {
  const double start = Now();
  uint64_t x = 1;
  for (long i = 0; i < count; i++) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    asm volatile("" : "+r"(x));
  }
  return (Now() - start) / count;
}

// First touch of `count` MiB, 4 KiB at a time; per page.
static double Touch(long count) {
  const size_t size = (size_t)count << 20;
  const double start = Now();
  char* p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) Fail("mmap");
  for (size_t at = 0; at < size; at += 4096) p[at] = 1;
  const double end = Now();
  munmap(p, size);
  return (end - start) / (size / 4096);
}

static double Pipe(long count) {
  int fds[2];
  char byte = 0;
  if (pipe(fds) != 0) Fail("pipe");
  const double start = Now();
  for (long i = 0; i < count; i++) {
    if (write(fds[1], &byte, 1) != 1 || read(fds[0], &byte, 1) != 1) Fail("pipe");
  }
  return (Now() - start) / count;
}

static double ClockGettime(long count) {
  struct timespec t;
  const double start = Now();
  for (long i = 0; i < count; i++) clock_gettime(CLOCK_MONOTONIC, &t);
  return (Now() - start) / count;
}

static double Fork(long count) {
  const double start = Now();
  for (long i = 0; i < count; i++) {
    const pid_t child = fork();
    if (child < 0) Fail("fork");
    if (child == 0) _exit(0);
    if (waitpid(child, NULL, 0) != child) Fail("waitpid");
  }
  return (Now() - start) / count;
}

static double VforkExec(long count) {
  const double start = Now();
  for (volatile long i = 0; i < count; i++) {
    const pid_t child = vfork();
    if (child < 0) Fail("vfork");
    if (child == 0) {
      execl("/bin/busybox", "true", (char*)NULL);
      _exit(127);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) Fail("vfork and exec");
  }
  return (Now() - start) / count;
}

static char** arguments;  // after the count

// Starts the program of the arguments, and waits for its end.
static double StartProgram(long count) {
  if (arguments[0] == NULL) Fail("no program");
  const double start = Now();
  for (volatile long i = 0; i < count; i++) {
    const pid_t child = vfork();
    if (child < 0) Fail("vfork");
    if (child == 0) {
      execv(arguments[0], arguments);
      _exit(127);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) Fail("program");
  }
  return (Now() - start) / count;
}

// Reads the file of the first argument from begin to end, as many bytes a time as the second says.
static double ReadFile(long count) {
  if (arguments[0] == NULL || arguments[1] == NULL) Fail("no file and size");
  const size_t size = atol(arguments[1]);
  char* const buffer = malloc(size);
  const int fd = open(arguments[0], O_RDONLY);
  if (fd < 0 || buffer == NULL) Fail("file");
  const double start = Now();
  for (long i = 0; i < count; i++) {
    if (lseek(fd, 0, SEEK_SET) != 0) Fail("lseek");
    ssize_t n;
    while ((n = read(fd, buffer, size)) > 0) {
    }
    if (n < 0) Fail("read");
  }
  const double end = Now();
  close(fd);
  free(buffer);
  return (end - start) / count;
}

static double Mmap(long count) {
  const double start = Now();
  for (long i = 0; i < count; i++) {
    char* p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) Fail("mmap");
    p[0] = 1;
    munmap(p, 65536);
  }
  return (Now() - start) / count;
}

static void OnSignal(int signal) { (void)signal; }
static double Signal(long count) {
  signal(SIGUSR1, OnSignal);
  const pid_t self = getpid();
  const double start = Now();
  for (long i = 0; i < count; i++) kill(self, SIGUSR1);
  return (Now() - start) / count;
}

static void* Nothing(void* arg) { return arg; }
static double Thread(long count) {
  const double start = Now();
  for (long i = 0; i < count; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, Nothing, NULL) != 0) Fail("pthread_create");
    pthread_join(thread, NULL);
  }
  return (Now() - start) / count;
}

static const struct {
  const char* name;
  double (*run)(long count);
} kWorkloads[] = {
    {"getppid", Getppid},     {"cpu", Cpu},   {"touch", Touch},  {"pipe", Pipe},
    {"clock_gettime", ClockGettime}, {"fork", Fork}, {"vfork_exec", VforkExec},
    {"start_python", StartProgram}, {"read_128k", ReadFile}, {"read_1m", ReadFile},
    {"mmap", Mmap},           {"signal", Signal}, {"thread", Thread},
};

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: guest NAME COUNT [ARGUMENT...]\n");
    return 2;
  }
  arguments = argv + 3;
  for (size_t i = 0; i < sizeof kWorkloads / sizeof *kWorkloads; i++) {
    if (strcmp(kWorkloads[i].name, argv[1]) != 0) continue;
    const long count = atol(argv[2]);
    if (count <= 0) return 2;
    if (kWorkloads[i].run != Touch) kWorkloads[i].run(count / 10 + 1);  // warm up
    printf("%.2f\n", kWorkloads[i].run(count));
    return 0;
  }
  fprintf(stderr, "guest: no workload %s\n", argv[1]);
  return 2;
}
