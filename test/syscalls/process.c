// Processes: fork(2), vfork(2), clone(2), wait4(2), waitid(2), exit codes, reparenting, sessions,
// process groups, prctl(2).
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "check.h"

// clone(2) with a child stack of the caller's (fork-like).
static pid_t CloneFlags(unsigned long flags, int* parent_tid, int* child_tid) {
  return syscall(SYS_clone, flags, 0, parent_tid, child_tid, 0);
}

TEST(fork_returns_ids) {
  const pid_t self = getpid();
  const pid_t child = FORK();
  if (child == 0) {
    EXPECT_EQ(getppid(), self);
    EXPECT(getpid() != self);
    EXPECT_EQ(getpid(), syscall(SYS_gettid));
    _exit(0);
  }
  EXPECT(child > 0);
  EXPECT_EXIT(child, 0);
}

TEST(fork_copies_memory) {
  static volatile int value = 1;
  const pid_t child = FORK();
  if (child == 0) {
    value = 2;
    _exit(value);
  }
  EXPECT_EXIT(child, 2);
  EXPECT_EQ(value, 1);
}

TEST(exit_code_is_eight_bits) {
  static const int codes[] = {0, 1, 127, 255, 256, 257, -1};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    const pid_t child = FORK();
    if (child == 0) _exit(codes[i]);
    EXPECT_EXIT(child, codes[i] & 255);
  }
}

TEST(wait_reports_signal) {
  const pid_t child = FORK();
  if (child == 0) {
    raise(SIGKILL);
    _exit(1);
  }
  EXPECT_EQ(WAIT_STATUS(child), SIGKILL);
}

TEST(vfork_shares_memory) {
  static volatile int value = 1;
  const pid_t child = vfork();
  if (child == 0) {
    value = 7;
    _exit(3);
  }
  EXPECT(child > 0);
  EXPECT_EQ(value, 7);
  EXPECT_EXIT(child, 3);
}

TEST(vfork_parent_waits_for_exec) {
  static volatile int64_t released;
  const int64_t start = NowMs();
  const pid_t child = vfork();
  if (child == 0) {
    SleepMs(60);
    execl("/bin/busybox", "busybox", "sleep", "1", (char*)NULL);
    _exit(1);
  }
  released = NowMs();
  EXPECT(released - start >= 60);
  EXPECT(released - start < 900);
  EXPECT_EXIT(child, 0);
}

TEST(clone_parent_settid) {
  int parent_tid = 0;
  const pid_t child = OK(CloneFlags(CLONE_PARENT_SETTID | SIGCHLD, &parent_tid, NULL));
  if (child == 0) _exit(0);
  EXPECT_EQ(parent_tid, child);
  EXPECT_EXIT(child, 0);
}

TEST(clone_child_settid) {
  static int child_tid;
  const pid_t child = OK(CloneFlags(CLONE_CHILD_SETTID | SIGCHLD, NULL, &child_tid));
  if (child == 0) _exit(child_tid == getpid() ? 0 : 1);
  EXPECT_EXIT(child, 0);
  EXPECT_EQ(child_tid, 0);
}

TEST(clone_files_shares_descriptors) {
  const pid_t child = OK(CloneFlags(CLONE_FILES | SIGCHLD, NULL, NULL));
  if (child == 0) _exit(dup2(2, 77) == 77 ? 0 : 1);
  EXPECT_EXIT(child, 0);
  EXPECT(fcntl(77, F_GETFD) >= 0);
  IN_CHILD(close(77));
  EXPECT(fcntl(77, F_GETFD) >= 0);
}

TEST(clone_fs_shares_cwd_and_umask) {
  const pid_t child = OK(CloneFlags(CLONE_FS | SIGCHLD, NULL, NULL));
  if (child == 0) {
    umask(077);
    _exit(chdir("/"));
  }
  EXPECT_EXIT(child, 0);
  char buffer[100];
  EXPECT(getcwd(buffer, sizeof buffer) != NULL);
  EXPECT_STR(buffer, "/");
  EXPECT_EQ(umask(022), 077);
}

TEST(clone_parent_makes_a_sibling) {
  int* sibling = Shared(sizeof *sibling);
  const pid_t self = getpid();
  const pid_t middle = FORK();
  if (middle == 0) {
    const pid_t made = CloneFlags(CLONE_PARENT | SIGCHLD, NULL, NULL);
    if (made == 0) _exit(getppid() == self ? 5 : 6);
    *sibling = made;
    EXPECT_ERRNO(waitpid(*sibling, NULL, 0), ECHILD);
    _exit(0);
  }
  EXPECT_EXIT(middle, 0);
  EXPECT_EXIT(*sibling, 5);
}

