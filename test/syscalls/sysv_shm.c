// System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).
#include <grp.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "check.h"

enum { PAGE = 4096 };

// Segments outlive processes: the case's own process removes what its body has made, however that
// ends.
typedef struct {
  int count, ids[32];
} Made;
static Made* made;

static void RunAndRemove(void (*body)(void)) {
  made = Shared(sizeof *made);
  const pid_t child = FORK();
  if (child == 0) {
    body();
    _exit(0);
  }
  const int status = WAIT_STATUS(child);
  for (int i = 0; i < made->count; i++) shmctl(made->ids[i], IPC_RMID, NULL);
  EXPECT_EQ(status, 0);
}

#define SEGMENT_TEST(name)                  \
  static void Body_##name(void);            \
  TEST(name) { RunAndRemove(Body_##name); } \
  static void Body_##name(void)

static int Get(key_t key, size_t size, int flags) {
  const int id = shmget(key, size, flags);
  if (id >= 0 && (flags & IPC_CREAT) != 0) made->ids[made->count++] = id;
  return id;
}

static int New(size_t size) { return (int)OK(Get(IPC_PRIVATE, size, IPC_CREAT | 0600)); }

static struct shmid_ds Stat(int id) {
  struct shmid_ds s;
  OK(shmctl(id, IPC_STAT, &s));
  return s;
}

static char* Attach(int id, int flags) {
  char* at = shmat(id, NULL, flags);
  EXPECT(at != (void*)-1);
  return at;
}

static key_t Key(void) { return 0x52460000 + (getpid() & 0xffff); }

SEGMENT_TEST(shared_by_processes) {
  const int id = New(3 * PAGE + 100);
  char* at = Attach(id, 0);
  EXPECT_EQ(at[0], 0);
  at[0] = 1;
  IN_CHILD({
    EXPECT_EQ(at[0], 1);  // inherited
    char* other = Attach(id, 0);
    EXPECT(other != at);
    other[3 * PAGE + 100] = 7;  // the rest of the page is there too
    EXPECT_EQ(at[3 * PAGE + 100], 7);
    EXPECT_EQ(Stat(id).shm_nattch, 3);
  });
  EXPECT_EQ(at[3 * PAGE + 100], 7);
  EXPECT_EQ(Stat(id).shm_nattch, 1);
  OK(shmdt(at));
  EXPECT_EQ(Stat(id).shm_nattch, 0);
  OK(shmctl(id, IPC_RMID, NULL));
  EXPECT_ERRNO(shmctl(id, IPC_STAT, &(struct shmid_ds){0}), EINVAL);
}

SEGMENT_TEST(stat_tells_what_happened) {
  const int id = New(5000);
  struct shmid_ds s = Stat(id);
  EXPECT_EQ(s.shm_segsz, 5000);
  EXPECT_EQ(s.shm_perm.mode, 0600);
  EXPECT_EQ(s.shm_perm.uid, 0);
  EXPECT_EQ(s.shm_perm.cuid, 0);
  EXPECT_EQ(s.shm_perm.__key, IPC_PRIVATE);
  EXPECT_EQ(s.shm_cpid, getpid());
  EXPECT_EQ(s.shm_lpid, 0);
  EXPECT(s.shm_atime == 0 && s.shm_dtime == 0);
  EXPECT(s.shm_ctime >= time(NULL) - 5 && s.shm_ctime <= time(NULL) + 1);
  char* at = Attach(id, 0);
  s = Stat(id);
  EXPECT_EQ(s.shm_lpid, getpid());
  EXPECT(s.shm_atime >= time(NULL) - 5);
  EXPECT_EQ(s.shm_dtime, 0);
  OK(shmdt(at));
  EXPECT(Stat(id).shm_dtime >= time(NULL) - 5);
}

SEGMENT_TEST(keys) {
  const key_t key = Key();
  EXPECT_ERRNO(Get(key, 100, 0600), ENOENT);
  const int id = (int)OK(Get(key, 100, IPC_CREAT | 0600));
  EXPECT_EQ(shmget(key, 100, 0), id);
  EXPECT_EQ(shmget(key, 50, IPC_CREAT | 0600), id);
  EXPECT_EQ(shmget(key, 0, 0), id);
  EXPECT_ERRNO(shmget(key, 101, 0), EINVAL);
  EXPECT_ERRNO(shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
  EXPECT_EQ(Stat(id).shm_perm.__key, key);
  OK(shmctl(id, IPC_RMID, NULL));
  EXPECT_ERRNO(shmget(key, 100, 0600), ENOENT);
  EXPECT(OK(Get(key, 200, IPC_CREAT | 0600)) != id);  // a number is not used again soon
}

SEGMENT_TEST(get_errors) {
  EXPECT_ERRNO(Get(IPC_PRIVATE, 0, IPC_CREAT | 0600), EINVAL);
  EXPECT_ERRNO(Get(IPC_PRIVATE, ~0ul, IPC_CREAT | 0600), EINVAL);
}

SEGMENT_TEST(removed_segments_live_while_attached) {
  const key_t key = Key();
  const int id = (int)OK(Get(key, PAGE, IPC_CREAT | 0600));
  char* at = Attach(id, 0);
  at[5] = 5;
  OK(shmctl(id, IPC_RMID, NULL));
  const struct shmid_ds s = Stat(id);
  EXPECT_EQ(s.shm_perm.mode, SHM_DEST | 0600);
  EXPECT_EQ(s.shm_perm.__key, IPC_PRIVATE);
  EXPECT_ERRNO(shmget(key, 0, 0), ENOENT);
  char* again = Attach(id, 0);  // Linux allows it
  EXPECT_EQ(again[5], 5);
  OK(shmdt(again));
  OK(shmdt(at));
  EXPECT_ERRNO(shmctl(id, IPC_STAT, &(struct shmid_ds){0}), EINVAL);
}

SEGMENT_TEST(exit_and_exec_detach) {
  const int id = New(PAGE);
  const pid_t child = FORK();
  if (child == 0) {
    Attach(id, 0);
    OK(shmctl(id, IPC_RMID, NULL));
    _exit(0);
  }
  EXPECT_EXIT(child, 0);
  EXPECT_ERRNO(shmctl(id, IPC_STAT, &(struct shmid_ds){0}), EINVAL);
}

SEGMENT_TEST(addresses) {
  const int id = New(2 * PAGE);
  char* free_place = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ((long)shmat(id, free_place, 0), -1);  // something is there
  EXPECT_EQ(errno, EINVAL);
  EXPECT(shmat(id, free_place, SHM_REMAP) == free_place);
  OK(shmdt(free_place));
  EXPECT_EQ(munmap(free_place + 2 * PAGE, 2 * PAGE), 0);
  EXPECT_EQ((long)shmat(id, free_place + 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT(shmat(id, free_place + 1, SHM_RND) == free_place);
  EXPECT_EQ((long)shmat(id, NULL, SHM_REMAP), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_ERRNO(shmdt(free_place + 1), EINVAL);
  EXPECT_ERRNO(shmdt(free_place + PAGE), EINVAL);  // not where it begins
  OK(shmdt(free_place));
  EXPECT_ERRNO(shmdt(free_place), EINVAL);
  EXPECT_ERRNO((long)shmat(-1, NULL, 0), EINVAL);
  EXPECT_ERRNO((long)shmat(id + 1000, NULL, 0), EINVAL);
}

SEGMENT_TEST(detach_of_what_is_left) {
  const int id = New(4 * PAGE);
  char* at = Attach(id, 0);
  EXPECT_EQ(munmap(at + PAGE, PAGE), 0);
  EXPECT_EQ(Stat(id).shm_nattch, 2);
  OK(shmdt(at));
  EXPECT_EQ(Stat(id).shm_nattch, 0);
}

SEGMENT_TEST(read_only) {
  const int id = New(PAGE);
  char* at = Attach(id, SHM_RDONLY);
  EXPECT_EQ(at[0], 0);
  EXPECT_ERRNO(mprotect(at, PAGE, PROT_READ | PROT_WRITE), EACCES);
  const pid_t child = FORK();
  if (child == 0) {
    at[0] = 1;
    _exit(0);
  }
  EXPECT_KILLED(child, SIGSEGV);
}

SEGMENT_TEST(permissions) {
  const key_t key = Key();
  const int id = (int)OK(Get(key, PAGE, IPC_CREAT | 0640));
  IN_CHILD({
    EXPECT(setgroups(0, NULL) == 0);
    EXPECT(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
    EXPECT_EQ((long)shmat(id, NULL, SHM_RDONLY), -1);
    EXPECT_EQ(errno, EACCES);
    EXPECT_ERRNO(shmctl(id, IPC_STAT, &(struct shmid_ds){0}), EACCES);
    EXPECT_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
    EXPECT_ERRNO(shmget(key, PAGE, 0400), EACCES);
    EXPECT_EQ(shmget(key, PAGE, 0), id);
  });
  struct shmid_ds s = Stat(id);
  s.shm_perm.gid = 1000;
  s.shm_perm.mode = 0660;
  OK(shmctl(id, IPC_SET, &s));
  EXPECT_EQ(Stat(id).shm_perm.mode, 0660);
  EXPECT_EQ(Stat(id).shm_perm.gid, 1000);
  EXPECT_EQ(Stat(id).shm_perm.cgid, 0);
  IN_CHILD({
    EXPECT(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
    EXPECT(shmat(id, NULL, 0) != (void*)-1);
    EXPECT_ERRNO(shmctl(id, IPC_SET, &s), EPERM);
  });
}

SEGMENT_TEST(system_wide) {
  struct shminfo limits;
  OK(shmctl(0, IPC_INFO, (struct shmid_ds*)&limits));
  EXPECT(limits.shmmin == 1 && limits.shmmax >= 1 << 30 && limits.shmmni >= 100);
  const int id = New(3 * PAGE);
  char* at = Attach(id, 0);
  at[PAGE] = 1;
  struct shm_info info;
  const int last = (int)OK(shmctl(0, SHM_INFO, (struct shmid_ds*)&info));
  EXPECT(info.used_ids >= 1 && info.shm_tot >= 3 && info.shm_rss >= 1);
  int found = 0;
  for (int i = 0; i <= last; i++) {
    struct shmid_ds s;
    const int at_index = shmctl(i, SHM_STAT, &s);
    found += at_index == id && s.shm_segsz == 3 * PAGE;
  }
  EXPECT_EQ(found, 1);
  EXPECT_ERRNO(shmctl(id, 99, NULL), EINVAL);
  EXPECT_ERRNO(shmctl(-1, IPC_STAT, NULL), EINVAL);
  EXPECT_ERRNO(shmctl(id, IPC_STAT, BAD_POINTER), EFAULT);
}

SEGMENT_TEST(shown_in_maps) {
  static char text[100000];
  char want[60];
  const int id = (int)OK(Get(Key(), PAGE, IPC_CREAT | 0600));
  char* at = Attach(id, 0);
  EXPECT(ReadFile("/proc/self/maps", text, sizeof text));
  snprintf(want, sizeof want, "%lx-%lx rw-s 00000000 ", (long)at, (long)at + PAGE);
  const char* line = strstr(text, want);
  EXPECT(line != NULL);
  *strchr(line, '\n') = 0;
  snprintf(want, sizeof want, " %d ", id);
  EXPECT(strstr(line, want) != NULL);
  snprintf(want, sizeof want, " /SYSV%08x (deleted)", Key());
  EXPECT_STR(line + strlen(line) - strlen(want), want);
}

SEGMENT_TEST(locked_in_memory) {
  const int id = New(PAGE);
  OK(shmctl(id, SHM_LOCK, NULL));
  EXPECT_EQ(Stat(id).shm_perm.mode, SHM_LOCKED | 0600);
  OK(shmctl(id, SHM_UNLOCK, NULL));
  EXPECT_EQ(Stat(id).shm_perm.mode, 0600);
}

// proc(5): what IPC_STAT says, and how much of it is there.
SEGMENT_TEST(proc_lists_segments) {
  const int id = (int)OK(Get(Key(), 5 * PAGE + 1, IPC_CREAT | 0640));
  Attach(id, 0)[PAGE] = 1;
  const struct shmid_ds s = Stat(id);
  char wanted[400], line[400], header[400] = "";
  snprintf(wanted, sizeof wanted,
           "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10lu %10lu %10lu ",
           s.shm_perm.__key, id, s.shm_perm.mode, s.shm_segsz, s.shm_cpid, s.shm_lpid, s.shm_nattch,
           s.shm_perm.uid, s.shm_perm.gid, s.shm_perm.cuid, s.shm_perm.cgid, s.shm_atime,
           s.shm_dtime, s.shm_ctime);
  FILE* file = fopen("/proc/sysvipc/shm", "r");
  EXPECT(file != NULL);
  EXPECT(fgets(header, sizeof header, file) != NULL);
  EXPECT_STR(
      header,
      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  "
      "cgid      atime      dtime      ctime                   rss                  swap\n");
  int found = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, wanted, strlen(wanted)) != 0) continue;
    found++;
    EXPECT_EQ(strlen(line), strlen(header));
    unsigned long rss = 0, swap = 1;
    EXPECT_EQ(sscanf(line + strlen(wanted), "%lu %lu", &rss, &swap), 2);
    EXPECT(rss >= PAGE && swap == 0);
  }
  EXPECT_EQ(found, 1);
  fclose(file);
}
