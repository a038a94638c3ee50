// proc(5): files about the system, /proc/net and /proc/sys, by their formats.
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/un.h>

#include "check.h"

static char text[400000];

static const char* Read(const char* path) {
  if (!ReadFile(path, text, sizeof text)) {
    Fail(__FILE__, __LINE__, "%s: %s", path, strerrorname_np(errno));
  }
  return text;
}

static long Number(const char* path) {
  char* end;
  const long value = strtol(Read(path), &end, 10);
  EXPECT_STR(end, "\n");
  return value;
}

TEST(vmstat) {
  const char* line = Read("/proc/vmstat");
  while (*line != 0) {
    char name[60];
    unsigned long value;
    EXPECT_EQ(sscanf(line, "%59[a-z0-9_] %lu", name, &value), 2);
    line = strchr(line, '\n') + 1;
  }
  EXPECT(strncmp(text, "nr_free_pages ", 14) == 0);
  const char* faults = strstr(text, "\npgfault ");
  EXPECT(faults != NULL && atol(faults + 9) > 0);
  EXPECT(strstr(text, "\npgmajfault ") != NULL);
  EXPECT(strstr(text, "\npgpgin ") != NULL);
  EXPECT(strstr(text, "\nnr_page_table_pages ") != NULL);
}

TEST(page_faults_are_counted) {
  const long before = atol(strstr(Read("/proc/vmstat"), "\npgfault ") + 9);
  const size_t size = 16 << 20;
  char* at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(at, 1, size);
  EXPECT(atol(strstr(Read("/proc/vmstat"), "\npgfault ") + 9) > before);
}

TEST(tables_of_devices) {
  Read("/proc/partitions");
  EXPECT(*text == 0 || strncmp(text, "major minor  #blocks  name\n\n", 28) == 0);
  EXPECT(strncmp(Read("/proc/swaps"), "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n", 41) ==
         0);
  const char* line = Read("/proc/diskstats");
  for (; *line != 0; line = strchr(line, '\n') + 1) {
    int major, minor;
    char name[60];
    EXPECT_EQ(sscanf(line, "%d %d %59s", &major, &minor, name), 3);
  }
  EXPECT(strncmp(Read("/proc/devices"), "Character devices:\n  1 mem\n", 26) == 0);
  EXPECT(strstr(text, "\n  5 /dev/tty\n") != NULL);
  EXPECT(strstr(text, "\n136 pts\n") != NULL);
  EXPECT(strstr(text, "\n\nBlock devices:\n") != NULL);
  Read("/proc/tty/drivers");
  EXPECT(strstr(text, "/dev/ptmx            /dev/ptmx       5       2 system\n") != NULL);
  EXPECT(strstr(text, "pty_slave            /dev/pts      136 0-1048575 pty:slave\n") != NULL);
  EXPECT(strncmp(Read("/proc/cgroups"), "#subsys_name\thierarchy\tnum_cgroups\tenabled\n", 43) ==
         0);
}

TEST(meminfo_lines) {
  static const char* const kNames[] = {
      "MemTotal", "MemFree",   "MemAvailable", "Buffers",    "Cached",      "Active",
      "Inactive", "SwapTotal", "SwapFree",     "Dirty",      "AnonPages",   "Mapped",
      "Shmem",    "Slab",      "SReclaimable", "PageTables", "CommitLimit", "Committed_AS"};
  Read("/proc/meminfo");
  const char* at = text;
  for (size_t i = 0; i < sizeof kNames / sizeof *kNames; i++) {
    char key[40];
    snprintf(key, sizeof key, "%s:", kNames[i]);
    at = strstr(at, key);  // in this order
    if (at == NULL) Fail(__FILE__, __LINE__, "no %s", kNames[i]);
    EXPECT_EQ(strstr(at, " kB\n") - at, 24);
  }
  EXPECT(strstr(text, "\nHugePages_Total:       0\n") != NULL);
  EXPECT(strstr(text, "\nHugepagesize:       2048 kB\n") != NULL);
}

static long MeminfoKb(const char* key) {
  const char* at = strstr(Read("/proc/meminfo"), key);
  EXPECT(at != NULL);
  return atol(at + strlen(key));
}

TEST(shared_memory_is_counted) {
  const long before = MeminfoKb("\nShmem:");
  const size_t size = 32 << 20;
  char* at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT(at != MAP_FAILED);
  memset(at, 1, size);
  const long after = MeminfoKb("\nShmem:");
  EXPECT(after >= before + 30000);
  EXPECT(MeminfoKb("\nCached:") >= after);
}

