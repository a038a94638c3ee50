// Signals: sigaction(2), masks, SA_RESTART, sigaltstack(2), queues, sigtimedwait(2), siginfo, and
// what a frame keeps of the registers.
#include <fcntl.h>
#include <immintrin.h>
#include <poll.h>
#include <sched.h>
#include <sys/time.h>
#include <ucontext.h>

#include "check.h"

static volatile sig_atomic_t calls, last_signal;
static volatile siginfo_t last_info;  // the C library declares kill() a leaf function
static volatile int order[16], ordered;

static void Count(int number) {
  calls++;
  last_signal = number;
}

static void KeepInfo(int number, siginfo_t* info, void* context) {
  (void)context;
  calls++;
  last_signal = number;
  last_info = *info;
  if (ordered < 16) order[ordered++] = info->si_value.sival_int;
}

static void Install(int number, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  EXPECT(sigaction(number, &action, NULL) == 0);
}

static void InstallInfo(int number, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  EXPECT(sigaction(number, &action, NULL) == 0);
}

static sigset_t Set(int number) {
  sigset_t set;
  sigemptyset(&set);
  if (number != 0) sigaddset(&set, number);
  return set;
}

static void Mask(int how, int number) {
  const sigset_t set = Set(number);
  EXPECT(sigprocmask(how, &set, NULL) == 0);
}

static void Queue(int number, int value) {
  const union sigval v = {.sival_int = value};
  EXPECT(sigqueue(getpid(), number, v) == 0);
}

// Sends a signal to this process after some time.
static pid_t Later(int number, int ms) {
  const pid_t self = getpid(), child = FORK();
  if (child == 0) {
    SleepMs(ms);
    kill(self, number);
    _exit(0);
  }
  return child;
}

TEST(sigaction_errors) {
  struct sigaction action = {.sa_handler = SIG_IGN};
  EXPECT_ERRNO(sigaction(SIGKILL, &action, NULL), EINVAL);
  EXPECT_ERRNO(sigaction(SIGSTOP, &action, NULL), EINVAL);
  EXPECT(sigaction(SIGKILL, NULL, &action) == 0);
  EXPECT_ERRNO(syscall(SYS_rt_sigaction, 0, NULL, NULL, 8), EINVAL);
  EXPECT_ERRNO(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
  EXPECT_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
  EXPECT_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, BAD_POINTER, NULL, 8), EFAULT);
  EXPECT_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, BAD_POINTER, 8), EFAULT);
}

TEST(sigaction_returns_old) {
  Install(SIGUSR1, Count, SA_RESTART | SA_NODEFER);
  struct sigaction old;
  EXPECT(sigaction(SIGUSR1, NULL, &old) == 0);
  EXPECT(old.sa_handler == Count);
  EXPECT_EQ(old.sa_flags & (SA_RESTART | SA_NODEFER | SA_SIGINFO), SA_RESTART | SA_NODEFER);
}

TEST(default_actions) {
  static const int deadly[] = {SIGHUP,  SIGINT,  SIGPIPE, SIGALRM,   SIGTERM,   SIGUSR1,
                               SIGPOLL, SIGPROF, SIGPWR,  SIGVTALRM, SIGSTKFLT, 40};
  for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
    const pid_t child = FORK();
    if (child == 0) {
      raise(deadly[i]);
      _exit(0);
    }
    EXPECT_EQ(WAIT_STATUS(child), deadly[i]);
  }
  static const int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) IN_CHILD(raise(ignored[i]));
}

TEST(handler_runs_with_its_mask) {
  struct sigaction action = {.sa_handler = Count, .sa_mask = Set(SIGUSR2)};
  EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
  Install(SIGUSR2, Count, 0);
  raise(SIGUSR1);
  EXPECT_EQ(calls, 1);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  EXPECT(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2));
}

static void RaiseAgain(int number) {
  const int depth = ++calls;
  if (depth < 3) raise(number);
  order[ordered++] = depth;
}

TEST(nodefer_nests_and_default_defers) {
  Install(SIGUSR1, RaiseAgain, SA_NODEFER);
  raise(SIGUSR1);
  EXPECT_EQ(order[0], 3);
  EXPECT_EQ(order[2], 1);
  calls = ordered = 0;
  Install(SIGUSR1, RaiseAgain, 0);
  raise(SIGUSR1);
  EXPECT_EQ(order[0], 1);
  EXPECT_EQ(order[2], 3);
}

