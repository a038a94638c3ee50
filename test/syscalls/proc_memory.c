// proc(5): /proc/PID/smaps, smaps_rollup and what else is told of a process's memory and use.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>

#include "check.h"

enum { PAGE = 4096 };

static char text[400000];

static const char* Read(const char* path) {
  if (!ReadFile(path, text, sizeof text)) {
    Fail(__FILE__, __LINE__, "%s: %s", path, strerrorname_np(errno));
  }
  return text;
}

// The lines of one mapping in what was read last, from its range on.
static const char* EntryAt(const void* at) {
  static char entry[4000];
  char start[30];
  snprintf(start, sizeof start, "%lx-", (unsigned long)at);
  const char* found = text;
  while (found != NULL && strncmp(found, start, strlen(start)) != 0) {
    found = strchr(found, '\n');
    if (found != NULL) found++;
  }
  if (found == NULL) Fail(__FILE__, __LINE__, "no mapping at %s", start);
  const char* end = strstr(found, "VmFlags:");
  EXPECT(end != NULL);
  end = strchr(end, '\n');
  EXPECT(end != NULL && end - found < (long)sizeof entry - 1);
  memcpy(entry, found, end + 1 - found);
  entry[end + 1 - found] = 0;
  return entry;
}

// The value of "Name:  123 kB".
static long Kb(const char* entry, const char* name) {
  char key[40];
  snprintf(key, sizeof key, "\n%s:", name);
  const char* at = strstr(entry, key);
  if (at == NULL) Fail(__FILE__, __LINE__, "no line %s in %s", name, entry);
  return atol(at + strlen(key));
}

static void ExpectFlags(int line, const char* entry, const char* flags) {
  char want[100];
  snprintf(want, sizeof want, "\nVmFlags: %s\n", flags);
  if (strstr(entry, want) == NULL) {
    Fail(__FILE__, line, "not %s: %s", flags, strstr(entry, "VmFlags"));
  }
}

#define EXPECT_FLAGS(at, flags) ExpectFlags(__LINE__, EntryAt(at), flags)

// A page apart from its neighbours, so that the mappings do not merge.
static char* Map(int pages, int prot, int flags, int fd) {
  char* at = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(at != MAP_FAILED);
  EXPECT(mmap(at + PAGE, pages * PAGE, prot, flags | MAP_FIXED, fd, 0) == at + PAGE);
  return at + PAGE;
}

