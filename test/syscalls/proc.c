// proc(5): what programs read there about themselves and the machine.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>

#include "check.h"

static char text[200000];

static const char* Read(const char* path) {
  if (!ReadFile(path, text, sizeof text)) {
    Fail(__FILE__, __LINE__, "%s: %s", path, strerrorname_np(errno));
  }
  return text;
}

static const char* Link(const char* path) {
  const ssize_t n = readlink(path, text, sizeof text - 1);
  if (n < 0) Fail(__FILE__, __LINE__, "readlink(%s): %s", path, strerrorname_np(errno));
  text[n] = 0;
  return text;
}

// The value of a line "Name:\tvalue" in what was read last.
static const char* Field(const char* name) {
  static char value[300];
  char key[60];
  snprintf(key, sizeof key, "\n%s:", name);
  const char* at = strstr(text, key);
  if (at == NULL && strncmp(text, key + 1, strlen(key) - 1) == 0) at = text - 1;
  if (at == NULL) Fail(__FILE__, __LINE__, "no line %s", name);
  at += strlen(key);
  at += strspn(at, " \t");
  snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
  return value;
}

TEST(self_is_the_reader) {
  char pid[20];
  snprintf(pid, sizeof pid, "%d", getpid());
  EXPECT_STR(Link("/proc/self"), pid);
  IN_CHILD({
    snprintf(pid, sizeof pid, "%d", getpid());
    EXPECT_STR(Link("/proc/self"), pid);
  });
  snprintf(pid, sizeof pid, "%d/task/%d", getpid(), getpid());
  EXPECT_STR(Link("/proc/thread-self"), pid);
}

TEST(exe_cwd_root) {
  char cwd[4096];
  EXPECT(getcwd(cwd, sizeof cwd) != NULL);
  EXPECT_STR(Link("/proc/self/cwd"), cwd);
  EXPECT_STR(Link("/proc/self/root"), "/");
  EXPECT_STR(Link("/proc/self/exe"), check_program);
  EXPECT(open("/proc/self/exe", O_RDONLY) >= 0);
  EXPECT(mkdir("gone", 0755) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
  strcat(cwd, "/gone (deleted)");
  EXPECT_STR(Link("/proc/self/cwd"), cwd);
}

TEST(cmdline_and_comm) {
  const int fd = open("/proc/self/cmdline", O_RDONLY);
  const ssize_t n = read(fd, text, sizeof text);
  EXPECT(n > 1 && text[n - 1] == 0);
  EXPECT(strlen(text) < (size_t)n);
  EXPECT(prctl(PR_SET_NAME, "new name") == 0);
  EXPECT_STR(Read("/proc/self/comm"), "new name\n");
  WriteFile("/proc/self/comm", "another");
  char name[16];
  EXPECT(prctl(PR_GET_NAME, name) == 0);
  EXPECT_STR(name, "another");
}

TEST(maps) {
  char* p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(mprotect(p, 4096, PROT_NONE) == 0);
  WriteFile("mapped", "text");
  const int fd = open("mapped", O_RDWR);
  char* q = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  EXPECT(q != MAP_FAILED);
  Read("/proc/self/maps");
  int found = 0, stack = 0, heap = 0, vdso = 0;
  unsigned long last = 0;
  for (char* line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    unsigned long start, end, offset, inode;
    char perms[5], name[300] = "";
    unsigned major, minor;
    EXPECT(sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %299[^\n]", &start, &end, perms, &offset, &major,
                  &minor, &inode, name) >= 7);
    EXPECT(start >= last && end > start);
    last = end;
    if (start == (unsigned long)p) {
      EXPECT_STR(perms, "---p");
      found++;
    }
    if (start == (unsigned long)q) {
      EXPECT_STR(perms, "r--s");
      EXPECT(strstr(name, "/mapped") != NULL);
      struct stat s;
      EXPECT(fstat(fd, &s) == 0);
      EXPECT_EQ(inode, s.st_ino);
      found++;
    }
    stack += strcmp(name, "[stack]") == 0 && (unsigned long)&found >= start &&
             (unsigned long)&found < end;
    heap += strcmp(name, "[heap]") == 0;
    vdso += strcmp(name, "[vdso]") == 0;
  }
  EXPECT_EQ(found, 2);
  EXPECT_EQ(stack, 1);
  EXPECT_EQ(heap, 1);
  EXPECT_EQ(vdso, 1);
}