TEST(resethand) {
  Install(SIGUSR1, Count, SA_RESETHAND);
  raise(SIGUSR1);
  EXPECT_EQ(calls, 1);
  const pid_t child = FORK();
  if (child == 0) {
    raise(SIGUSR1);
    _exit(0);
  }
  EXPECT_KILLED(child, SIGUSR1);
}

TEST(mask_rules) {
  sigset_t all, now;
  sigfillset(&all);
  EXPECT(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
  sigprocmask(SIG_BLOCK, NULL, &now);
  EXPECT(!sigismember(&now, SIGKILL) && !sigismember(&now, SIGSTOP) && sigismember(&now, SIGTERM));
  uint64_t raw = 0;
  EXPECT_ERRNO(syscall(SYS_rt_sigprocmask, 77, &raw, NULL, 8), EINVAL);
  EXPECT_EQ(syscall(SYS_rt_sigprocmask, 77, NULL, &raw, 8), 0);
  EXPECT_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &raw, NULL, 16), EINVAL);
  EXPECT_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD_POINTER, NULL, 8), EFAULT);
  EXPECT_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, BAD_POINTER, 8), EFAULT);
}

TEST(pending) {
  Install(SIGUSR1, Count, 0);
  Mask(SIG_BLOCK, SIGUSR1);
  raise(SIGUSR1);
  raise(SIGUSR1);
  sigset_t waiting;
  EXPECT(sigpending(&waiting) == 0);
  EXPECT(sigismember(&waiting, SIGUSR1));
  EXPECT_EQ(calls, 0);
  Mask(SIG_UNBLOCK, SIGUSR1);
  EXPECT_EQ(calls, 1);  // a standard signal is not queued twice
  EXPECT_ERRNO(syscall(SYS_rt_sigpending, BAD_POINTER, 8), EFAULT);
}

TEST(ignoring_drops_pending) {
  Mask(SIG_BLOCK, SIGUSR1);
  raise(SIGUSR1);
  Install(SIGUSR1, SIG_IGN, 0);
  Install(SIGUSR1, Count, 0);
  Mask(SIG_UNBLOCK, SIGUSR1);
  EXPECT_EQ(calls, 0);
}

TEST(realtime_queue_order) {
  InstallInfo(SIGRTMIN + 1, KeepInfo, 0);
  InstallInfo(SIGRTMIN + 2, KeepInfo, 0);
  struct sigaction action = {.sa_sigaction = KeepInfo, .sa_flags = SA_SIGINFO};
  sigfillset(&action.sa_mask);
  sigaction(SIGRTMIN + 1, &action, NULL);
  sigaction(SIGRTMIN + 2, &action, NULL);
  sigset_t both = Set(SIGRTMIN + 1), old;
  sigaddset(&both, SIGRTMIN + 2);
  sigprocmask(SIG_BLOCK, &both, &old);
  Queue(SIGRTMIN + 2, 20);
  Queue(SIGRTMIN + 1, 10);
  Queue(SIGRTMIN + 1, 11);
  Queue(SIGRTMIN + 2, 21);
  sigprocmask(SIG_SETMASK, &old, NULL);
  EXPECT_EQ(ordered, 4);
  // Lower numbers first; within a number in order.
  EXPECT(order[0] == 10 && order[1] == 11 && order[2] == 20 && order[3] == 21);
  EXPECT_EQ(last_info.si_code, SI_QUEUE);
  EXPECT_EQ(last_info.si_pid, getpid());
}

TEST(siginfo_of_kill_and_tkill) {
  InstallInfo(SIGUSR1, KeepInfo, 0);
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(last_info.si_code, SI_USER);
  EXPECT_EQ(last_info.si_pid, getpid());
  EXPECT_EQ(last_info.si_uid, getuid());
  EXPECT_EQ(last_info.si_signo, SIGUSR1);
  syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
  EXPECT_EQ(last_info.si_code, SI_TKILL);
}

TEST(siginfo_of_child) {
  InstallInfo(SIGCHLD, KeepInfo, 0);
  const pid_t child = FORK();
  if (child == 0) _exit(23);
  EVENTUALLY(calls == 1);
  EXPECT_EQ(last_info.si_code, CLD_EXITED);
  EXPECT_EQ(last_info.si_pid, child);
  EXPECT_EQ(last_info.si_status, 23);
  EXPECT_EXIT(child, 23);
}