TEST(context_switches_are_counted) {
  const long before = atol(strstr(Read("/proc/stat"), "\nctxt ") + 6);
  for (int i = 0; i < 20; i++) SleepMs(1);
  EXPECT(atol(strstr(Read("/proc/stat"), "\nctxt ") + 6) >= before + 20);
}

// The time of processes that are gone stays in the sum.
TEST(processor_time_does_not_go_back) {
  long user, nice, kernel, after;
  signal(SIGCHLD, SIG_IGN);  // nobody's children
  const pid_t child = FORK();
  if (child == 0) {
    const clock_t end = clock() + CLOCKS_PER_SEC / 2;
    while (clock() < end) {
    }
    for (;;) pause();
  }
  char path[40];
  snprintf(path, sizeof path, "/proc/%d/stat", child);
  EVENTUALLY((Read(path), strrchr(text, ')')[2]) == 'S');
  EXPECT_EQ(sscanf(Read("/proc/stat"), "cpu  %ld %ld %ld", &user, &nice, &kernel), 3);
  kill(child, SIGKILL);
  EVENTUALLY(kill(child, 0) != 0);
  EXPECT_EQ(sscanf(Read("/proc/stat"), "cpu  %ld %ld %ld", &after, &nice, &kernel), 3);
  EXPECT(after >= user);
}

TEST(loadavg_and_sysinfo_agree) {
  double load[3];
  struct sysinfo info;
  EXPECT_EQ(sysinfo(&info), 0);
  EXPECT_EQ(sscanf(Read("/proc/loadavg"), "%lf %lf %lf", &load[0], &load[1], &load[2]), 3);
  for (int i = 0; i < 3; i++) {
    const double told = info.loads[i] / 65536.0;
    EXPECT(told - load[i] < 0.5 && load[i] - told < 0.5);
  }
}

static const char* Net(const char* name) {
  char path[60];
  snprintf(path, sizeof path, "/proc/net/%s", name);
  return Read(path);
}

// In a network namespace where nothing has happened yet.
TEST(net_of_an_empty_namespace) {
  char link[40] = "";
  EXPECT(readlink("/proc/net", link, sizeof link - 1) > 0);
  EXPECT_STR(link, "self/net");
  IN_CHILD({
    (void)unshare(CLONE_NEWNET);  // the sandbox has no other
    EXPECT_STR(Net("dev"),
               "Inter-|   Receive                                                |  Transmit\n"
               " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets "
               "errs drop fifo colls carrier compressed\n"
               "    lo:       0       0    0    0    0     0          0         0        0       0 "
               "   0    0    0     0       0          0\n");
    EXPECT_STR(Net("tcp"),
               "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
               "timeout inode                                                     \n");
    EXPECT_STR(Net("tcp6"),
               "  sl  local_address                         remote_address                        "
               "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n");
    EXPECT_STR(Net("udp"),
               "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid "
               " timeout inode ref pointer drops            \n");
    EXPECT_STR(Net("udp6"),
               "  sl  local_address                         remote_address                        "
               "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
               "drops\n");
    EXPECT_STR(Net("raw"),
               "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
               "timeout inode ref pointer drops\n");
    EXPECT_STR(Net("arp"),
               "IP address       HW type     Flags       HW address            Mask     Device\n");
    EXPECT_STR(Net("packet"), "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n");
    EXPECT_STR(Net("route"), "");
    EXPECT_STR(Net("if_inet6"), "");
    EXPECT(strncmp(Net("netlink"),
                   "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    "
                   "Drops    Inode\n",
                   88) == 0);
  });
}

TEST(net_unix_lists_sockets) {
  IN_CHILD({
    (void)unshare(CLONE_NEWNET);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "listening"};
    EXPECT_EQ(bind(fd, (struct sockaddr*)&name, sizeof name), 0);
    EXPECT_EQ(listen(fd, 5), 0);
    struct stat s;
    EXPECT_EQ(fstat(fd, &s), 0);
    char want[100];
    Net("unix");
    EXPECT(strncmp(text, "Num       RefCount Protocol Flags    Type St Inode Path\n", 56) == 0);
    snprintf(want, sizeof want, ": 00000002 00000000 00010000 0001 01 %5lu listening\n", s.st_ino);
    EXPECT(strstr(text, want) != NULL);
  });
}