TEST(stat_line) {
  Read("/proc/self/stat");
  const char* close = strrchr(text, ')');
  EXPECT(close != NULL);
  int pid, ppid, pgrp, session;
  char state;
  EXPECT_EQ(sscanf(text, "%d (", &pid), 1);
  EXPECT_EQ(sscanf(close, ") %c %d %d %d", &state, &ppid, &pgrp, &session), 4);
  EXPECT_EQ(pid, getpid());
  EXPECT_EQ(state, 'R');
  EXPECT_EQ(ppid, getppid());
  EXPECT_EQ(pgrp, getpgrp());
  EXPECT_EQ(session, getsid(0));
  int fields = 0;
  for (const char* p = close + 1; *p; p++) fields += *p == ' ';
  EXPECT_EQ(fields, 50);  // 52 fields in all
}

TEST(status) {
  EXPECT(setresuid(0, 1000, 0) == 0);
  EXPECT(seteuid(0) == 0);
  signal(SIGUSR1, SIG_IGN);
  umask(027);
  Read("/proc/self/status");
  char pid[20];
  snprintf(pid, sizeof pid, "%d", getpid());
  EXPECT_STR(Field("Pid"), pid);
  EXPECT_STR(Field("Tgid"), pid);
  EXPECT_STR(Field("Uid"), "0\t0\t0\t0");
  EXPECT_STR(Field("Umask"), "0027");
  EXPECT_STR(Field("Threads"), "1");
  EXPECT_STR(Field("SigIgn"), "0000000000000200");
  EXPECT_STR(Field("State"), "R (running)");
  EXPECT(atoi(Field("VmRSS")) > 0);
  EXPECT(atoi(Field("VmSize")) >= atoi(Field("VmData")));
}

TEST(status_lines) {
  static const char* const kNames[] = {"Name",
                                       "Umask",
                                       "State",
                                       "Tgid",
                                       "Ngid",
                                       "Pid",
                                       "PPid",
                                       "TracerPid",
                                       "Uid",
                                       "Gid",
                                       "FDSize",
                                       "Groups",
                                       "NStgid",
                                       "NSpid",
                                       "NSpgid",
                                       "NSsid",
                                       "Kthread",
                                       "VmPeak",
                                       "VmSize",
                                       "VmLck",
                                       "VmPin",
                                       "VmHWM",
                                       "VmRSS",
                                       "RssAnon",
                                       "RssFile",
                                       "RssShmem",
                                       "VmData",
                                       "VmStk",
                                       "VmExe",
                                       "VmLib",
                                       "VmPTE",
                                       "VmSwap",
                                       "HugetlbPages",
                                       "CoreDumping",
                                       "THP_enabled",
                                       "Threads",
                                       "SigQ",
                                       "SigPnd",
                                       "ShdPnd",
                                       "SigBlk",
                                       "SigIgn",
                                       "SigCgt",
                                       "CapInh",
                                       "CapPrm",
                                       "CapEff",
                                       "CapBnd",
                                       "CapAmb",
                                       "NoNewPrivs",
                                       "Seccomp",
                                       "Cpus_allowed",
                                       "Cpus_allowed_list",
                                       "Mems_allowed",
                                       "Mems_allowed_list",
                                       "voluntary_ctxt_switches",
                                       "nonvoluntary_ctxt_switches"};
  const char* at = Read("/proc/self/status");
  for (size_t i = 0; i < sizeof kNames / sizeof *kNames; i++) {  // in this order
    char key[60];
    snprintf(key, sizeof key, "%s:\t", kNames[i]);
    at = strstr(at, key);
    if (at == NULL) Fail(__FILE__, __LINE__, "no %s", kNames[i]);
    EXPECT(at == text || at[-1] == '\n');
  }
  char number[20];
  snprintf(number, sizeof number, "%d", getpid());
  EXPECT_STR(Field("NSpid"), number);
  EXPECT_STR(Field("Mems_allowed_list"), "0");
}

TEST(status_tells_the_affinity) {
  cpu_set_t set;
  EXPECT(sched_getaffinity(0, sizeof set, &set) == 0);
  int last = 0;
  for (int i = 0; i < CPU_SETSIZE; i++) last = CPU_ISSET(i, &set) ? i : last;
  CPU_ZERO(&set);
  CPU_SET(last, &set);
  EXPECT(sched_setaffinity(0, sizeof set, &set) == 0);
  char want[20];
  snprintf(want, sizeof want, "%d", last);
  Read("/proc/self/status");
  EXPECT_STR(Field("Cpus_allowed_list"), want);
  if (last < 32) {
    snprintf(want, sizeof want, "%x", 1u << last);
    const char* mask = Field("Cpus_allowed");
    EXPECT_STR(strrchr(mask, ',') != NULL ? strrchr(mask, ',') + 1 : mask, want);
  }
}