TEST(stop_and_continue_signal_parent) {
  InstallInfo(SIGCHLD, KeepInfo, 0);
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  kill(child, SIGSTOP);
  EVENTUALLY(calls == 1);
  EXPECT_EQ(last_info.si_code, CLD_STOPPED);
  EXPECT_EQ(last_info.si_status, SIGSTOP);
  kill(child, SIGCONT);
  EVENTUALLY(calls == 2);
  EXPECT_EQ(last_info.si_code, CLD_CONTINUED);
  Install(SIGCHLD, Count, SA_NOCLDSTOP);
  kill(child, SIGSTOP);
  int status;
  EXPECT_EQ(waitpid(child, &status, WUNTRACED), child);
  EXPECT_EQ(calls, 2);
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}

TEST(sigqueueinfo_cannot_lie) {
  siginfo_t info = {.si_code = SI_USER};
  EXPECT_ERRNO(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info), EPERM);
  info.si_code = 5;
  EXPECT_ERRNO(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info), EPERM);
  EXPECT_ERRNO(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, BAD_POINTER), EFAULT);
}

TEST(tgsigqueueinfo) {
  InstallInfo(SIGRTMIN, KeepInfo, 0);
  siginfo_t info = {.si_code = -7};
  info.si_value.sival_int = 4711;
  EXPECT(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGRTMIN, &info) == 0);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(last_info.si_code, -7);
  EXPECT_EQ(last_info.si_signo, SIGRTMIN);  // whatever the structure said
  EXPECT_EQ(order[0], 4711);
  EXPECT(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), 0, &info) == 0);
  EXPECT_EQ(calls, 1);
  EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getpid(), 999999, SIGRTMIN, &info), ESRCH);
  EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getppid(), getpid(), SIGRTMIN, &info), ESRCH);
  EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, 0, getpid(), SIGRTMIN, &info), EINVAL);
  EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getpid(), -1, SIGRTMIN, &info), EINVAL);
  EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), 65, &info), EINVAL);
  EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGRTMIN, BAD_POINTER), EFAULT);
  info.si_code = SI_TKILL;  // only for the caller itself
  EXPECT(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGRTMIN, &info) == 0);
  EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getppid(), getppid(), SIGRTMIN, &info), EPERM);
}

TEST(restart_read) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  Install(SIGUSR1, Count, SA_RESTART);
  const pid_t self = getpid(), child = FORK();
  if (child == 0) {
    SleepMs(30);
    kill(self, SIGUSR1);
    SleepMs(30);
    _exit(write(ends[1], "x", 1) == 1 ? 0 : 1);
  }
  char c;
  EXPECT_EQ(read(ends[0], &c, 1), 1);
  EXPECT_EQ(calls, 1);
  EXPECT_EXIT(child, 0);
}

TEST(no_restart_read) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  Install(SIGUSR1, Count, 0);
  const pid_t child = Later(SIGUSR1, 30);
  char c;
  EXPECT_ERRNO(read(ends[0], &c, 1), EINTR);
  EXPECT_EXIT(child, 0);
}

TEST(never_restarted) {
  Install(SIGUSR1, Count, SA_RESTART);
  const pid_t a = Later(SIGUSR1, 30);
  EXPECT_ERRNO(poll(NULL, 0, 5000), EINTR);
  EXPECT_EXIT(a, 0);
  const pid_t b = Later(SIGUSR1, 30);
  struct timespec sleep = {5, 0}, left = {0, 0};
  EXPECT_ERRNO(nanosleep(&sleep, &left), EINTR);
  EXPECT(left.tv_sec == 4 && left.tv_nsec > 0);
  EXPECT_EXIT(b, 0);
  const pid_t c = Later(SIGUSR1, 30);
  EXPECT_ERRNO(pause(), EINTR);
  EXPECT_EXIT(c, 0);
}

TEST(wait_is_restarted) {
  Install(SIGUSR1, Count, SA_RESTART);
  const pid_t self = getpid(), child = FORK();
  if (child == 0) {
    SleepMs(20);
    kill(self, SIGUSR1);
    SleepMs(20);
    _exit(4);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 4 << 8);
  EXPECT_EQ(calls, 1);
}

