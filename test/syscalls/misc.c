// What fits nowhere else: uname(2), sysinfo(2), getrandom(2), getcpu(2), sched_*(2), priorities,
// personality(2), membarrier(2), numbers of no call, limits of the entry itself.
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <termios.h>

#include "check.h"

TEST(uname) {
  struct utsname u;
  EXPECT(uname(&u) == 0);
  EXPECT_STR(u.sysname, "Linux");
  EXPECT_STR(u.machine, "x86_64");
  int major = 0, minor = 0;
  EXPECT_EQ(sscanf(u.release, "%d.%d", &major, &minor), 2);
  EXPECT(major >= 6);
  EXPECT_ERRNO(syscall(SYS_uname, BAD_POINTER), EFAULT);
}

TEST(hostname) {
  struct utsname before, u;
  EXPECT(uname(&before) == 0);
  EXPECT_ERRNO(sethostname("x", 65), EINVAL);
  EXPECT_ERRNO(sethostname(BAD_POINTER, 1), EFAULT);
  EXPECT(sethostname(before.nodename, strlen(before.nodename)) == 0);
  EXPECT(uname(&u) == 0);
  EXPECT_STR(u.nodename, before.nodename);
}

TEST(sysinfo) {
  struct sysinfo info;
  EXPECT(sysinfo(&info) == 0);
  EXPECT(info.totalram > 0 && info.freeram <= info.totalram);
  EXPECT(info.mem_unit > 0);
  EXPECT(info.procs > 0);
  EXPECT_ERRNO(syscall(SYS_sysinfo, BAD_POINTER), EFAULT);
}

TEST(getrandom) {
  unsigned char a[64] = {0}, b[64] = {0};
  EXPECT_EQ(getrandom(a, 64, 0), 64);
  EXPECT_EQ(getrandom(b, 64, GRND_NONBLOCK), 64);
  EXPECT(memcmp(a, b, 64) != 0);
  EXPECT_EQ(getrandom(a, 0, 0), 0);
  EXPECT_ERRNO(getrandom(a, 1, 0x100), EINVAL);
  EXPECT_ERRNO(getrandom(a, 1, GRND_INSECURE | GRND_RANDOM), EINVAL);
  EXPECT_ERRNO(syscall(SYS_getrandom, BAD_POINTER, 8, 0), EFAULT);
  unsigned char* big = calloc(1, 1 << 20);
  EXPECT_EQ(getrandom(big, 1 << 20, 0), 1 << 20);
  int zero = 0;
  for (int i = 0; i < 1 << 20; i++) zero += big[i] == 0;
  EXPECT(zero > 3000 && zero < 5500);
}

TEST(getcpu) {
  unsigned cpu = 999, node = 999;
  EXPECT(syscall(SYS_getcpu, &cpu, &node, NULL) == 0);
  EXPECT(cpu < 999 && node < 999);
  EXPECT(syscall(SYS_getcpu, NULL, NULL, NULL) == 0);
  EXPECT(sched_getcpu() >= 0);
  EXPECT_ERRNO(syscall(SYS_getcpu, BAD_POINTER, NULL, NULL), EFAULT);
}

TEST(affinity) {
  cpu_set_t set, again;
  const long size = syscall(SYS_sched_getaffinity, 0, sizeof set, &set);
  EXPECT(size >= 8 && size % 8 == 0);
  CPU_ZERO(&set);
  EXPECT(sched_getaffinity(0, sizeof set, &set) == 0);
  EXPECT(CPU_COUNT(&set) >= 1);
  EXPECT(CPU_ISSET(0, &set));
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  EXPECT(sched_setaffinity(0, sizeof one, &one) == 0);
  EXPECT(sched_getaffinity(0, sizeof again, &again) == 0);
  EXPECT_EQ(CPU_COUNT(&again), 1);
  IN_CHILD({
    EXPECT(sched_getaffinity(0, sizeof again, &again) == 0);
    EXPECT_EQ(CPU_COUNT(&again), 1);
  });
  CPU_ZERO(&one);
  EXPECT_ERRNO(sched_setaffinity(0, sizeof one, &one), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_getaffinity, 0, 3, &set), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_getaffinity, 0, sizeof set, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_sched_getaffinity, 999999, sizeof set, &set), ESRCH);
}

