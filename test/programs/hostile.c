// Attacks what the platform maps above the application's range: jumps into each of its first pages
// at every offset with random registers, writes to every page it can while siblings make calls, and
// issues calls from odd places. Each attack is a child of its own; whatever becomes of the child,
// this process must go on and calls must keep working. Natively there is nothing at those addresses.
#define _GNU_SOURCE
#include <pthread.h>
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

static const uint64_t kReserved = 0xffffc90000000000;
enum { kPages = 16, kStride = 3 };

static uint64_t seed = 123456789;
static uint64_t Random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static void Jump(uint64_t target) {
  // The number in rax is one that does no harm when the jump amounts to a call.
  asm volatile(
      "mov %0, %%r15\n"
      "mov %1, %%rcx\n"
      "mov %1, %%r11\n"
      "mov %1, %%rdi\n"
      "mov %1, %%rsi\n"
      "mov %1, %%rdx\n"
      "mov %1, %%rbx\n"
      "mov $39, %%eax\n"
      "jmp *%%r15\n"
      :
      : "r"(target), "r"(Random())
      : "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "r11", "r15", "memory");
}

static volatile int stop;
static void* Caller(void* arg) {
  (void)arg;
  while (!stop) syscall(SYS_getpgid, 0);
  return NULL;
}

// Runs `attack` in a child with a sibling thread that makes calls; ends it after a short time.
static void InChild(void (*attack)(uint64_t), uint64_t argument, int with_sibling) {
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    alarm(2);
    pthread_t sibling;
    if (with_sibling) pthread_create(&sibling, NULL, Caller, NULL);
    attack(argument);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
}

static void ScribblePage(uint64_t page) {
  const int value = (int)Random();
  volatile uint64_t* words = (volatile uint64_t*)page;
  for (int round = 0; round < 2000; round++) {
    for (int i = 0; i < 512; i++) words[i] = round % 3 ? Random() : (uint64_t)(round + value) % 6;
  }
}

static void ReadPage(uint64_t page) {
  uint64_t sum = 0;
  for (int i = 0; i < 4096; i++) sum += ((volatile uint8_t*)page)[i];
  _exit(sum == 0);
}

static void CallsOnReservedMemory(uint64_t page) {
  int fds[2];
  if (pipe(fds) != 0) return;
  write(fds[1], (void*)page, 64);
  read(fds[0], (void*)page, 64);
  mmap((void*)page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  munmap((void*)page, 4096);
  mprotect((void*)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
  madvise((void*)page, 4096, MADV_DONTNEED);
}

static void StackInReserved(uint64_t page) {
  asm volatile(
      "mov %0, %%rsp\n"
      "mov $39, %%eax\n"
      "syscall\n"
      "push %%rax\n"
      "mov $39, %%eax\n"
      "syscall\n"
      "ud2\n"
      :
      : "r"(page + 2048)
      : "memory", "rax", "rcx", "r11");
}

int main(int argc, char** argv) {
  const int jumps = argc > 1 ? atoi(argv[1]) : 400;
  for (int i = 0; i < kPages; i++) {
    const uint64_t page = kReserved + (uint64_t)i * 4096;
    InChild(ReadPage, page, 0);
    InChild(CallsOnReservedMemory, page, 0);
    InChild(StackInReserved, page, 0);
    if (i < 6) InChild(ScribblePage, page, 1);
  }
  for (int i = 0; i < jumps; i++) {
    const uint64_t page = kReserved + (Random() % 3) * 8192;
    InChild(Jump, page + (uint64_t)(i * kStride) % 400, i % 8 == 0);
  }
  InChild(Jump, 0xffffffffff600000, 0);
  InChild(Jump, 0xffffffff80000000, 0);
  InChild(Jump, 0x800000000000, 0);
  if (getppid() < 0 || write(1, "", 0) != 0) return 1;
  puts("still here");
  return 0;
}