TEST(stop_does_not_interrupt_sleep) {
  const pid_t child = FORK();
  if (child == 0) {
    const int64_t start = NowMs();
    struct timespec sleep = {0, 150000000};
    EXPECT_EQ(nanosleep(&sleep, NULL), 0);
    EXPECT(NowMs() - start >= 150);
    _exit(0);
  }
  SleepMs(30);
  kill(child, SIGSTOP);
  SleepMs(30);
  kill(child, SIGCONT);
  EXPECT_EXIT(child, 0);
}

TEST(sigsuspend) {
  Install(SIGUSR1, Count, 0);
  Mask(SIG_BLOCK, SIGUSR1);
  raise(SIGUSR1);
  const sigset_t none = Set(0);
  EXPECT_ERRNO(sigsuspend(&none), EINTR);
  EXPECT_EQ(calls, 1);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  EXPECT(sigismember(&now, SIGUSR1));
  EXPECT_ERRNO(syscall(SYS_rt_sigsuspend, BAD_POINTER, 8), EFAULT);
  EXPECT_ERRNO(syscall(SYS_rt_sigsuspend, &none, 7), EINVAL);
}

TEST(sigtimedwait) {
  const sigset_t set = Set(SIGUSR1);
  Mask(SIG_BLOCK, SIGUSR1);
  siginfo_t info;
  struct timespec zero = {0, 0}, bad = {0, 1000000000}, some = {0, 30000000}, many = {5, 0};
  EXPECT_ERRNO(sigtimedwait(&set, &info, &zero), EAGAIN);
  EXPECT_ERRNO(sigtimedwait(&set, &info, &bad), EINVAL);
  const int64_t start = NowMs();
  EXPECT_ERRNO(sigtimedwait(&set, &info, &some), EAGAIN);
  EXPECT(NowMs() - start >= 30);
  raise(SIGUSR1);
  EXPECT_EQ(sigtimedwait(&set, &info, &many), SIGUSR1);
  EXPECT_EQ(info.si_signo, SIGUSR1);
  const pid_t child = Later(SIGUSR1, 20);
  EXPECT_EQ(sigwaitinfo(&set, &info), SIGUSR1);
  EXPECT_EQ(info.si_code, SI_USER);
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EXIT(child, 0);
  EXPECT_ERRNO(syscall(SYS_rt_sigtimedwait, BAD_POINTER, NULL, &zero, 8), EFAULT);
}

TEST(sigtimedwait_is_interrupted) {
  Install(SIGUSR2, Count, SA_RESTART);
  const sigset_t set = Set(SIGUSR1);
  const pid_t child = Later(SIGUSR2, 30);
  EXPECT_ERRNO(sigwaitinfo(&set, NULL), EINTR);
  EXPECT_EXIT(child, 0);
}

static char alternate[65536];
static volatile int on_alternate;

static void CheckStack(int number) {
  char here;
  on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
  stack_t stack;
  sigaltstack(NULL, &stack);
  last_signal = number;
  if (on_alternate && stack.ss_flags != SS_ONSTACK) on_alternate = 2;
  stack.ss_flags = 0;
  if (on_alternate && (sigaltstack(&stack, NULL) == 0 || errno != EPERM)) on_alternate = 3;
}

