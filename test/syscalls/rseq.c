// rseq(2): registration, the number of the CPU, critical sections that are begun again when their
// thread is preempted, moved or interrupted by a signal; getcpu(2) agrees.
#include <linux/membarrier.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

#include "check.h"

#define SIGNATURE 0x53053053

typedef struct {
  uint32_t cpu_id_start, cpu_id;
  uint64_t rseq_cs;
  uint32_t flags, node_id, mm_cid, end;
} __attribute__((aligned(32))) Area;

typedef struct {
  uint32_t version, flags;
  uint64_t start_ip, post_commit_offset, abort_ip;
} __attribute__((aligned(32))) Section;

extern const unsigned int __rseq_size;
extern const ptrdiff_t __rseq_offset;

static long Rseq(void* area, uint32_t size, int flags, uint32_t signature) {
  return syscall(SYS_rseq, area, size, flags, signature);
}

// The C library has registered an area of its own.
static void UnregisterLibrary(void) {
  if (__rseq_size == 0) return;
  char* area = (char*)__builtin_thread_pointer() + __rseq_offset;
  EXPECT(Rseq(area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0);
}

static void Register(Area* area) {
  UnregisterLibrary();
  memset(area, 0, sizeof *area);
  area->cpu_id = RSEQ_CPU_ID_UNINITIALIZED;
  EXPECT(Rseq(area, sizeof *area, 0, SIGNATURE) == 0);
}

// Spins in a critical section until *go changes, `turns` have passed or it is aborted. Returns
// 0 at its end, 1 if it was aborted.
__attribute__((noinline)) static long Spin(Area* area, volatile int* go, long turns, long flags) {
  static Section section;
  long aborted = 0;
  __asm__ volatile(
      "leaq 1f(%%rip), %%rax\n"
      "movq %%rax, 8(%[section])\n"
      "leaq 2f(%%rip), %%rcx\n"
      "subq %%rax, %%rcx\n"
      "movq %%rcx, 16(%[section])\n"
      "leaq 4f(%%rip), %%rax\n"
      "movq %%rax, 24(%[section])\n"
      "movl $0, (%[section])\n"
      "movl %k[flags], 4(%[section])\n"
      "movq %[section], 8(%[area])\n"
      "1:\n"
      "cmpl $0, (%[go])\n"
      "jne 2f\n"
      "subq $1, %[turns]\n"
      "jne 1b\n"
      "2:\n"
      "jmp 5f\n"
      ".byte 0x0f, 0xb9, 0x3d\n"
      ".long 0x53053053\n"
      "4:\n"
      "movl $1, %k[aborted]\n"
      "5:\n"
      : [turns] "+r"(turns), [aborted] "+r"(aborted)
      : [section] "r"(&section), [area] "r"(area), [go] "r"(go), [flags] "r"(flags)
      : "rax", "rcx", "memory", "cc");
  return aborted;
}

TEST(library_has_registered) {
  EXPECT(__rseq_size >= 20);
  const Area* area = (Area*)((char*)__builtin_thread_pointer() + __rseq_offset);
  EXPECT(area->cpu_id < 4096);
  EXPECT_EQ(area->cpu_id, area->cpu_id_start);
}

TEST(registration) {
  UnregisterLibrary();
  static Area area, other;
  area.cpu_id = RSEQ_CPU_ID_UNINITIALIZED;
  area.cpu_id_start = 77;
  EXPECT(Rseq(&area, sizeof area, 0, SIGNATURE) == 0);
  EXPECT(area.cpu_id < 4096);
  EXPECT_EQ(area.cpu_id, area.cpu_id_start);
  EXPECT_EQ(area.node_id, 0);
  EXPECT_ERRNO(Rseq(&area, sizeof area, 0, SIGNATURE), EBUSY);
  EXPECT_ERRNO(Rseq(&area, sizeof area, 0, 1), EPERM);
  EXPECT_ERRNO(Rseq(&other, sizeof other, 0, SIGNATURE), EINVAL);
  EXPECT_ERRNO(Rseq(&area, 64, 0, SIGNATURE), EINVAL);
  EXPECT_ERRNO(Rseq(&other, sizeof other, RSEQ_FLAG_UNREGISTER, SIGNATURE), EINVAL);
  EXPECT_ERRNO(Rseq(&area, 64, RSEQ_FLAG_UNREGISTER, SIGNATURE), EINVAL);
  EXPECT_ERRNO(Rseq(&area, sizeof area, RSEQ_FLAG_UNREGISTER, 1), EPERM);
  EXPECT_ERRNO(Rseq(&area, sizeof area, RSEQ_FLAG_UNREGISTER | 2, SIGNATURE), EINVAL);
  EXPECT(Rseq(&area, sizeof area, RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0);
  EXPECT_EQ((int)area.cpu_id, RSEQ_CPU_ID_UNINITIALIZED);
  EXPECT_EQ(area.cpu_id_start, 0);
  EXPECT_ERRNO(Rseq(&area, sizeof area, RSEQ_FLAG_UNREGISTER, SIGNATURE), EINVAL);
}

TEST(registration_errors) {
  UnregisterLibrary();
  static Area area[2];
  EXPECT_ERRNO(Rseq(area, sizeof *area, 2, SIGNATURE), EINVAL);
  EXPECT_ERRNO(Rseq(area, 16, 0, SIGNATURE), EINVAL);
  EXPECT_ERRNO(Rseq((char*)area + 8, sizeof *area, 0, SIGNATURE), EINVAL);
  EXPECT_ERRNO(Rseq((void*)(1UL << 63), sizeof *area, 0, SIGNATURE), EFAULT);
  EXPECT_ERRNO(Rseq(NULL, sizeof *area, RSEQ_FLAG_UNREGISTER, SIGNATURE), EINVAL);
}

// Linux since 6.14; before, the next return to the program is a SIGSEGV.
TEST(unmapped_area_is_refused) {
  UnregisterLibrary();
  EXPECT_ERRNO(Rseq((void*)0x20, 32, 0, SIGNATURE), EFAULT);
}

TEST(inherited_by_fork_but_not_with_shared_memory) {
  static Area area;
  Register(&area);
  IN_CHILD({
    EXPECT_ERRNO(Rseq(&area, sizeof area, 0, SIGNATURE), EBUSY);
    EXPECT(area.cpu_id < 4096);
  });
  const pid_t pid = vfork();  // shares the memory
  if (pid == 0) _exit(Rseq(&area, sizeof area, RSEQ_FLAG_UNREGISTER, SIGNATURE) == -1 ? 0 : 1);
  EXPECT_EXIT(pid, 0);
}

TEST(getcpu_agrees) {
  static Area area;
  Register(&area);
  for (int i = 0; i < 300; i++) {
    unsigned cpu = ~0u;
    uint32_t before, after;
    int tries = 0;
    do {  // a move between the reads proves nothing
      before = *(volatile uint32_t*)&area.cpu_id;
      EXPECT(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0);
      after = *(volatile uint32_t*)&area.cpu_id;
    } while (before != after && ++tries < 100);
    EXPECT_EQ(cpu, after);
    if (i % 50 == 0) SleepMs(1);
  }
}

TEST(affinity_moves_at_once) {
  static Area area;
  Register(&area);
  cpu_set_t all;
  EXPECT(sched_getaffinity(0, sizeof all, &all) == 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &all)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    EXPECT(sched_setaffinity(0, sizeof one, &one) == 0);
    EXPECT_EQ(*(volatile uint32_t*)&area.cpu_id, cpu);
    unsigned number = ~0u;
    EXPECT(syscall(SYS_getcpu, &number, NULL, NULL) == 0);
    EXPECT_EQ(number, cpu);
  }
}

static volatile int handled;
static void OnSignal(int number) {
  (void)number;
  handled = 1;
}

TEST(section_that_ends_is_not_aborted) {
  static Area area;
  static int go;
  Register(&area);
  int whole = 0;
  for (int i = 0; i < 1000 && whole < 10; i++) whole += Spin(&area, &go, 100, 0) == 0;
  EXPECT_EQ(whole, 10);
}

TEST(signal_aborts) {
  static Area area;
  Register(&area);
  struct sigaction action = {.sa_handler = OnSignal};
  EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
  const pid_t pid = getpid();
  const pid_t child = FORK();
  if (child == 0) {
    SleepMs(50);
    kill(pid, SIGUSR1);
    _exit(0);
  }
  // A preemption aborts it, too.
  while (!handled) EXPECT_EQ(Spin(&area, &handled, 1L << 60, 0), 1);
  EXPECT_EQ(area.rseq_cs, 0);
  EXPECT_EXIT(child, 0);
}

static cpu_set_t first_cpu;
static Area rivals[2];
static volatile int rivals_end;
static int aborts[2];

// Occupies the CPU within a critical section, as its rival does.
static void* Rival(void* which) {
  const int me = which != NULL;
  UnregisterLibrary();
  rivals[me].cpu_id = RSEQ_CPU_ID_UNINITIALIZED;
  EXPECT(sched_setaffinity(0, sizeof first_cpu, &first_cpu) == 0);
  EXPECT(Rseq(&rivals[me], sizeof rivals[me], 0, SIGNATURE) == 0);
  while (!rivals_end) {
    if (Spin(&rivals[me], &rivals_end, 1L << 60, 0)) aborts[me]++;
  }
  EXPECT(Rseq(&rivals[me], sizeof rivals[me], RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0);
  return NULL;
}

TEST(preemption_aborts) {
  cpu_set_t all;
  EXPECT(sched_getaffinity(0, sizeof all, &all) == 0);
  CPU_ZERO(&first_cpu);
  for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
    if (!CPU_ISSET(cpu, &all)) continue;
    CPU_ZERO(&first_cpu);
    CPU_SET(cpu, &first_cpu);
  }
  pthread_t threads[2];
  for (long i = 0; i < 2; i++) EXPECT(pthread_create(&threads[i], NULL, Rival, (void*)i) == 0);
  EVENTUALLY(*(volatile int*)&aborts[0] > 3 && *(volatile int*)&aborts[1] > 3);
  rivals_end = 1;
  for (int i = 0; i < 2; i++) EXPECT(pthread_join(threads[i], NULL) == 0);
}

// Counters that only critical sections guard: one for each CPU, added to by plain instructions.
// The sum is right only if no two threads of the process are ever on one CPU at the same time
// without an abort.
static struct {
  volatile long count;
  char pad[56];
} per_cpu[4096];
static _Thread_local Area counting;
enum { kCounters = 6, kAdditions = 200000 };

__attribute__((noinline)) static int AddOne(Area* area) {
  static _Thread_local Section section;
  int done = 1;
  __asm__ volatile(
      "leaq 1f(%%rip), %%rax\n"
      "movq %%rax, 8(%[section])\n"
      "leaq 2f(%%rip), %%rcx\n"
      "subq %%rax, %%rcx\n"
      "movq %%rcx, 16(%[section])\n"
      "leaq 4f(%%rip), %%rax\n"
      "movq %%rax, 24(%[section])\n"
      "movq %[section], 8(%[area])\n"
      "1:\n"
      "movl 4(%[area]), %%eax\n"
      "shlq $6, %%rax\n"
      "addq %[base], %%rax\n"
      "movq (%%rax), %%rcx\n"
      "addq $1, %%rcx\n"
      "pause\n"
      "pause\n"
      "movq %%rcx, (%%rax)\n"
      "2:\n"
      "jmp 5f\n"
      ".byte 0x0f, 0xb9, 0x3d\n"
      ".long 0x53053053\n"
      "4:\n"
      "movl $0, %[done]\n"
      "5:\n"
      : [done] "+r"(done)
      : [section] "r"(&section), [area] "r"(area), [base] "r"(per_cpu)
      : "rax", "rcx", "memory", "cc");
  return done;
}

static void* Count(void* unused) {
  (void)unused;
  Register(&counting);
  for (long i = 0; i < kAdditions;) i += AddOne(&counting);
  EXPECT(Rseq(&counting, sizeof counting, RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0);
  return NULL;
}

TEST(per_cpu_counters_add_up) {
  pthread_t threads[kCounters];
  for (int i = 0; i < kCounters; i++) EXPECT(pthread_create(&threads[i], NULL, Count, NULL) == 0);
  for (int i = 0; i < kCounters; i++) EXPECT(pthread_join(threads[i], NULL) == 0);
  long sum = 0;
  for (int i = 0; i < 4096; i++) sum += per_cpu[i].count;
  EXPECT_EQ(sum, (long)kCounters * kAdditions);
}

static Area spinning;
static volatile int spun, spin_end;

static void* SpinOnce(void* unused) {
  (void)unused;
  Register(&spinning);
  while (!spin_end) {
    if (Spin(&spinning, &spin_end, 1L << 60, 0)) spun++;
  }
  EXPECT(Rseq(&spinning, sizeof spinning, RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0);
  return NULL;
}

TEST(membarrier_restarts_sections) {
  EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) &
         MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ);
  EXPECT_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0), EPERM);
  EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0);
  EXPECT_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 2, 0), EINVAL);
  pthread_t thread;
  EXPECT(pthread_create(&thread, NULL, SpinOnce, NULL) == 0);
  for (int i = 0; i < 20; i++) {
    const int before = spun;
    EVENTUALLY(*(volatile uint64_t*)&spinning.rseq_cs != 0);
    EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0);
    EVENTUALLY(spun > before);
  }
  spin_end = 1;
  EXPECT(pthread_join(thread, NULL) == 0);
}

