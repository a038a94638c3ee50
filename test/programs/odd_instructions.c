// Executes one privileged or odd instruction per child and prints how Linux ends it: the signal,
// si_code and whether the program counter in the signal frame is the instruction's own.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

struct Instruction {
  const char* name;
  uint8_t bytes[12];
  uint8_t length;
};

static const struct Instruction kInstructions[] = {
    {"hlt", {0xf4}, 1},
    {"vmcall", {0x0f, 0x01, 0xc1}, 3},
    {"cli", {0xfa}, 1},
    {"sti", {0xfb}, 1},
    {"in al, 0x80", {0xe4, 0x80}, 2},
    {"in eax, dx", {0xed}, 1},
    {"out 0x80, al", {0xe6, 0x80}, 2},
    {"out dx, al", {0xee}, 1},
    {"outsb", {0x6e}, 1},
    {"insb", {0x6c}, 1},
    {"int 0x03", {0xcd, 0x03}, 2},
    {"int 0x01", {0xcd, 0x01}, 2},
    {"int 0x20", {0xcd, 0x20}, 2},
    {"int 0x81", {0xcd, 0x81}, 2},
    {"int 0xff", {0xcd, 0xff}, 2},
    {"int3", {0xcc}, 1},
    {"int1", {0xf1}, 1},
    {"ud2", {0x0f, 0x0b}, 2},
    {"ud1", {0x0f, 0xb9, 0xc0}, 3},
    {"mov rax, cr0", {0x0f, 0x20, 0xc0}, 3},
    {"mov cr3, rax", {0x0f, 0x22, 0xd8}, 3},
    {"mov rax, dr7", {0x0f, 0x21, 0xf8}, 3},
    {"rdmsr", {0x0f, 0x32}, 2},
    {"wrmsr", {0x0f, 0x30}, 2},
    {"wbinvd", {0x0f, 0x09}, 2},
    {"invd", {0x0f, 0x08}, 2},
    {"invlpg [rax]", {0x0f, 0x01, 0x38}, 3},
    {"lgdt [rsp]", {0x0f, 0x01, 0x14, 0x24}, 4},
    {"lidt [rsp]", {0x0f, 0x01, 0x1c, 0x24}, 4},
    {"ltr ax", {0x0f, 0x00, 0xd8}, 3},
    {"swapgs", {0x0f, 0x01, 0xf8}, 3},
    {"sysretq", {0x48, 0x0f, 0x07}, 3},
    {"iretq to garbage", {0x6a, 0, 0x6a, 0, 0x6a, 0, 0x6a, 0x77, 0x6a, 0, 0x48, 0xcf}, 12},
    {"clts", {0x0f, 0x06}, 2},
    {"lmsw ax", {0x0f, 0x01, 0xf0}, 3},
    {"mov ss, ax (bad selector)", {0x66, 0xb8, 0x77, 0x77, 0x8e, 0xd0}, 6},
    {"lock nop (invalid)", {0xf0, 0x90}, 2},
    {"divide by zero", {0x31, 0xc9, 0x31, 0xd2, 0xf7, 0xf1}, 6},
    {"movaps misaligned", {0x0f, 0x28, 0x44, 0x24, 0x01}, 5},
    {"non-canonical load", {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0x80, 0x00, 0x8b, 0x00}, 12},
    {"load from null", {0x31, 0xc0, 0x8b, 0x00}, 4},
    {"store to kernel", {0x48, 0xc7, 0xc0, 0, 0, 0, 0x81, 0x89, 0x00}, 9},
    {"xsetbv", {0x0f, 0x01, 0xd1}, 3},
    {"monitor", {0x0f, 0x01, 0xc8}, 3},
    {"vmrun", {0x0f, 0x01, 0xd8}, 3},
};

static uint8_t* code;

static void Report(int signal, siginfo_t* info, void* context) {
  const ucontext_t* uc = context;
  const long offset = (long)(uc->uc_mcontext.gregs[REG_RIP] - (greg_t)(uintptr_t)code);
  char line[120];
  const int address_known = info->si_addr == (void*)code ? 1 : info->si_addr == NULL ? 0 : 2;
  int n = snprintf(line, sizeof line, "signal %d code %d rip+%ld address %d trap %lld error %llx\n",
                   signal, info->si_code, offset, address_known,
                   (long long)uc->uc_mcontext.gregs[REG_TRAPNO],
                   (unsigned long long)uc->uc_mcontext.gregs[REG_ERR]);
  if (write(1, line, n) != n) _exit(2);
  _exit(0);
}

static void RunOne(const struct Instruction* instruction) {
  static uint8_t stack[65536];
  stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternative, NULL);
  struct sigaction action = {.sa_sigaction = Report, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
    sigaction(signals[i], &action, NULL);
  }
  memcpy(code, instruction->bytes, instruction->length);
  static const uint8_t kAfter[] = {0x0f, 0x0b};  // ud2: the instruction did not fault
  memcpy(code + instruction->length, kAfter, sizeof kAfter);
  ((void (*)(void))code)();
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return 1;
  for (unsigned i = 0; i < sizeof kInstructions / sizeof *kInstructions; i++) {
    const struct Instruction* instruction = &kInstructions[i];
    if (argc > 1 && strcmp(argv[1], instruction->name) != 0) continue;
    printf("%s: ", instruction->name);
    const pid_t child = fork();
    if (child == 0) {
      alarm(10);
      RunOne(instruction);
      _exit(99);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) printf("status %x\n", status);
  }
  return 0;
}
