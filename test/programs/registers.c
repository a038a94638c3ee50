// Random values in every general register, RFLAGS, the red zone, x87, XMM, YMM, MXCSR and
// AVX-512 (where there is any) survive
// system calls (answered at once, blocking, failing), page faults, CPUID, and signals that hit user
// code, the way into a call and the way out of it. Prints the first difference and exits 1.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { kRax, kRbx, kRcx, kRdx, kRsi, kRdi, kRbp, kR11 = 10, kRflags = 15, kRsp = 32, kSlots = 33 };

uint64_t in[kSlots], out[kSlots];
uint8_t xsave_in[4096] __attribute__((aligned(64)));
uint8_t xsave_out[4096] __attribute__((aligned(64)));
void* volatile loop_target;

void RunSyscall(void);
void RunSpin(void);
void RunSyscallLoop(void);
void RunFault(void);
void RunCpuid(void);
void ClobberVectors(void);
void ClobberAvx512(void);
extern char RunSyscallEnd[], RunSpinLoop[], RunSpinEnd[], RunSyscallLoopStart[],
    RunSyscallLoopAfter[], RunSyscallLoopEnd[];

// State components 5 to 7 of XCR0, AVX-512: where they lie in the image. Empty if not there.
static struct {
  unsigned offset, size;
} avx512[3];
static uint64_t components = 7;

static void FindAvx512(void) {
  unsigned a = 0, b = 0, c = 0, d = 0, low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0xe0) != 0xe0 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX512F)) return;
  components |= 0xe0;
  for (unsigned i = 0; i < 3; i++) {
    __get_cpuid_count(0xd, 5 + i, &a, &b, &c, &d);
    avx512[i].offset = b;
    avx512[i].size = a;
  }
}

static uint64_t seed = 88172645463325252ull;
static uint64_t Random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static void Randomise(void) {
  for (int i = 0; i < 32; i++) in[i] = Random();
  // CF PF AF ZF SF DF OF AC ID; IF and bit 1 always.
  in[kRflags] = (Random() & 0x240cd5) | 0x202;
  for (size_t i = 0; i < sizeof xsave_in; i++) xsave_in[i] = (uint8_t)Random();
  memset(xsave_in + 512, 0, 64);
  *(uint64_t*)(xsave_in + 512) = components;          // XSTATE_BV
  *(uint16_t*)(xsave_in + 0) = 0x037f;                // FCW
  *(uint16_t*)(xsave_in + 2) = (Random() & 7) << 11;  // FSW: top of stack
  xsave_in[4] = 0xff;                                 // all registers in use
  xsave_in[5] = 0;
  memset(xsave_in + 6, 0, 18);                        // FOP, FIP, FDP
  *(uint32_t*)(xsave_in + 24) = 0x1f80 | (Random() & 0xe03f);  // MXCSR: flags, rounding, FZ
  for (int i = 0; i < 8; i++) memset(xsave_in + 32 + 16 * i + 10, 0, 6);
}

static int Fail(const char* what, int round, int slot, uint64_t want, uint64_t got) {
  printf("%s, round %d: slot %d is %llx, not %llx\n", what, round, slot,
         (unsigned long long)got, (unsigned long long)want);
  return 1;
}