TEST(clone_bad_flags) {
  EXPECT_ERRNO(CloneFlags(CLONE_THREAD | SIGCHLD, NULL, NULL), EINVAL);
  EXPECT_ERRNO(CloneFlags(CLONE_SIGHAND | SIGCHLD, NULL, NULL), EINVAL);
  EXPECT_ERRNO(CloneFlags(CLONE_THREAD | CLONE_SIGHAND, NULL, NULL), EINVAL);
}

TEST(clone3_basic_and_bad_sizes) {
  struct clone_args args = {.exit_signal = SIGCHLD};
  const pid_t child = OK(syscall(SYS_clone3, &args, sizeof args));
  if (child == 0) _exit(9);
  EXPECT_EXIT(child, 9);
  EXPECT_ERRNO(syscall(SYS_clone3, &args, 8), EINVAL);
  EXPECT_ERRNO(syscall(SYS_clone3, &args, 1 << 20), E2BIG);
  EXPECT_ERRNO(syscall(SYS_clone3, BAD_POINTER, sizeof args), EFAULT);
  args.exit_signal = 1000;
  EXPECT_ERRNO(syscall(SYS_clone3, &args, sizeof args), EINVAL);
}

TEST(exit_signal_other_than_sigchld_needs_wclone) {
  const pid_t child = OK(CloneFlags(0, NULL, NULL));
  if (child == 0) _exit(4);
  int status;
  EXPECT_ERRNO(waitpid(child, &status, 0), ECHILD);
  EXPECT_EQ(OK(waitpid(child, &status, __WCLONE)), child);
  EXPECT_EQ(status, 4 << 8);
}

TEST(wait_errors) {
  EXPECT_ERRNO(waitpid(-1, NULL, 0), ECHILD);
  EXPECT_ERRNO(waitpid(getpid(), NULL, 0), ECHILD);
  EXPECT_ERRNO(waitpid(-1, NULL, 0x10000000 >> 4), EINVAL);
  siginfo_t info;
  EXPECT_ERRNO(waitid(P_ALL, 0, &info, 0), EINVAL);
  EXPECT_ERRNO(waitid(99, 0, &info, WEXITED), EINVAL);
  EXPECT_ERRNO(waitid(P_PID, 0, &info, WEXITED), EINVAL);
}

TEST(wait_bad_pointer_still_reaps) {
  const pid_t child = FORK();
  if (child == 0) _exit(0);
  EXPECT_ERRNO(syscall(SYS_wait4, child, BAD_POINTER, 0, NULL), EFAULT);
  EXPECT_ERRNO(waitpid(child, NULL, 0), ECHILD);
}

TEST(wnohang) {
  int gate[2];
  EXPECT(pipe(gate) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    char c;
    close(gate[1]);
    _exit(read(gate[0], &c, 1) == 0 ? 0 : 1);
  }
  EXPECT_EQ(waitpid(child, NULL, WNOHANG), 0);
  siginfo_t info;
  memset(&info, 0x55, sizeof info);
  EXPECT_EQ(waitid(P_PID, child, &info, WEXITED | WNOHANG), 0);
  EXPECT_EQ(info.si_pid, 0);
  EXPECT_EQ(info.si_signo, 0);
  close(gate[1]);
  EXPECT_EXIT(child, 0);
}

TEST(waitid_fills_siginfo) {
  pid_t child = FORK();
  if (child == 0) _exit(42);
  siginfo_t info = {0};
  EXPECT_EQ(OK(waitid(P_PID, child, &info, WEXITED | WNOWAIT)), 0);
  EXPECT_EQ(info.si_signo, SIGCHLD);
  EXPECT_EQ(info.si_code, CLD_EXITED);
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_uid, getuid());
  EXPECT_EQ(info.si_status, 42);
  EXPECT_EXIT(child, 42);  // WNOWAIT left it

  child = FORK();
  if (child == 0) {
    raise(SIGTERM);
    _exit(0);
  }
  OK(waitid(P_ALL, 0, &info, WEXITED));
  EXPECT_EQ(info.si_code, CLD_KILLED);
  EXPECT_EQ(info.si_status, SIGTERM);
}

TEST(wait_stopped_and_continued) {
  const pid_t child = FORK();
  if (child == 0) {
    raise(SIGSTOP);
    for (;;) pause();
  }
  int status;
  EXPECT_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
  EXPECT_EQ(status, (SIGSTOP << 8) | 0x7f);
  EXPECT_EQ(OK(waitpid(child, &status, WUNTRACED | WNOHANG)), 0);
  kill(child, SIGCONT);
  siginfo_t info = {0};
  OK(waitid(P_PID, child, &info, WCONTINUED | WNOWAIT));
  EXPECT_EQ(info.si_code, CLD_CONTINUED);
  EXPECT_EQ(info.si_status, SIGCONT);
  EXPECT_EQ(OK(waitpid(child, &status, WCONTINUED)), child);
  EXPECT_EQ(status, 0xffff);
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}