TEST(states_of_children) {
  char path[40], state = 0;
  pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  snprintf(path, sizeof path, "/proc/%d/stat", child);
#define STATE() (Read(path), state = strrchr(text, ')')[2], state)
  EVENTUALLY(STATE() == 'S');
  kill(child, SIGSTOP);
  EVENTUALLY(STATE() == 'T');
  kill(child, SIGKILL);
  EVENTUALLY(STATE() == 'Z');
  EXPECT_KILLED(child, SIGKILL);
  EXPECT_ERRNO(open(path, O_RDONLY), ENOENT);
}

TEST(fd_directory) {
  WriteFile("f", "text");
  const int fd = open("f", O_RDONLY);
  EXPECT_EQ(dup2(fd, 77), 77);
  DIR* dir = opendir("/proc/self/fd");
  EXPECT(dir != NULL);
  int seen = 0;
  struct dirent* e;
  while ((e = readdir(dir)) != NULL) seen += strcmp(e->d_name, "77") == 0;
  EXPECT_EQ(seen, 1);
  char cwd[4096];
  EXPECT(getcwd(cwd, sizeof cwd) != NULL);
  strcat(cwd, "/f");
  EXPECT_STR(Link("/proc/self/fd/77"), cwd);
  struct stat s;
  EXPECT(lstat("/proc/self/fd/77", &s) == 0);
  EXPECT_EQ(s.st_mode, S_IFLNK | 0500);
  EXPECT(stat("/proc/self/fd/77", &s) == 0);
  EXPECT(S_ISREG(s.st_mode));
  EXPECT(unlink("f") == 0);
  strcat(cwd, " (deleted)");
  EXPECT_STR(Link("/proc/self/fd/77"), cwd);
  const int again = open("/proc/self/fd/77", O_RDONLY);  // opens the file, not the name
  char buffer[4];
  EXPECT_EQ(read(again, buffer, 4), 4);
  EXPECT_ERRNO(readlink("/proc/self/fd/99", text, 10), ENOENT);
}

TEST(fdinfo) {
  WriteFile("f", "0123456789");
  const int fd = open("f", O_RDWR | O_APPEND);
  EXPECT_EQ(lseek(fd, 7, SEEK_SET), 7);
  char path[50];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  Read(path);
  EXPECT_STR(Field("pos"), "7");
  EXPECT_EQ(strtol(Field("flags"), NULL, 8), O_RDWR | O_APPEND | 0100000);
}

static int Wait(void* gate) {
  char c;
  read(*(int*)gate, &c, 1);
  syscall(SYS_exit, 0);
  return 0;
}

TEST(task_directory) {
  static char stack[65536] __attribute__((aligned(16)));
  static int gate[2];
  EXPECT(pipe(gate) == 0);
  const int tid =
      OK(clone(Wait, stack + sizeof stack,
               CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, &gate[0]));
  DIR* dir = opendir("/proc/self/task");
  EXPECT(dir != NULL);
  int seen = 0, mine = 0;
  struct dirent* e;
  while ((e = readdir(dir)) != NULL) {
    seen += e->d_name[0] != '.';
    mine += atoi(e->d_name) == tid;
  }
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(mine, 1);
  char path[60];
  snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
  Read(path);
  EXPECT_EQ(atoi(Field("Pid")), tid);
  EXPECT_EQ(atoi(Field("Tgid")), getpid());
  EXPECT_STR(Field("Threads"), "2");
}

TEST(root_directory) {
  DIR* dir = opendir("/proc");
  EXPECT(dir != NULL);
  int self = 0, me = 0;
  struct dirent* e;
  while ((e = readdir(dir)) != NULL) {
    self += strcmp(e->d_name, "self") == 0;
    me += atoi(e->d_name) == getpid();
  }
  EXPECT(self == 1 && me == 1);
  struct stat s;
  EXPECT(stat("/proc", &s) == 0);
  EXPECT_EQ(s.st_ino, 1);
  EXPECT_EQ(s.st_mode, S_IFDIR | 0555);
  EXPECT_ERRNO(open("/proc/nothing", O_RDONLY), ENOENT);
  EXPECT_ERRNO(open("/proc/999999", O_RDONLY), ENOENT);
  EXPECT_ERRNO(open("/proc/self/nothing", O_RDONLY), ENOENT);
  EXPECT_ERRNO(mkdir("/proc/x", 0700), ENOENT);
}

TEST(meminfo) {
  Read("/proc/meminfo");
  EXPECT(atol(Field("MemTotal")) > 0);
  EXPECT(atol(Field("MemFree")) <= atol(Field("MemTotal")));
  EXPECT(atol(Field("MemAvailable")) > 0);
  EXPECT(strstr(Field("SwapTotal"), " kB") != NULL);
}

