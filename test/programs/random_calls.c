// Random system calls with random arguments, from children that may do as they like. The kernel
// below must survive: random_calls SEED CHILDREN CALLS prints one line when all children are gone.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kTickMs = 10, kPatienceMs = 4000 };

static uint64_t state;

static uint64_t Random(void) {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1d;
}

static uint8_t* page;  // of readable and writable memory, the next one is not there
static uint8_t* code;  // read-only

static uint64_t Argument(void) {
  static const uint64_t kOdd[] = {0,
                                  1,
                                  2,
                                  3,
                                  4,
                                  7,
                                  8,
                                  16,
                                  64,
                                  255,
                                  256,
                                  4095,
                                  4096,
                                  4097,
                                  65536,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  0x100000000,
                                  0x7fffffffffff,
                                  0x7ffffffff000,
                                  0x800000000000,
                                  0xffff800000000000,
                                  0xffffc90000000000,
                                  0xffffc90000001000,
                                  0xffffffffff600000,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  ~0ull,
                                  ~0ull - 99,
                                  ~0ull - 4095,
                                  (uint64_t)-100};
  switch (Random() % 8) {
    case 0:
    case 1:
      return kOdd[Random() % (sizeof kOdd / sizeof *kOdd)];
    case 2:
      return Random() % 16;  // descriptors, signals, flags
    case 3:
      return (uint64_t)(uintptr_t)page + Random() % 4096;
    case 4:
      return (uint64_t)(uintptr_t)page;
    case 5:
      return (uint64_t)(uintptr_t)page + 4096 - Random() % 64;  // runs off the end
    case 6:
      return (uint64_t)(uintptr_t)code;
    default:
      return Random();
  }
}

// Those that would only end the test: its own processes stopped or killed from outside, sleeping.
static int Harmless(long number) {
  switch (number) {
    case SYS_exit:
    case SYS_exit_group:
    case SYS_pause:
    case SYS_kill:
    case SYS_tkill:
    case SYS_tgkill:
    case SYS_rt_sigqueueinfo:
    case SYS_rt_tgsigqueueinfo:
    case SYS_rt_sigsuspend:
    case SYS_reboot:
    case SYS_vhangup:
    case SYS_setsid:
      return 0;
    default:
      return 1;
  }
}

static void Child(long calls) {
  static const char* const kNames[] = {
      "/tmp/random", "/proc/self/maps", "/dev/zero", ".", "/tmp", ""};
  const struct rlimit cpu = {5, 5};
  setrlimit(RLIMIT_CPU, &cpu);
  for (int i = 1; i < 32; i++) signal(i, SIG_DFL);
  page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(page + 4096, 4096);
  code = (uint8_t*)(uintptr_t)&Child;
  alarm(3);
  for (long i = 0; i < calls; i++) {
    if (Random() % 4 == 0) {
      for (int k = 0; k < 4096; k += 8) *(uint64_t*)(page + k) = Argument();
    }
    if (Random() % 4 == 0) strcpy((char*)page, kNames[Random() % (sizeof kNames / sizeof *kNames)]);
    const long number = Random() % 32 == 0 ? (long)Random() : (long)(Random() % 470);
    if (!Harmless(number)) continue;
    if (number == SYS_fork || number == SYS_clone || number == SYS_vfork || number == SYS_clone3) {
      if (Random() % 16 != 0) continue;
      if (syscall(SYS_fork) == 0) alarm(4);
      continue;
    }
    syscall(number, Argument(), Argument(), Argument(), Argument(), Argument(), Argument());
  }
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const uint64_t seed = strtoull(argv[1], NULL, 10);
  const long children = atol(argv[2]), calls = atol(argv[3]);
  const int quiet = dup(1);
  close(1);
  close(2);
  for (long i = 0; i < children; i++) {
    const pid_t child = fork();
    if (child == 0) {
      close(quiet);
      setpgid(0, 0);
      state = (seed * 1000003 + (uint64_t)i + 1) * 0x9e3779b97f4a7c15;
      Child(calls);
      _exit(0);
    }
    // It may have undone its alarm: SIGKILL always works.
    for (int ticks = 0; waitpid(child, NULL, WNOHANG) != child; ticks++) {
      if (ticks == kPatienceMs / kTickMs) kill(child, SIGKILL);
      usleep(kTickMs * 1000);
    }
    kill(-child, SIGKILL);
  }
  dprintf(quiet, "survived %ld children\n", children);
  return 0;
}