TEST(sigaltstack_is_used) {
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
  EXPECT(sigaltstack(&stack, &old) == 0);
  EXPECT_EQ(old.ss_flags, SS_DISABLE);
  Install(SIGUSR1, CheckStack, SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_EQ(on_alternate, 1);
  Install(SIGUSR2, CheckStack, 0);
  raise(SIGUSR2);
  EXPECT_EQ(on_alternate, 0);
  EXPECT(sigaltstack(NULL, &old) == 0);
  EXPECT(old.ss_sp == alternate && old.ss_flags == 0 && old.ss_size == sizeof alternate);
}

TEST(sigaltstack_errors) {
  stack_t stack = {.ss_sp = alternate, .ss_size = 1000};
  EXPECT_ERRNO(sigaltstack(&stack, NULL), ENOMEM);
  stack.ss_flags = 1234;
  EXPECT_ERRNO(sigaltstack(&stack, NULL), EINVAL);
  stack.ss_flags = SS_DISABLE;
  EXPECT(sigaltstack(&stack, NULL) == 0);
  EXPECT_ERRNO(sigaltstack(BAD_POINTER, NULL), EFAULT);
  EXPECT_ERRNO(sigaltstack(NULL, BAD_POINTER), EFAULT);
}

static void SkipFault(int number, siginfo_t* info, void* context) {
  KeepInfo(number, info, context);
  ucontext_t* uc = context;
  uc->uc_mcontext.gregs[REG_RIP] = uc->uc_mcontext.gregs[REG_RBX];
}

// Touches an address (write of one byte if `store`); the handler goes on behind it.
static void Touch(volatile char* address, int store) {
  if (store) {
    __asm__ volatile("leaq 1f(%%rip), %%rbx\n movb $1, (%0)\n 1:"
                     :
                     : "r"(address)
                     : "rbx", "memory");
  } else {
    __asm__ volatile("leaq 1f(%%rip), %%rbx\n movb (%0), %%al\n 1:"
                     :
                     : "r"(address)
                     : "rbx", "rax", "memory");
  }
}

TEST(segv_codes_and_address) {
  InstallInfo(SIGSEGV, SkipFault, 0);
  char* page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(munmap(page + 4096, 4096) == 0);
  Touch(page + 4096 + 5, 0);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(last_info.si_code, SEGV_MAPERR);
  EXPECT(last_info.si_addr == page + 4096 + 5);
  Touch(page + 77, 1);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(last_info.si_code, SEGV_ACCERR);
  EXPECT(last_info.si_addr == page + 77);
  Touch((char*)0x8000000000000000UL, 0);  // not canonical: #GP has no address
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(last_info.si_code, SI_KERNEL);
  EXPECT(last_info.si_addr == NULL);
}

TEST(bus_error_behind_end_of_file) {
  InstallInfo(SIGBUS, SkipFault, 0);
  const int fd = open("file", O_RDWR | O_CREAT, 0600);
  EXPECT(ftruncate(fd, 100) == 0);
  char* map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  Touch(map + 4000, 1);
  EXPECT_EQ(calls, 0);
  Touch(map + 4100, 1);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(last_info.si_code, BUS_ADRERR);
  EXPECT(last_info.si_addr == map + 4100);
}

TEST(trap_codes) {
  InstallInfo(SIGILL, SkipFault, 0);
  __asm__ volatile("leaq 1f(%%rip), %%rbx\n ud2\n 1:" : : : "rbx");
  EXPECT_EQ(last_info.si_code, ILL_ILLOPN);
  InstallInfo(SIGTRAP, KeepInfo, 0);
  __asm__ volatile("int3");
  EXPECT_EQ(last_signal, SIGTRAP);
  EXPECT_EQ(last_info.si_code, SI_KERNEL);
  InstallInfo(SIGFPE, SkipFault, 0);
  __asm__ volatile("leaq 1f(%%rip), %%rbx\n xorl %%edx, %%edx\n xorl %%ecx, %%ecx\n divl %%ecx\n 1:"
                   :
                   :
                   : "rax", "rbx", "rcx", "rdx");
  EXPECT_EQ(last_info.si_code, FPE_INTDIV);
}

TEST(blocked_fault_kills) {
  const pid_t child = FORK();
  if (child == 0) {
    Install(SIGSEGV, Count, 0);
    Mask(SIG_BLOCK, SIGSEGV);
    *(volatile char*)BAD_POINTER = 1;
    _exit(0);
  }
  EXPECT_KILLED(child, SIGSEGV);
}

TEST(frame_that_cannot_be_written_kills) {
  const pid_t child = FORK();
  if (child == 0) {
    Install(SIGSEGV, Count, 0);
    Install(SIGUSR1, Count, 0);
    __asm__ volatile(
        "movq $8, %%rsp\n movl $39, %%eax\n syscall\n movl %%eax, %%edi\n"
        "movl %0, %%esi\n movl $62, %%eax\n syscall\n ud2"
        :
        : "i"(SIGUSR1)
        : "memory");
  }
  EXPECT_KILLED(child, SIGSEGV);
}

static void ClobberVectors(int number) {
  Count(number);
  __asm__ volatile("vpxor %%ymm3, %%ymm3, %%ymm3\n vpxor %%ymm9, %%ymm9, %%ymm9"
                   :
                   :
                   : "xmm3", "xmm9");
}

__attribute__((target("avx2"))) static int VectorsSurvive(void) {
  static const uint64_t in[4] = {1, 2, 3, 0x1122334455667788};
  uint64_t out[8];
  register long pid __asm__("rdi") = getpid();
  __asm__ volatile(
      "vmovdqu (%1), %%ymm3\n vmovdqu (%1), %%ymm9\n movl %3, %%esi\n movl $62, %%eax\n syscall\n"
      "vmovdqu %%ymm3, (%2)\n vmovdqu %%ymm9, 32(%2)"
      : "+r"(pid)
      : "r"(in), "r"(out), "i"(SIGUSR1)
      : "rax", "rcx", "r11", "rsi", "xmm3", "xmm9", "memory");
  return memcmp(in, out, 32) == 0 && memcmp(in, out + 4, 32) == 0;
}

TEST(frame_keeps_vectors) {
  if (!__builtin_cpu_supports("avx2")) return;
  Install(SIGUSR1, ClobberVectors, 0);
  EXPECT(VectorsSurvive());
  EXPECT_EQ(calls, 1);
}

static void SetVectorInFrame(int number, siginfo_t* info, void* context) {
  KeepInfo(number, info, context);
  ucontext_t* uc = context;
  uc->uc_mcontext.fpregs->_xmm[5].element[0] = 0xabcd;
}

TEST(frame_changes_registers) {
  InstallInfo(SIGUSR1, SetVectorInFrame, 0);
  uint32_t got = 0;
  register long pid __asm__("rdi") = getpid();
  __asm__ volatile(
      "pxor %%xmm5, %%xmm5\n movl %2, %%esi\n movl $62, %%eax\n syscall\n"
      "movd %%xmm5, %1"
      : "+r"(pid), "=r"(got)
      : "i"(SIGUSR1)
      : "rax", "rcx", "r11", "rsi", "xmm5", "memory");
  EXPECT_EQ(got, 0xabcd);
}

static void SetReturnValue(int number, siginfo_t* info, void* context) {
  KeepInfo(number, info, context);
  ((ucontext_t*)context)->uc_mcontext.gregs[REG_RAX] = 4711;
  sigaddset(&((ucontext_t*)context)->uc_sigmask, SIGUSR2);
}

TEST(frame_changes_result_and_mask) {
  InstallInfo(SIGUSR1, SetReturnValue, 0);
  EXPECT_EQ(syscall(SYS_kill, getpid(), SIGUSR1), 4711);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  EXPECT(sigismember(&now, SIGUSR2));
}

static int RaiseSelf(void* pid) {
  syscall(SYS_tgkill, *(pid_t*)pid, syscall(SYS_gettid), SIGUSR1);
  syscall(SYS_exit, 0);
  return 0;
}

TEST(thread_directed) {
  static char stack[65536] __attribute__((aligned(16)));
  static pid_t self;
  self = getpid();
  Install(SIGUSR1, Count, 0);
  Mask(SIG_BLOCK, SIGUSR1);
  volatile int tid = -1;
  OK(clone(RaiseSelf, stack + sizeof stack,
           CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_CHILD_CLEARTID,
           &self, NULL, NULL, &tid));
  EVENTUALLY(tid == 0);
  sigset_t waiting;
  sigpending(&waiting);
  EXPECT(!sigismember(&waiting, SIGUSR1));  // pending for the thread that is gone, not for us
}

TEST(fork_and_exec_inherit) {
  Install(SIGUSR1, Count, 0);
  Install(SIGUSR2, SIG_IGN, 0);
  Mask(SIG_BLOCK, SIGTERM);
  raise(SIGTERM);
  IN_CHILD({
    sigset_t set;
    sigpending(&set);
    EXPECT(!sigismember(&set, SIGTERM));
    struct sigaction old;
    sigaction(SIGUSR1, NULL, &old);
    EXPECT(old.sa_handler == Count);
  });
  const pid_t child = FORK();
  if (child == 0) {
    execl("/bin/busybox", "busybox", "sh", "-c",
          "grep -q '^SigBlk:.0000000000004000' /proc/self/status && "
          "grep -q '^SigIgn:.0000000000000800' /proc/self/status && "
          "grep -q '^SigCgt:.0000000000000000' /proc/self/status",
          (char*)NULL);
  }
  EXPECT_EXIT(child, 0);
}

TEST(kill_group) {
  Install(SIGUSR1, SIG_IGN, 0);
  pid_t children[3];
  for (int i = 0; i < 3; i++) {
    children[i] = FORK();
    if (children[i] == 0) {
      for (;;) pause();
    }
  }
  Install(SIGTERM, SIG_IGN, 0);
  for (int i = 0; i < 3; i++) kill(children[i], 0);
  EXPECT(kill(0, SIGTERM) == 0);
  for (int i = 0; i < 3; i++) EXPECT_KILLED(children[i], SIGTERM);
}