TEST(system_stat) {
  Read("/proc/stat");
  EXPECT(strncmp(text, "cpu  ", 5) == 0);
  EXPECT(strstr(text, "\ncpu0 ") != NULL);
  EXPECT(strstr(text, "\nbtime ") != NULL);
  EXPECT(strstr(text, "\nprocesses ") != NULL);
  EXPECT(strstr(text, "\nctxt ") != NULL);
}

TEST(uptime_and_loadavg) {
  double up = 0, idle = 0, load[3];
  EXPECT_EQ(sscanf(Read("/proc/uptime"), "%lf %lf\n", &up, &idle), 2);
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  EXPECT(up <= now.tv_sec + 1 && up >= now.tv_sec - 1);
  int running, all, last;
  EXPECT_EQ(sscanf(Read("/proc/loadavg"), "%lf %lf %lf %d/%d %d\n", &load[0], &load[1], &load[2],
                   &running, &all, &last),
            6);
}

TEST(version_and_cpuinfo) {
  EXPECT(strncmp(Read("/proc/version"), "Linux version ", 14) == 0);
  EXPECT(strstr(Read("/proc/cpuinfo"), "processor\t: 0\n") != NULL);
  EXPECT(strstr(text, "flags\t\t: ") != NULL);
  EXPECT(strstr(Read("/proc/filesystems"), "nodev\tproc\n") != NULL);
}

TEST(mounts) {
  Read("/proc/mounts");
  EXPECT(strstr(text, " / ") != NULL);
  EXPECT(strstr(text, " /proc proc ") != NULL);
  EXPECT_STR(Link("/proc/mounts"), "self/mounts");
  Read("/proc/self/mountinfo");
  EXPECT(strstr(text, " - proc ") != NULL);
}

TEST(sys_kernel) {
  EXPECT(atoi(Read("/proc/sys/kernel/pid_max")) >= 1024);
  EXPECT(strlen(Read("/proc/sys/kernel/ostype")) == 6);
  EXPECT(strlen(Read("/proc/sys/kernel/random/boot_id")) == 37);
  EXPECT(atoi(Read("/proc/sys/vm/overcommit_memory")) <= 2);
  EXPECT(atol(Read("/proc/sys/fs/file-max")) > 0);
}

TEST(auxv_environ_limits) {
  const int fd = open("/proc/self/auxv", O_RDONLY);
  unsigned long pairs[100];
  const ssize_t n = read(fd, pairs, sizeof pairs);
  EXPECT(n > 0 && n % 16 == 0);
  EXPECT(open("/proc/self/environ", O_RDONLY) >= 0);
  Read("/proc/self/limits");
  EXPECT(strncmp(text, "Limit                     Soft Limit", 36) == 0);
  EXPECT(strstr(text, "\nMax open files ") != NULL);
}

TEST(mem_file) {
  static volatile int value = 4711;
  const int fd = open("/proc/self/mem", O_RDWR);
  EXPECT(fd >= 0);
  int got = 0;
  EXPECT_EQ(pread(fd, &got, sizeof got, (off_t)(uintptr_t)&value), sizeof got);
  EXPECT_EQ(got, 4711);
  got = 5;
  EXPECT_EQ(pwrite(fd, &got, sizeof got, (off_t)(uintptr_t)&value), sizeof got);
  EXPECT_EQ(value, 5);
  EXPECT_ERRNO(pread(fd, &got, sizeof got, 0x10), EIO);
}

TEST(short_reads) {
  const int fd = open("/proc/self/status", O_RDONLY);
  char one[20000];
  size_t n = 0;
  while (n < sizeof one && read(fd, one + n, 1) == 1) n++;
  Read("/proc/self/status");
  EXPECT_EQ(n, strlen(text));
  EXPECT(memcmp(one, text, 20) == 0);
  EXPECT_EQ(lseek(fd, 5, SEEK_SET), 5);
  EXPECT_EQ(read(fd, one, 1), 1);
  EXPECT_EQ(one[0], text[5]);
  EXPECT_ERRNO(syscall(SYS_read, fd, BAD_POINTER, 10), EFAULT);
}

TEST(files_of_others_are_closed) {
  char path[60];
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  IN_CHILD({
    EXPECT(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
    snprintf(path, sizeof path, "/proc/%d/exe", child);
    EXPECT_ERRNO(readlink(path, text, 100), EACCES);
    snprintf(path, sizeof path, "/proc/%d/fd", child);
    EXPECT_ERRNO(open(path, O_RDONLY), EACCES);
    snprintf(path, sizeof path, "/proc/%d/environ", child);
    EXPECT_ERRNO(open(path, O_RDONLY), EACCES);
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    Read(path);
  });
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}