// `skip`: bits of slots that the operation changes.
static int Compare(const char* what, int round, uint32_t skip) {
  for (int i = 0; i < kSlots; i++) {
    if (i < 32 && (skip >> i & 1)) continue;
    if (in[i] != out[i]) return Fail(what, round, i, in[i], out[i]);
  }
  if (memcmp(xsave_in, xsave_out, 5) != 0) return Fail(what, round, 100, 0, 0);
  if (memcmp(xsave_in + 24, xsave_out + 24, 4) != 0) {
    return Fail(what, round, 101, *(uint32_t*)(xsave_in + 24), *(uint32_t*)(xsave_out + 24));
  }
  for (int i = 32; i < 416; i++) {
    if (i < 160 && i % 16 >= 10) continue;
    if (xsave_in[i] != xsave_out[i]) return Fail(what, round, 1000 + i, xsave_in[i], xsave_out[i]);
  }
  for (int i = 576; i < 832; i++) {
    if (xsave_in[i] != xsave_out[i]) return Fail(what, round, 1000 + i, xsave_in[i], xsave_out[i]);
  }
  for (int part = 0; part < 3; part++) {
    const unsigned end = avx512[part].offset + avx512[part].size;
    for (unsigned i = avx512[part].offset; i < end; i++) {
      if (xsave_in[i] != xsave_out[i]) {
        return Fail(what, round, (int)(1000 + i), xsave_in[i], xsave_out[i]);
      }
    }
  }
  return 0;
}

static int CompareCall(const char* what, int round, uint64_t result, void* after) {
  if (out[kRax] != result) return Fail(what, round, kRax, result, out[kRax]);
  if (out[kRcx] != (uint64_t)(uintptr_t)after) {
    return Fail(what, round, kRcx, (uint64_t)(uintptr_t)after, out[kRcx]);
  }
  if (out[kR11] != in[kRflags]) return Fail(what, round, kR11, in[kRflags], out[kR11]);
  return Compare(what, round, 1u << kRax | 1u << kRcx | 1u << kR11);
}

static void* handler_target;
static void OnAlarm(int signal) {
  (void)signal;
  ClobberVectors();
  if (avx512[0].size != 0) ClobberAvx512();
  loop_target = handler_target;
}

static void Arm(void) {
  const struct itimerval soon = {.it_value = {0, 50 + (long)(Random() % 1500)}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 300;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX)) {
    puts("no AVX here");
    return 1;
  }
  FindAvx512();
  signal(SIGALRM, OnAlarm);
  const uint64_t parent = (uint64_t)getppid(), group = (uint64_t)getpgrp();
  uint8_t* pages = mmap(NULL, (size_t)rounds * 2097152, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return 1;
  const struct timespec tiny = {0, 1000};
  for (int round = 0; round < rounds; round++) {
    Randomise();
    in[kRax] = SYS_getppid;
    RunSyscall();
    if (CompareCall("getppid", round, parent, RunSyscallEnd)) return 1;

    Randomise();
    in[kRax] = SYS_getpgid;
    in[kRdi] = 0;
    RunSyscall();
    if (CompareCall("getpgid", round, group, RunSyscallEnd)) return 1;

    Randomise();
    in[kRax] = 100000;
    RunSyscall();
    if (CompareCall("unknown call", round, (uint64_t)-38, RunSyscallEnd)) return 1;

    Randomise();
    in[kRax] = SYS_nanosleep;
    in[kRdi] = (uint64_t)(uintptr_t)&tiny;
    in[kRsi] = 0;
    RunSyscall();
    if (CompareCall("nanosleep", round, 0, RunSyscallEnd)) return 1;

    Randomise();
    in[kRbx] = (uint64_t)(uintptr_t)(pages + (size_t)round * 2097152 + Random() % 2097152);
    RunFault();
    if (Compare("fault", round, 0)) return 1;

    Randomise();
    in[kRax] = 0;
    RunCpuid();
    if (Compare("cpuid", round, 1u << kRax | 1u << kRbx | 1u << kRcx | 1u << kRdx)) return 1;

    Randomise();
    loop_target = RunSpinLoop;
    handler_target = RunSpinEnd;
    Arm();
    RunSpin();
    if (Compare("signal in a loop", round, 0)) return 1;

    Randomise();
    loop_target = RunSyscallLoopStart;
    handler_target = RunSyscallLoopEnd;
    Arm();
    RunSyscallLoop();
    if (CompareCall("signal in a call loop", round, parent, RunSyscallLoopAfter)) return 1;
  }
  printf("%d rounds\n", rounds);
  return 0;
}
