// Attacks the page through which calls are exchanged with the sentry (platform/kvm/call_page.h), on
// hosts where ring 3 can write it: threads post calls of their own making, change them while they
// are served, answer them themselves, never wait for an answer. In the same process honest threads
// make calls whose results must be right, and so must those of another process.
//
// Natively, and where the page is out of reach, the honest threads are all there is.
//
// Usage: call_page [ROUNDS [KIND]]; prints what was attacked and "still here".
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/kvm/call_page_layout.h"

static const uint64_t kTrampoline = 0xffffc90000000000;
static const uint64_t kPage = 0xffffc90000000000 + CALL_PAGE_DISTANCE;
// As in call_page.h.
enum { kIdle = 0, kPosted = 1, kDone = 4, kPunt = 8 };
enum { kAttackers = 3, kHonest = 2, kPageWords = 512 };
enum { kHonestFailed = 7, kForgedExit = 99, kWrongAnswer = 8, kCallsBroken = 9 };

static int rounds = 1000;  // of a lone attacker; a quarter for each of several

static __thread uint64_t seed;
static uint64_t Random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

// What children find out, in memory that all share.
static struct {
  uint64_t posted, answered, honest_rounds;
  int stop_victim;
} * shared;

static uint32_t* State(void) { return (uint32_t*)(kPage + CALL_PAGE_STATE); }
static uint32_t* Word32(unsigned offset) { return (uint32_t*)(kPage + offset); }
static uint64_t* Word64(unsigned offset) { return (uint64_t*)(kPage + offset); }
static void Set32(uint32_t* word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}
static void Set64(uint64_t* word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static sigjmp_buf out_of_reach;
static void OnFault(int number) {
  (void)number;
  siglongjmp(out_of_reach, 1);
}
static int PageIsThere(void) {
  signal(SIGSEGV, OnFault);
  const int there = sigsetjmp(out_of_reach, 1) == 0;
  if (there) Set32(State(), *(volatile uint32_t*)State());
  signal(SIGSEGV, SIG_DFL);
  return there;
}

// ---- honest threads

static volatile int stop_honest;

static void* Honest(void* arg) {
  int fds[2];
  const pid_t pid = getpid();
  const pid_t tid = (pid_t)syscall(SYS_gettid);
  if (pipe(fds) != 0) _exit(kHonestFailed);
  for (uint64_t i = 1; !stop_honest && !shared->stop_victim; i++) {
    uint64_t sent = i * 0x9e3779b97f4a7c15 + (uint64_t)tid;
    uint64_t got = 0;
    if (write(fds[1], &sent, sizeof(sent)) != (ssize_t)sizeof(sent)) _exit(kHonestFailed);
    if (read(fds[0], &got, sizeof(got)) != (ssize_t)sizeof(got) || got != sent)
      _exit(kHonestFailed);
    if (syscall(SYS_getpid) != pid || syscall(SYS_gettid) != tid) _exit(kHonestFailed);
    if (read(-1, &got, 1) != -1 || errno != EBADF) _exit(kHonestFailed);
    __atomic_fetch_add(&shared->honest_rounds, 1, __ATOMIC_RELAXED);
  }
  close(fds[0]);
  close(fds[1]);
  return arg;
}

// ---- attackers

static int sink = -1;  // a pipe's end that takes and drops what is written (non-blocking)
static char* scratch;  // for forged calls to write to
enum { kScratchBytes = 4096 };

// By a breakpoint the vCPU leaves the guest, which waits for whoever serves a call: afterwards the
// page is idle and nothing of ours is under way.
static void OnTrap(int number) { (void)number; }
static void Settle(void) { __asm__ volatile("int3" : : : "memory"); }

static uint64_t OddPointer(void) {
  switch (Random() % 8) {
    case 0:
      return 0;
    case 1:
      return kPage + (Random() & 0xff);
    case 2:
      return kTrampoline;
    case 3:
      return 0xffffffff81000000;
    case 4:
      return 0x8000000000000000;
    case 5:
      return 0x7ffffffff000 - 8;
    default:
      return (uint64_t)scratch + Random() % kScratchBytes / 2;
  }
}

// A call that harms nobody but by its arguments: no mix of two of them may name an honest thread's
// descriptor.
static void Forge(void) {
  static const unsigned kNumbers[] = {SYS_write,         SYS_getppid,  SYS_pread64, SYS_getcwd,
                                      SYS_clock_gettime, SYS_lseek,    SYS_fstat,   SYS_uname,
                                      SYS_pipe2,         SYS_getrandom};
  const unsigned number = kNumbers[Random() % (sizeof(kNumbers) / sizeof(kNumbers[0]))];
  Set64(Word64(CALL_PAGE_RAX), number);
  const uint64_t first =
      number == SYS_write || number == SYS_pread64 || number == SYS_lseek || number == SYS_fstat
          ? (uint64_t)sink
          : OddPointer();
  Set64(Word64(CALL_PAGE_ARGS), number == SYS_clock_gettime ? 1000 : first);
  Set64(Word64(CALL_PAGE_ARGS + 8), number == SYS_pipe2    ? ~0ull
                                    : number == SYS_getcwd ? 64
                                                           : OddPointer());
  Set64(Word64(CALL_PAGE_ARGS + 16), Random() % 4 ? Random() % 64 : Random());
  for (unsigned i = 3; i < 6; i++) Set64(Word64(CALL_PAGE_ARGS + 8 * i), Random());
}

// Calls that only the task's own thread may make, with its registers: a service thread that did
// would end this process, or leave a second one in its place.
static void ForgeWhatNeedsRegisters(void) {
  static const unsigned kNumbers[] = {SYS_exit_group,   SYS_exit,   SYS_fork,
                                      SYS_rt_sigreturn, SYS_execve, SYS_vfork};
  Set64(Word64(CALL_PAGE_RAX), kNumbers[Random() % (sizeof(kNumbers) / sizeof(kNumbers[0]))]);
  Set64(Word64(CALL_PAGE_ARGS), kForgedExit);
  Set64(Word64(CALL_PAGE_ARGS + 8), 0);
  Set64(Word64(CALL_PAGE_ARGS + 16), 0);
}

// A SYSCALL that trapped, at places where there is none or none that may be rewritten.
extern const char immediate_with_syscall[];
static void ForgeOrigin(void) {
  const uint64_t places[] = {(uint64_t)immediate_with_syscall + 4,
                             (uint64_t)&getpid,
                             (uint64_t)scratch,
                             kTrampoline,
                             kPage,
                             0,
                             ~0ull,
                             1,
                             0x7fffffffffff,
                             Random()};
  Set32(Word32(CALL_PAGE_TRAPPED), 1);
  Set64(Word64(CALL_PAGE_AFTER), places[Random() % (sizeof(places) / sizeof(places[0]))]);
}

static void Post(void) {
  __atomic_fetch_add(&shared->posted, 1, __ATOMIC_RELAXED);
  Set32(State(), kPosted);
}

// Waits for an answer a little; true if there was one.
static int Wait(unsigned spins) {
  while (spins-- > 0) {
    const uint32_t state = __atomic_load_n(State(), __ATOMIC_ACQUIRE);
    if (state == kDone) {
      __atomic_fetch_add(&shared->answered, 1, __ATOMIC_RELAXED);
      return 1;
    }
    if (state == kPunt) return 0;
    __asm__ volatile("pause");
  }
  return 0;
}

static void ChangeDuringService(void) {
  Forge();
  Post();
  for (unsigned i = Random() % 60; i > 0; i--) {
    const unsigned offset = CALL_PAGE_STATE + 8 * (unsigned)(Random() % 12);
    if (offset == CALL_PAGE_STATE) continue;
    Set64(Word64(offset), Random() % 2 ? OddPointer() : Random());
  }
  Wait(200);
}

static void AnswerItself(void) {
  static const uint32_t kStates[] = {kIdle, kPosted, 2,  kDone,      kPunt,
                                     3,     12,      15, 0x80000001, 0xffffffff};
  Forge();
  Post();
  for (unsigned i = Random() % 40; i > 0; i--) {
    Set32(State(), kStates[Random() % (sizeof(kStates) / sizeof(kStates[0]))]);
    if (Random() % 4 == 0) Set32(Word32(CALL_PAGE_SERVING), (uint32_t)Random() % 2);
    for (unsigned pause = Random() % 30; pause > 0; pause--) __asm__ volatile("pause");
  }
}

static void NeverStop(void) {
  Forge();
  for (int i = 0; i < 50; i++) {
    Post();
    if (Random() % 4 == 0) Wait(100);
  }
}

static void ScribbleAll(void) {
  Forge();
  Post();
  for (int i = 0; i < kPageWords; i++) {
    const unsigned offset = 8 * (unsigned)i;
    // Numbers of calls and their arguments are Forge's, or a call could harm the honest threads.
    if (offset >= CALL_PAGE_RAX && offset < CALL_PAGE_ARGS + 48) continue;
    Set64(Word64(offset), Random() % 3 ? Random() : Random() % 9);
  }
}

static void AskForWhatExits(void) {
  ForgeWhatNeedsRegisters();
  Post();
  // Until it is refused: a number that is changed afterwards is another attack.
  Wait(2000);
  Settle();
}

static void ForgeOrigins(void) {
  Forge();
  ForgeOrigin();
  Post();
  if (Random() % 2) ForgeOrigin();
  Wait(300);
}

// Asked properly, if by a way of its own, it is answered properly.
static void AskPolitely(void) {
  Settle();
  Set64(Word64(CALL_PAGE_RAX), SYS_lseek);
  Set64(Word64(CALL_PAGE_ARGS), ~0ull);
  Set32(Word32(CALL_PAGE_TRAPPED), 0);
  Post();
  if (Wait(4000) && *Word64(CALL_PAGE_RAX) != (uint64_t)-EBADF) _exit(kWrongAnswer);
  Settle();
}

// The limits of the stub itself; a call of this thread then posts and waits as they say.
static void ChangeLimits(void) {
  static const uint32_t kLimits[] = {1, 2, 1000, 100000};
  Settle();
  Set32(Word32(CALL_PAGE_MODE), Random() % 2 ? 1 : (uint32_t)Random());
  Set32(Word32(CALL_PAGE_SPIN), kLimits[Random() % 4]);
  if (read(-1, scratch, 1) != -1 || errno != EBADF) _exit(kCallsBroken);
}

static void (*const kAttacks[])(void) = {ChangeDuringService, AnswerItself,    NeverStop,
                                         ScribbleAll,         AskForWhatExits, ForgeOrigins,
                                         AskPolitely,         ChangeLimits};
enum { kAttackKinds = sizeof(kAttacks) / sizeof(kAttacks[0]) };

static int attack_kind;  // kAttackKinds: all of them mixed

static void* Attacker(void* arg) {
  seed = 0x123456789abcdef + (uint64_t)(uintptr_t)arg * 7919 + (uint64_t)attack_kind;
  for (int i = 0; i < rounds; i++) {
    // What was left under way would answer the call that the thread makes next.
    const int kind = attack_kind < kAttackKinds ? attack_kind : (int)(Random() % kAttackKinds);
    kAttacks[kind]();
    if (i % 64 == 63) Settle();
  }
  Settle();
  if (read(-1, scratch, 1) != -1 || errno != EBADF) _exit(kCallsBroken);
  return NULL;
}

static void Tick(int number) { (void)number; }

// A process of its own that attacks with all its threads, next to honest ones.
// Alone, a service thread has a CPU to serve it; in company, vCPUs change hands.
enum Company { kAlone, kCrowd, kCrowdWithTicks };
static void AttackIn(int kind, enum Company company) {
  const int attacker_count = company == kAlone ? 1 : kAttackers;
  const int honest_count = company == kAlone ? 0 : kHonest;
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    alarm(60);
    attack_kind = kind;
    if (company != kAlone) rounds /= 4;
    signal(SIGTRAP, OnTrap);
    struct sigaction tick = {.sa_handler = Tick, .sa_flags = SA_RESTART};
    sigaction(SIGPROF, &tick, NULL);
    if (company == kCrowdWithTicks) {
      const struct itimerval often = {{0, 2000}, {0, 2000}};
      setitimer(ITIMER_PROF, &often, NULL);
    }
    int fds[2];
    if (pipe2(fds, O_NONBLOCK) != 0) _exit(1);
    sink = fds[1];
    scratch =
        mmap(NULL, kScratchBytes * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_t attackers[kAttackers], honest[kHonest];
    for (int i = 0; i < honest_count; i++) pthread_create(&honest[i], NULL, Honest, NULL);
    for (int i = 0; i < attacker_count; i++)
      pthread_create(&attackers[i], NULL, Attacker, (void*)(uintptr_t)(i + 1));
    for (int i = 0; i < attacker_count; i++) pthread_join(attackers[i], NULL);
    stop_honest = 1;
    for (int i = 0; i < honest_count; i++) pthread_join(honest[i], NULL);
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) {
    printf("attack %d, company %d: child ended with status %#x\n", kind, company, status);
    exit(1);
  }
}

// Jumps into the stub with a page that fits nothing, while signals arrive. What becomes of the
// child is its own affair.
static void JumpsIn(int count) {
  for (int i = 0; i < count; i++) {
    const pid_t child = fork();
    if (child == 0) {
      const struct rlimit none = {0, 0};
      setrlimit(RLIMIT_CORE, &none);
      seed = 0x987654321 + (uint64_t)i * 104729;
      const struct itimerval soon = {{0, 1000}, {0, 1000}};
      signal(SIGALRM, Tick);
      setitimer(ITIMER_REAL, &soon, NULL);
      struct timeval end = {1, 0};
      const struct itimerval last = {{0, 0}, end};
      setitimer(ITIMER_VIRTUAL, &last, NULL);  // a stub that spins for ever
      for (unsigned word = 0; word < CALL_PAGE_STACK_TOP / 8; word++)
        Set64(Word64(8 * word), Random() % 5);
      Set32(State(), 1u << Random() % 5);
      Set64(Word64(CALL_PAGE_RAX), SYS_getppid);
      Set32(Word32(CALL_PAGE_SPIN), (uint32_t)(Random() % 3 ? 0 : Random() % 100000));
      const uint64_t target = kTrampoline + Random() % 420;
      __asm__ volatile(
          "mov %0, %%r15\n"
          "mov %1, %%rcx\n"
          "mov %1, %%r11\n"
          "mov $110, %%eax\n"
          "jmp *%%r15\n"
          :
          : "r"(target), "r"(Random())
          : "rax", "rcx", "r11", "r15", "memory");
    }
    waitpid(child, NULL, 0);
  }
}

// mov $0x90050f90, %eax; ret: the middle of the constant is a SYSCALL. Somebody who has it
// rewritten must be alone with that.
__asm__(
    ".text\n"
    ".balign 16\n"
    ".globl immediate_with_syscall\n"
    "immediate_with_syscall:\n"
    "mov $0x90050f90, %eax\n"
    "ret\n"
    ".balign 16\n");
static int ConstantIsRight(void) {
  return ((uint32_t(*)(void))immediate_with_syscall)() == 0x90050f90;
}

// Another process: is it as well when the attacks are over?
static pid_t StartVictim(void) {
  const pid_t child = fork();
  if (child == 0) {
    Honest(NULL);
    _exit(ConstantIsRight() ? 0 : kHonestFailed);
  }
  return child;
}

// The next process with this file must find its text as it is.
static int FreshProcessIsWell(const char* self) {
  int status = 0;
  const pid_t child = fork();
  if (child == 0) {
    execl(self, self, "check", NULL);
    _exit(1);
  }
  return waitpid(child, &status, 0) == child && status == 0;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "check") == 0) return ConstantIsRight() ? 0 : kHonestFailed;
  if (argc > 1) rounds = atoi(argv[1]);
  setbuf(stdout, NULL);
  shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  const pid_t victim = StartVictim();
  if (PageIsThere()) {
    for (int kind = 0; kind <= kAttackKinds; kind++) {
      if (argc > 2 && atoi(argv[2]) != kind) continue;
      AttackIn(kind, kAlone);
      AttackIn(kind, kCrowd);
    }
    AttackIn(kAttackKinds, kCrowdWithTicks);
    JumpsIn(rounds / 20);
    for (int i = 0; i < 10; i++) {
      if (!FreshProcessIsWell("/proc/self/exe")) return puts("text of others was changed"), 1;
    }
    printf("posted %lu answered %lu\n", shared->posted, shared->answered);
  } else {
    usleep(100000);
    puts("out of reach");
  }
  shared->stop_victim = 1;
  int status = 0;
  if (waitpid(victim, &status, 0) != victim || status != 0)
    return printf("victim: %#x\n", status), 1;
  if (shared->honest_rounds == 0) return puts("nobody was honest"), 1;
  puts("still here");
  return 0;
}