TEST(sys_numbers) {
  static const char* const kPositive[] = {"kernel/pid_max",
                                          "kernel/threads-max",
                                          "kernel/ngroups_max",
                                          "kernel/cap_last_cap",
                                          "kernel/ns_last_pid",
                                          "vm/max_map_count",
                                          "vm/mmap_min_addr",
                                          "fs/nr_open",
                                          "fs/pipe-max-size",
                                          "net/core/somaxconn",
                                          "net/core/rmem_default",
                                          "net/core/wmem_max",
                                          "net/core/wmem_default",
                                          "net/unix/max_dgram_qlen",
                                          "fs/inotify/max_user_watches",
                                          "fs/inotify/max_user_instances",
                                          "fs/inotify/max_queued_events"};
  static const char* const kMayBeZero[] = {"vm/overcommit_memory", "vm/nr_hugepages",
                                           "vm/panic_on_oom",      "kernel/randomize_va_space",
                                           "kernel/panic",         "fs/leases-enable"};
  char path[80];
  for (size_t i = 0; i < sizeof kPositive / sizeof *kPositive; i++) {
    snprintf(path, sizeof path, "/proc/sys/%s", kPositive[i]);
    EXPECT(Number(path) > 0);
  }
  for (size_t i = 0; i < sizeof kMayBeZero / sizeof *kMayBeZero; i++) {
    snprintf(path, sizeof path, "/proc/sys/%s", kMayBeZero[i]);
    EXPECT(Number(path) >= 0);
  }
  EXPECT_EQ(Number("/proc/sys/kernel/ngroups_max"), 65536);
  EXPECT_EQ(Number("/proc/sys/kernel/overflowuid"), 65534);
  EXPECT_EQ(Number("/proc/sys/fs/overflowgid"), 65534);
  EXPECT(*Read("/proc/sys/kernel/core_pattern") != 0);
}

// What /proc/sys says is what the kernel does.
TEST(sys_limits_hold) {
  const long backlog = Number("/proc/sys/net/unix/max_dgram_qlen");
  const long maps = Number("/proc/sys/vm/max_map_count");
  EXPECT(backlog >= 10);
  EXPECT(maps >= 65530);
  const long last = Number("/proc/sys/kernel/cap_last_cap");
  EXPECT_EQ(syscall(SYS_prctl, 23, last, 0, 0, 0) >= 0, 1);  // PR_CAPBSET_READ
  EXPECT_ERRNO(syscall(SYS_prctl, 23, last + 1, 0, 0, 0), EINVAL);
  const long most = Number("/proc/sys/fs/pipe-max-size");
  int tube[2];
  EXPECT_EQ(pipe(tube), 0);
  EXPECT_EQ(fcntl(tube[0], F_SETPIPE_SZ, most), most);
  const long pid = Number("/proc/sys/kernel/ns_last_pid");
  IN_CHILD({ EXPECT(getpid() > pid || getpid() < 1000); });
}

TEST(sys_random) {
  char first[40], again[40];
  snprintf(first, sizeof first, "%s", Read("/proc/sys/kernel/random/uuid"));
  snprintf(again, sizeof again, "%s", Read("/proc/sys/kernel/random/uuid"));
  EXPECT(strlen(first) == 37 && first[14] == '4' && strcmp(first, again) != 0);
  snprintf(first, sizeof first, "%s", Read("/proc/sys/kernel/random/boot_id"));
  EXPECT_STR(Read("/proc/sys/kernel/random/boot_id"), first);
  EXPECT(Number("/proc/sys/kernel/random/entropy_avail") > 0);
}

// A name with a space must not look like two fields.
TEST(mounts_escape_names) {
  EXPECT_EQ(mkdir("a b\tc\n", 0700), 0);
  EXPECT_EQ(mount("a #b", "a b\tc\n", "tmpfs", 0, NULL), 0);
  Read("/proc/self/mounts");
  const char* at = strstr(text, "/a\\040b\\011c\\012 tmpfs ");
  const char* source = strstr(text, "\na\\040\\043b /");
  const char* info = strstr(Read("/proc/self/mountinfo"), "/a\\040b\\011c\\012 ");
  EXPECT_EQ(umount("a b\tc\n"), 0);
  EXPECT(at != NULL && source != NULL && info != NULL);
}

TEST(maps_escape_newlines) {
  const int fd = open("two\nlines", O_RDWR | O_CREAT, 0600);
  EXPECT_EQ(ftruncate(fd, 4096), 0);
  EXPECT(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
  EXPECT(strstr(Read("/proc/self/maps"), "/two\\012lines\n") != NULL);
}