TEST(scheduler) {
  struct sched_param param = {0};
  EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
  EXPECT(sched_getparam(0, &param) == 0);
  EXPECT_EQ(param.sched_priority, 0);
  EXPECT_EQ(sched_get_priority_max(SCHED_FIFO), 99);
  EXPECT_EQ(sched_get_priority_min(SCHED_RR), 1);
  EXPECT_EQ(sched_get_priority_max(SCHED_OTHER), 0);
  EXPECT_ERRNO(sched_get_priority_max(99), EINVAL);
  EXPECT(sched_setscheduler(0, SCHED_OTHER, &param) == 0);
  EXPECT(sched_setscheduler(0, SCHED_BATCH, &param) == 0);
  EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  param.sched_priority = 5;
  EXPECT_ERRNO(sched_setscheduler(0, SCHED_OTHER, &param), EINVAL);
  EXPECT_ERRNO(sched_setscheduler(0, 99, &param), EINVAL);
  EXPECT_ERRNO(sched_getscheduler(-1), EINVAL);
  EXPECT_ERRNO(sched_getscheduler(999999), ESRCH);
  EXPECT_ERRNO(sched_getparam(0, NULL), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sched_getparam, 0, BAD_POINTER), EFAULT);
  EXPECT(sched_yield() == 0);
  struct timespec slice;
  EXPECT(sched_rr_get_interval(0, &slice) == 0);
}

TEST(priority) {
  EXPECT_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 20);
  EXPECT(setpriority(PRIO_PROCESS, 0, 5) == 0);
  EXPECT_EQ(syscall(SYS_getpriority, PRIO_PROCESS, getpid()), 15);
  IN_CHILD(EXPECT_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 15));
  EXPECT(setpriority(PRIO_PROCESS, 0, 100) == 0);
  EXPECT_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 1);
  EXPECT_EQ(syscall(SYS_getpriority, PRIO_PGRP, 0), 1);
  EXPECT_ERRNO(syscall(SYS_getpriority, 9, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_getpriority, PRIO_PROCESS, 999999), ESRCH);
  EXPECT_ERRNO(setpriority(PRIO_PROCESS, 999999, 0), ESRCH);
}

TEST(personality) {
  EXPECT_EQ(personality(0xffffffff), 0);
  EXPECT_EQ(personality(ADDR_NO_RANDOMIZE), 0);
  EXPECT_EQ(personality(0xffffffff), ADDR_NO_RANDOMIZE);
  IN_CHILD(EXPECT_EQ(personality(0xffffffff), ADDR_NO_RANDOMIZE));
}

TEST(membarrier) {
  const long supported = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  EXPECT(supported & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  EXPECT_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
  EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
  EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
  EXPECT_ERRNO(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 5, 0), EINVAL);
}

TEST(numbers_of_no_call) {
  static const long numbers[] = {500, 1000, 335 + 10, 423, 0x7fffffff, -1,  -4095, 174, 177, 178,
                                 180, 181,  182,      183, 184,        185, 214,   215, 236};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    errno = 0;
    if (syscall(numbers[i], 0, 0, 0, 0, 0, 0) != -1 || errno != ENOSYS) {
      Fail(__FILE__, __LINE__, "call %ld: %s", numbers[i], strerrorname_np(errno));
    }
  }
}

TEST(high_half_of_the_number) {
  long result;
  // The number is the low 32 bits, sign-extended: bits above are ignored.
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(0x1234567800000000L | SYS_getpid)
                   : "rcx", "r11", "memory");
  EXPECT_EQ(result, getpid());
}