TEST(wait_by_group) {
  const pid_t child = FORK();
  if (child == 0) {
    setpgid(0, 0);
    _exit(1);
  }
  setpgid(child, child);
  EXPECT_ERRNO(waitpid(0, NULL, 0), ECHILD);
  int status;
  EXPECT_EQ(OK(waitpid(-child, &status, 0)), child);
  EXPECT_EQ(status, 1 << 8);
}

TEST(wait4_fills_rusage) {
  const pid_t child = FORK();
  if (child == 0) {
    const int64_t end = NowMs() + 60;
    while (NowMs() < end) {
    }
    _exit(0);
  }
  struct rusage usage;
  memset(&usage, 0xff, sizeof usage);
  EXPECT_EQ(OK(wait4(child, NULL, 0, &usage)), child);
  EXPECT(usage.ru_utime.tv_sec < 10 && usage.ru_stime.tv_sec < 10);
  EXPECT(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 10000);
}

TEST(ignored_sigchld_reaps) {
  signal(SIGCHLD, SIG_IGN);
  const pid_t child = FORK();
  if (child == 0) _exit(0);
  EXPECT_ERRNO(waitpid(child, NULL, 0), ECHILD);
}

TEST(nocldwait_reaps) {
  struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
  EXPECT(sigaction(SIGCHLD, &action, NULL) == 0);
  const pid_t child = FORK();
  if (child == 0) _exit(0);
  EXPECT_ERRNO(waitpid(child, NULL, 0), ECHILD);
}

TEST(orphan_goes_to_subreaper) {
  EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
  int value = 0;
  EXPECT(prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0) == 0);
  EXPECT_EQ(value, 1);
  const pid_t self = getpid();
  int* orphan = Shared(sizeof *orphan);
  const pid_t middle = FORK();
  if (middle == 0) {
    const pid_t made = FORK();
    if (made == 0) {
      EVENTUALLY(getppid() == self);
      _exit(8);
    }
    *orphan = made;
    _exit(0);
  }
  EXPECT_EXIT(middle, 0);
  EXPECT_EXIT(*orphan, 8);
}

TEST(parent_death_signal) {
  EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
  int* orphan = Shared(sizeof *orphan);
  int ready[2];
  EXPECT(pipe(ready) == 0);
  const pid_t middle = FORK();
  if (middle == 0) {
    const pid_t made = FORK();
    if (made == 0) {
      prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
      int number = 0;
      prctl(PR_GET_PDEATHSIG, &number, 0, 0, 0);
      EXPECT_EQ(number, SIGUSR1);
      EXPECT(write(ready[1], "x", 1) == 1);
      pause();
      _exit(0);
    }
    *orphan = made;
    char c;
    _exit(read(ready[0], &c, 1) == 1 ? 0 : 1);
  }
  EXPECT_EXIT(middle, 0);
  EXPECT_KILLED(*orphan, SIGUSR1);
}

TEST(child_that_ends_with_its_parent_is_inherited) {
  EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
  int* orphan = Shared(sizeof *orphan);
  for (int i = 0; i < 100; i++) {
    const pid_t middle = FORK();
    if (middle == 0) {
      const pid_t made = FORK();
      if (made == 0) _exit(7);
      *orphan = made;
      _exit(0);
    }
    EXPECT_EXIT(middle, 0);
    EXPECT_EXIT(*orphan, 7);
  }
}

TEST(setsid_makes_session_and_group) {
  EXPECT_ERRNO(setsid(), EPERM);  // a group leader cannot
  const pid_t child = FORK();
  if (child == 0) {
    EXPECT_EQ(setsid(), getpid());
    EXPECT_EQ(getsid(0), getpid());
    EXPECT_EQ(getpgid(0), getpid());
    EXPECT_ERRNO(setpgid(0, 0), EPERM);
    _exit(0);
  }
  EXPECT_EXIT(child, 0);
}

TEST(setpgid_rules) {
  EXPECT_ERRNO(setpgid(-1, 0), EINVAL);
  EXPECT_ERRNO(setpgid(999999, 1), ESRCH);
  EXPECT_ERRNO(setpgid(0, -1), EINVAL);
  EXPECT_ERRNO(setpgid(getppid(), 0), ESRCH);
  EXPECT_ERRNO(setpgid(0, 999999), EPERM);
  EXPECT_ERRNO(getpgid(999999), ESRCH);
  EXPECT_ERRNO(getsid(999999), ESRCH);
  int gate[2];
  EXPECT(pipe(gate) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    char c;
    close(gate[1]);
    EXPECT(read(gate[0], &c, 1) == 0);
    EXPECT_EQ(getpgrp(), getpid());
    _exit(0);
  }
  EXPECT_EQ(getpgid(child), getpgrp());
  EXPECT(setpgid(child, child) == 0);
  EXPECT_EQ(getpgid(child), child);
  close(gate[1]);
  EXPECT_EXIT(child, 0);
}

