// TF: single steps over plain instructions and over SYSCALL; prints where each SIGTRAP stopped.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

extern char step_start[];
static volatile int count;
static long offsets[64];
static int codes[64];

static void OnTrap(int signal, siginfo_t* info, void* context) {
  (void)signal;
  const ucontext_t* uc = context;
  if (count < 64) {
    offsets[count] = (long)(uc->uc_mcontext.gregs[REG_RIP] - (greg_t)(uintptr_t)step_start);
    codes[count++] = info->si_code;
  }
}

int main(void) {
  struct sigaction action = {.sa_sigaction = OnTrap, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  asm volatile(
      ".globl step_start\n"
      "pushfq\n"
      "orq $0x100, (%%rsp)\n"
      "popfq\n"
      "step_start:\n"
      "nop\n"
      "mov $39, %%eax\n"
      "syscall\n"
      "nop\n"
      "mov $39, %%eax\n"
      "syscall\n"
      "pushfq\n"
      "andq $~0x100, (%%rsp)\n"
      "popfq\n"
      "nop\n"
      :
      :
      : "rax", "rcx", "r11", "memory", "cc");
  for (int i = 0; i < count; i++) printf("trap at +%ld code %d\n", offsets[i], codes[i]);
  printf("%d traps\n", count);
  return 0;
}