TEST(smaps_format) {
  char* at = Map(3, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  memset(at, 1, 3 * PAGE);
  Read("/proc/self/smaps");
  char want[2000];
  snprintf(want, sizeof want,
           "%lx-%lx rw-p 00000000 00:00 0 \n"
           "Size:                 12 kB\n"
           "KernelPageSize:        4 kB\n"
           "MMUPageSize:           4 kB\n"
           "Rss:                  12 kB\n"
           "Pss:                  12 kB\n"
           "Pss_Dirty:            12 kB\n"
           "Shared_Clean:          0 kB\n"
           "Shared_Dirty:          0 kB\n"
           "Private_Clean:         0 kB\n"
           "Private_Dirty:        12 kB\n"
           "Referenced:           12 kB\n"
           "Anonymous:            12 kB\n"
           "KSM:                   0 kB\n"
           "LazyFree:              0 kB\n"
           "AnonHugePages:         0 kB\n"
           "ShmemPmdMapped:        0 kB\n"
           "FilePmdMapped:         0 kB\n"
           "Shared_Hugetlb:        0 kB\n"
           "Private_Hugetlb:       0 kB\n"
           "Swap:                  0 kB\n"
           "SwapPss:               0 kB\n"
           "Locked:                0 kB\n"
           "THPeligible:           0\n"
           "VmFlags: rd wr mr mw me ac \n",
           (unsigned long)at, (unsigned long)at + 3 * PAGE);
  EXPECT_STR(EntryAt(at), want);
}

TEST(smaps_flags) {
  const int fd = open("f", O_RDWR | O_CREAT, 0600), reader = open("f", O_RDONLY);
  EXPECT_EQ(ftruncate(fd, 4 * PAGE), 0);
  const int rw = PROT_READ | PROT_WRITE, own = MAP_PRIVATE | MAP_ANONYMOUS;
  char* shared = Map(1, rw, MAP_SHARED | MAP_ANONYMOUS, -1);
  char* unreserved = Map(1, rw, own | MAP_NORESERVE, -1);
  char* file = Map(1, rw, MAP_SHARED, fd);
  char* read_only = Map(1, PROT_READ, MAP_SHARED, reader);
  char* could_write = Map(1, PROT_READ, MAP_SHARED, fd);
  char* code = Map(1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd);
  char* advised = Map(1, rw, own, -1);
  EXPECT_EQ(madvise(advised, PAGE, MADV_DONTFORK), 0);
  EXPECT_EQ(madvise(advised, PAGE, MADV_DONTDUMP), 0);
  EXPECT_EQ(madvise(advised, PAGE, MADV_WIPEONFORK), 0);
  char* relro = Map(1, rw, own, -1);
  *relro = 1;
  EXPECT_EQ(mprotect(relro, PAGE, PROT_READ), 0);
  Read("/proc/self/smaps");
  EXPECT_FLAGS(shared, "rd wr sh mr mw me ms ");
  EXPECT_FLAGS(unreserved, "rd wr mr mw me nr ");
  EXPECT_FLAGS(file, "rd wr sh mr mw me ms ");
  EXPECT_FLAGS(read_only, "rd mr me ms ");
  EXPECT_FLAGS(could_write, "rd sh mr mw me ms ");
  EXPECT_FLAGS(code, "rd ex mr mw me ");
  EXPECT_FLAGS(advised, "rd wr mr mw me dc ac wf dd ");
  EXPECT_FLAGS(relro, "rd mr mw me ac ");
}

TEST(smaps_counts_what_is_shared) {
  char* own = Map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* both = Map(4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
  memset(own, 1, 4 * PAGE);
  memset(both, 1, 4 * PAGE);
  int gate[2];
  EXPECT_EQ(pipe(gate), 0);
  const pid_t child = FORK();
  if (child == 0) {
    char c;
    close(gate[1]);
    own[0] = 2;  // a copy of its own
    both[0] = 2;
    read(gate[0], &c, 1);
    _exit(0);
  }
  EVENTUALLY(both[0] == 2);
  Read("/proc/self/smaps");
  EXPECT_EQ(Kb(EntryAt(own), "Rss"), 16);
  EXPECT(Kb(EntryAt(own), "Shared_Dirty") <= 12);
  EXPECT_EQ(Kb(EntryAt(own), "Shared_Dirty") + Kb(EntryAt(own), "Private_Dirty"), 16);
  EXPECT_EQ(Kb(EntryAt(own), "Anonymous"), 16);
  EXPECT(Kb(EntryAt(own), "Pss") >= 10 && Kb(EntryAt(own), "Pss") <= 16);
  EXPECT_EQ(Kb(EntryAt(both), "Rss"), 16);
  EXPECT(Kb(EntryAt(both), "Shared_Dirty") >= 4);
  EXPECT_EQ(Kb(EntryAt(both), "Anonymous"), 0);
  close(gate[1]);
  EXPECT_EXIT(child, 0);
  Read("/proc/self/smaps");
  EXPECT_EQ(Kb(EntryAt(own), "Private_Dirty"), 16);
  EXPECT_EQ(Kb(EntryAt(own), "Pss"), 16);
  EXPECT_EQ(Kb(EntryAt(both), "Private_Dirty"), 16);
  EXPECT_EQ(Kb(EntryAt(both), "Pss"), 16);
}

TEST(smaps_of_a_file) {
  char pages[4 * PAGE];
  memset(pages, 1, sizeof pages);
  const int fd = open("f", O_RDWR | O_CREAT, 0600);
  EXPECT_EQ(write(fd, pages, sizeof pages), sizeof pages);
  char* at = Map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  EXPECT_EQ(at[PAGE], 1);
  Read("/proc/self/smaps");
  EXPECT(Kb(EntryAt(at), "Rss") >= 4);
  EXPECT_EQ(Kb(EntryAt(at), "Anonymous"), 0);
  at[PAGE] = 2;
  Read("/proc/self/smaps");
  EXPECT(Kb(EntryAt(at), "Anonymous") >= 4);
}

TEST(smaps_rollup) {
  char* at = Map(100, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  Read("/proc/self/smaps_rollup");
  const long rss = Kb(text, "Rss"), anonymous = Kb(text, "Pss_Anon");
  memset(at, 1, 100 * PAGE);
  Read("/proc/self/smaps_rollup");
  EXPECT(strstr(text, " ---p 00000000 00:00 0      ") != NULL);
  EXPECT_EQ(strstr(text, "[rollup]\nRss:  ") - text, 73);
  EXPECT(Kb(text, "Rss") >= rss + 400 && Kb(text, "Rss") < rss + 800);
  EXPECT(Kb(text, "Pss_Anon") >= anonymous + 400);
  EXPECT(labs(Kb(text, "Pss") - Kb(text, "Pss_Anon") - Kb(text, "Pss_File") -
              Kb(text, "Pss_Shmem")) <= 2);
  EXPECT_EQ(Kb(text, "Shared_Clean") + Kb(text, "Shared_Dirty") + Kb(text, "Private_Clean") +
                Kb(text, "Private_Dirty"),
            Kb(text, "Rss"));
  static const char* const kLines[] = {"Rss",
                                       "Pss",
                                       "Pss_Dirty",
                                       "Pss_Anon",
                                       "Pss_File",
                                       "Pss_Shmem",
                                       "Shared_Clean",
                                       "Shared_Dirty",
                                       "Private_Clean",
                                       "Private_Dirty",
                                       "Referenced",
                                       "Anonymous",
                                       "KSM",
                                       "LazyFree",
                                       "AnonHugePages",
                                       "ShmemPmdMapped",
                                       "FilePmdMapped",
                                       "Shared_Hugetlb",
                                       "Private_Hugetlb",
                                       "Swap",
                                       "SwapPss",
                                       "Locked"};
  const char* line = strchr(text, '\n') + 1;
  for (size_t i = 0; i < sizeof kLines / sizeof *kLines; i++, line = strchr(line, '\n') + 1) {
    EXPECT(strncmp(line, kLines[i], strlen(kLines[i])) == 0);
    EXPECT_EQ(strchr(line, '\n') - line, 27);
  }
  EXPECT_EQ(*line, 0);
}

// What a whole process has, by another way.
TEST(status_tells_anonymous_from_file_memory) {
  char* at = Map(100, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  memset(at, 1, 100 * PAGE);
  char* shared = Map(50, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
  memset(shared, 1, 50 * PAGE);
  Read("/proc/self/status");
  EXPECT(Kb(text, "RssAnon") >= 400);
  EXPECT(Kb(text, "RssShmem") >= 200 && Kb(text, "RssShmem") < 1000);
  EXPECT(Kb(text, "RssFile") > 0);
  EXPECT(Kb(text, "VmExe") > 0);
}

TEST(threads_have_the_same_files) {
  char path[80];
  static const char* const kFiles[] = {"smaps",     "smaps_rollup", "cgroup",        "wchan", "io",
                                       "oom_score", "numa_maps",    "oom_score_adj", "limits"};
  for (size_t i = 0; i < sizeof kFiles / sizeof *kFiles; i++) {
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", getpid(), kFiles[i]);
    EXPECT(*Read(path) != 0);
    struct stat s;
    EXPECT_EQ(stat(path, &s), 0);
    EXPECT_EQ(s.st_mode, strcmp(kFiles[i], "io") == 0              ? S_IFREG | 0400u
                         : strcmp(kFiles[i], "oom_score_adj") == 0 ? S_IFREG | 0644u
                                                                   : S_IFREG | 0444u);
  }
}

static long IoField(const char* name) {
  Read("/proc/self/io");
  char key[40];
  snprintf(key, sizeof key, "%s: ", name);
  const char* at = strstr(text, key);
  EXPECT(at != NULL);
  return atol(at + strlen(key));
}

TEST(io) {
  static const char* const kLines[] = {"rchar: ",
                                       "\nwchar: ",
                                       "\nsyscr: ",
                                       "\nsyscw: ",
                                       "\nread_bytes: ",
                                       "\nwrite_bytes: ",
                                       "\ncancelled_write_bytes: "};
  const char* at = Read("/proc/self/io");
  EXPECT(strncmp(at, "rchar: ", 7) == 0);
  for (size_t i = 0; i < sizeof kLines / sizeof *kLines; i++) {
    at = strstr(at, kLines[i]);
    EXPECT(at != NULL);
  }
  const int fd = open("/dev/zero", O_RDONLY), out = open("f", O_WRONLY | O_CREAT, 0600);
  static char bytes[100000];
  const long wrote = IoField("wchar"), writes = IoField("syscw");
  EXPECT_EQ(write(out, bytes, 12345), 12345);
  EXPECT_EQ(pwrite(out, bytes, 5, 100), 5);
  EXPECT_EQ(IoField("wchar"), wrote + 12350);
  EXPECT_EQ(IoField("syscw"), writes + 2);
  const long got = IoField("rchar"), calls = IoField("syscr");
  const long own = IoField("rchar") - got;  // of one look
  EXPECT_EQ(read(fd, bytes, sizeof bytes), sizeof bytes);
  const long after = IoField("rchar");
  EXPECT(after >= got + 100000 + own && after <= got + 100000 + 4 * own + 100);
  EXPECT(IoField("syscr") > calls);
}

// A child's use is its parent's once it has been waited for.
TEST(io_of_children) {
  const long before = IoField("wchar");
  IN_CHILD({
    static char bytes[50000];
    const int out = open("f", O_WRONLY | O_CREAT, 0600);
    EXPECT_EQ(write(out, bytes, sizeof bytes), sizeof bytes);
  });
  EXPECT(IoField("wchar") >= before + 50000);
}

TEST(io_and_maps_of_others_are_closed) {
  static const char* const kClosed[] = {"maps", "smaps", "smaps_rollup", "numa_maps",
                                        "io",   "auxv",  "personality"};
  char path[60];
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  IN_CHILD({
    EXPECT(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
    for (size_t i = 0; i < sizeof kClosed / sizeof *kClosed; i++) {
      snprintf(path, sizeof path, "/proc/%d/%s", child, kClosed[i]);
      EXPECT_ERRNO(open(path, O_RDONLY), EACCES);
    }
    snprintf(path, sizeof path, "/proc/%d/wchan", child);
    EXPECT_STR(Read(path), "0");
    snprintf(path, sizeof path, "/proc/%d/cgroup", child);
    EXPECT(strstr(Read(path), "0::/") != NULL);
  });
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}

TEST(wchan) {
  EXPECT_STR(Read("/proc/self/wchan"), "0");
  char path[60];
  const pid_t child = FORK();
  if (child == 0) {
    for (;;) pause();
  }
  snprintf(path, sizeof path, "/proc/%d/wchan", child);
  EVENTUALLY(strcmp(Read(path), "0") != 0);
  EXPECT(strchr(text, '\n') == NULL);
  EXPECT(strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789") == strlen(text));
  kill(child, SIGKILL);
  EXPECT_KILLED(child, SIGKILL);
}

static int WriteTo(const char* path, const char* what) {
  const int fd = open(path, O_WRONLY);
  if (fd < 0) return -1;
  const int n = write(fd, what, strlen(what)), error = errno;
  close(fd);
  errno = error;
  return n;
}

TEST(oom_score) {
  OK(WriteTo("/proc/self/oom_score_adj", "0"));
  const int plain = atoi(Read("/proc/self/oom_score"));
  EXPECT(plain >= 666 && plain <= 1333);
  OK(WriteTo("/proc/self/oom_score_adj", "500\n"));
  EXPECT_STR(Read("/proc/self/oom_score_adj"), "500\n");
  const int more = atoi(Read("/proc/self/oom_score"));
  EXPECT(more >= plain + 330 && more <= plain + 336);
  IN_CHILD({ EXPECT_STR(Read("/proc/self/oom_score_adj"), "500\n"); });
  EXPECT_ERRNO(WriteTo("/proc/self/oom_score_adj", "1001"), EINVAL);
  EXPECT_ERRNO(WriteTo("/proc/self/oom_score_adj", "-1001"), EINVAL);
  EXPECT_ERRNO(WriteTo("/proc/self/oom_score_adj", "many"), EINVAL);
}

// Who may not go below what the privileged have set may still go back to it.
TEST(oom_score_adj_without_rights) {
  OK(WriteTo("/proc/self/oom_score_adj", "0"));
  IN_CHILD({
    EXPECT(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
    EXPECT_EQ(prctl(PR_SET_DUMPABLE, 1), 0);  // or the file would be root's
    OK(WriteTo("/proc/self/oom_score_adj", "300"));
    OK(WriteTo("/proc/self/oom_score_adj", "100"));
    EXPECT_ERRNO(WriteTo("/proc/self/oom_score_adj", "-1"), EACCES);
  });
}

TEST(oom_adj_is_the_old_scale) {
  OK(WriteTo("/proc/self/oom_adj", "8"));
  EXPECT_STR(Read("/proc/self/oom_score_adj"), "470\n");
  EXPECT_STR(Read("/proc/self/oom_adj"), "7\n");
  OK(WriteTo("/proc/self/oom_adj", "15"));
  EXPECT_STR(Read("/proc/self/oom_score_adj"), "1000\n");
  EXPECT_STR(Read("/proc/self/oom_adj"), "15\n");
  EXPECT_ERRNO(WriteTo("/proc/self/oom_adj", "16"), EINVAL);
}