TEST(setpgid_after_exec_is_eacces) {
  int gate[2];
  EXPECT(pipe2(gate, O_CLOEXEC) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    execl("/bin/busybox", "busybox", "sleep", "20", (char*)NULL);
    _exit(1);
  }
  close(gate[1]);
  char c;
  EXPECT_EQ(read(gate[0], &c, 1), 0);  // closed by its exec
  EXPECT_ERRNO(setpgid(child, child), EACCES);
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}

TEST(prctl_name) {
  char name[17] = {0};
  EXPECT(prctl(PR_SET_NAME, "a-name-that-is-too-long") == 0);
  EXPECT(prctl(PR_GET_NAME, name) == 0);
  EXPECT_STR(name, "a-name-that-is-");
  EXPECT_ERRNO(prctl(PR_SET_NAME, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(prctl(PR_GET_NAME, BAD_POINTER), EFAULT);
}

TEST(prctl_values) {
  EXPECT_ERRNO(prctl(12345, 0, 0, 0, 0), EINVAL);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
  EXPECT(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
  EXPECT_ERRNO(prctl(PR_SET_DUMPABLE, 2, 0, 0, 0), EINVAL);
  EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
  EXPECT_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
  EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
  IN_CHILD(EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1));
  EXPECT_ERRNO(prctl(PR_SET_PDEATHSIG, 1000, 0, 0, 0), EINVAL);
  EXPECT(prctl(PR_SET_TIMERSLACK, 70000, 0, 0, 0) == 0);
  EXPECT_EQ(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 70000);
}

TEST(kill_targets) {
  EXPECT_EQ(kill(getpid(), 0), 0);
  EXPECT_ERRNO(kill(999999, 0), ESRCH);
  EXPECT_ERRNO(kill(-999999, 0), ESRCH);
  EXPECT_ERRNO(kill(getpid(), 65), EINVAL);
  EXPECT_ERRNO(kill(getpid(), -1), EINVAL);
  EXPECT_ERRNO(syscall(SYS_tkill, 0, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_tgkill, 0, 1, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_tgkill, getppid(), getpid(), 0), ESRCH);
  const pid_t child = FORK();
  if (child == 0) _exit(0);
  siginfo_t info;
  OK(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
  EXPECT_EQ(kill(child, SIGKILL), 0);  // a zombie can be signalled
  EXPECT_EXIT(child, 0);
}

static int ThreadExit(void* unused) {
  (void)unused;
  syscall(SYS_exit_group, 6);
  return 0;
}

TEST(exit_group_ends_all_threads) {
  static char stack[65536] __attribute__((aligned(16)));
  const pid_t child = FORK();
  if (child == 0) {
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    OK(clone(ThreadExit, stack + sizeof stack, flags, NULL));
    for (;;) pause();
  }
  EXPECT_EXIT(child, 6);
}

static int ThreadLate(void* gate) {
  char c;
  if (read(*(int*)gate, &c, 1) != 1) syscall(SYS_exit_group, 1);
  syscall(SYS_exit, 5);
  return 0;
}

TEST(leader_exit_waits_for_threads) {
  static char stack[65536] __attribute__((aligned(16)));
  static int gate[2];
  EXPECT(pipe(gate) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    OK(clone(ThreadLate, stack + sizeof stack, flags, &gate[0]));
    syscall(SYS_exit, 3);
  }
  SleepMs(20);
  EXPECT_EQ(waitpid(child, NULL, WNOHANG), 0);
  EXPECT(write(gate[1], "x", 1) == 1);
  EXPECT_EXIT(child, 5);  // the code of the last thread (since Linux 6.0)
}

static int ClearTid(void* unused) {
  (void)unused;
  syscall(SYS_exit, 0);
  return 0;
}

TEST(clear_child_tid_at_exit) {
  static char stack[65536] __attribute__((aligned(16)));
  static volatile int tid = -1;
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                    CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID;
  OK(clone(ClearTid, stack + sizeof stack, flags, NULL, &tid, NULL, &tid));
  EVENTUALLY(tid == 0);
}

TEST(pids_are_not_reused_at_once) {
  pid_t last = 0;
  for (int i = 0; i < 5; i++) {
    const pid_t child = FORK();
    if (child == 0) _exit(0);
    EXPECT_EXIT(child, 0);
    EXPECT(child != last);
    last = child;
  }
}

TEST(unshare_files) {
  EXPECT(unshare(CLONE_FILES) == 0);
  EXPECT(unshare(CLONE_FS) == 0);
  EXPECT_ERRNO(unshare(1), EINVAL);
}