static volatile int round_begun, round_over;

static void* UnregisterAndSpin(void* unused) {
  (void)unused;
  Register(&spinning);
  round_begun = 1;
  EXPECT(Rseq(&spinning, sizeof spinning, RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0);
  while (!round_over) {
  }
  return NULL;
}

TEST(membarrier_meets_a_thread_that_unregisters) {
  EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0);
  for (int i = 0; i < 50; i++) {
    pthread_t thread;
    round_begun = round_over = 0;
    EXPECT(pthread_create(&thread, NULL, UnregisterAndSpin, NULL) == 0);
    while (!round_begun) {
    }
    EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0);
    round_over = 1;
    EXPECT(pthread_join(thread, NULL) == 0);
  }
}

static void* volatile bad_section;

// A critical section whose description is broken kills at the next preemption or signal.
static void ExpectKilledBy(void* section) {
  bad_section = section;
  const pid_t pid = FORK();
  if (pid == 0) {
    static Area area;
    Register(&area);
    signal(SIGUSR1, OnSignal);
    area.rseq_cs = (uintptr_t)bad_section;
    raise(SIGUSR1);
    _exit(0);
  }
  EXPECT_KILLED(pid, SIGSEGV);
}

TEST(broken_descriptions_kill) {
  ExpectKilledBy(BAD_POINTER);
  ExpectKilledBy((void*)(1UL << 63));
  static Section section = {.version = 1, .post_commit_offset = 1};
  ExpectKilledBy(&section);  // a version that does not exist
  static Section inside = {.start_ip = 4096, .post_commit_offset = 100, .abort_ip = 4100};
  ExpectKilledBy(&inside);  // the abort address is within the section
  static Section unsigned_abort = {.start_ip = 4096, .post_commit_offset = 100, .abort_ip = 0};
  unsigned_abort.abort_ip = (uintptr_t)&main;
  ExpectKilledBy(&unsigned_abort);  // no signature before it
}

TEST(section_elsewhere_is_forgotten) {
  static Area area;
  static const uint32_t code[2] = {SIGNATURE, 0};
  static Section section = {.start_ip = 4096, .post_commit_offset = 100};
  section.abort_ip = (uintptr_t)&code[1];
  Register(&area);
  signal(SIGUSR1, OnSignal);
  area.rseq_cs = (uintptr_t)&section;
  raise(SIGUSR1);
  EXPECT_EQ(area.rseq_cs, 0);
  EXPECT_EQ(handled, 1);
}