TEST(registers_survive) {
  long bx = 1, bp, r8 = 2, r9 = 3, r10 = 4, r12 = 5, r15 = 6, di = 7, si = 8, dx = 9;
  __asm__ volatile(
      "movq $11, %%rbx\n movq $12, %%r8\n movq $13, %%r9\n movq $14, %%r10\n movq $15, %%r12\n"
      "movq $16, %%r15\n movq $17, %%rdi\n movq $18, %%rsi\n movq $19, %%rdx\n"
      "movl $39, %%eax\n syscall\n"
      "movq %%rbx, %0\n movq %%r8, %1\n movq %%r9, %2\n movq %%r10, %3\n movq %%r12, %4\n"
      "movq %%r15, %5\n movq %%rdi, %6\n movq %%rsi, %7\n movq %%rdx, %8\n"
      : "=m"(bx), "=m"(r8), "=m"(r9), "=m"(r10), "=m"(r12), "=m"(r15), "=m"(di), "=m"(si), "=m"(dx)
      :
      : "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "r8", "r9", "r10", "r11", "r12", "r15", "memory");
  (void)bp;
  EXPECT(bx == 11 && r8 == 12 && r9 == 13 && r10 == 14 && r12 == 15 && r15 == 16);
  EXPECT(di == 17 && si == 18 && dx == 19);
}

TEST(flags_survive) {
  unsigned long before, after;
  __asm__ volatile(
      "stc\n std\n pushfq\n popq %0\n movl $39, %%eax\n syscall\n pushfq\n popq %1\n cld"
      : "=&r"(before), "=&r"(after)
      :
      : "rax", "rcx", "r11", "cc", "memory");
  EXPECT_EQ(before, after);
}

TEST(ioctl_errors) {
  const int null = open("/dev/null", O_RDWR);
  struct termios t;
  EXPECT_ERRNO(ioctl(null, TCGETS, &t), ENOTTY);
  EXPECT_ERRNO(ioctl(999, TCGETS, &t), EBADF);
  const int file = open("f", O_RDWR | O_CREAT, 0600);
  EXPECT_ERRNO(ioctl(file, TIOCGWINSZ, &t), ENOTTY);
  WriteFile("g", "12345");
  int n = 0;
  const int g = open("g", O_RDONLY);
  EXPECT(ioctl(g, FIONREAD, &n) == 0);
  EXPECT_EQ(n, 5);
  int one = 1;
  EXPECT(ioctl(g, FIONBIO, &one) == 0);
  EXPECT(fcntl(g, F_GETFL) & O_NONBLOCK);
  EXPECT(ioctl(g, FIOCLEX, NULL) == 0);
  EXPECT_EQ(fcntl(g, F_GETFD), FD_CLOEXEC);
  EXPECT(ioctl(g, FIONCLEX, NULL) == 0);
  EXPECT_EQ(fcntl(g, F_GETFD), 0);
}

TEST(arch_prctl) {
  unsigned long base = 0;
  EXPECT(syscall(SYS_arch_prctl, 0x1003, &base) == 0);
  unsigned long fs;
  __asm__("movq %%fs:0, %0" : "=r"(fs));
  EXPECT_EQ(fs, base);  // the thread pointer points to itself
  EXPECT(syscall(SYS_arch_prctl, 0x1001, 0x1234000) == 0);
  EXPECT(syscall(SYS_arch_prctl, 0x1004, &base) == 0);
  EXPECT_EQ(base, 0x1234000);
  EXPECT_ERRNO(syscall(SYS_arch_prctl, 0x1002, 1UL << 63), EPERM);
  EXPECT_ERRNO(syscall(SYS_arch_prctl, 0x1003, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_arch_prctl, 0x9999, 0), EINVAL);
}

TEST(gettid_and_set_tid_address) {
  int word = 0;
  EXPECT_EQ(syscall(SYS_set_tid_address, &word), getpid());
  EXPECT_EQ(syscall(SYS_gettid), getpid());
}

TEST(sync_calls) {
  EXPECT_EQ(syscall(SYS_sync), 0);
  const int fd = open("f", O_RDWR | O_CREAT, 0600);
  EXPECT(syncfs(fd) == 0);
  EXPECT_ERRNO(syncfs(999), EBADF);
  EXPECT(fdatasync(fd) == 0);
  EXPECT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  EXPECT_EQ(posix_fadvise(fd, 0, 0, 77), EINVAL);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT_EQ(posix_fadvise(ends[0], 0, 0, 0), ESPIPE);
  EXPECT_ERRNO(readahead(999, 0, 1), EBADF);
  EXPECT_ERRNO(sync_file_range(fd, 0, 0, 0x1000), EINVAL);
}

TEST(sockets_are_refused_cleanly) {
  const int fd = open("/dev/null", O_RDONLY);
  EXPECT_ERRNO(syscall(SYS_bind, fd, NULL, 0), ENOTSOCK);
  EXPECT_ERRNO(syscall(SYS_listen, fd, 1), ENOTSOCK);
  EXPECT_ERRNO(syscall(SYS_sendto, 999, NULL, 0, 0, NULL, 0), EBADF);
  EXPECT_ERRNO(syscall(SYS_socket, 9999, 1, 0), EAFNOSUPPORT);
}
