// Calls whose newer forms the C library makes in their place: made here by number.
#include <dirent.h>
#include <fcntl.h>
#include <sys/time.h>
#include <utime.h>

#include "check.h"

static struct stat Stat(const char* path) {
  struct stat s;
  EXPECT(fstatat(AT_FDCWD, path, &s, AT_SYMLINK_NOFOLLOW) == 0);
  return s;
}

static int Directory(const char* path) {
  EXPECT(mkdir(path, 0755) == 0);
  return (int)OK(open(path, O_RDONLY | O_DIRECTORY));
}

TEST(stat_and_lstat) {
  struct stat s;
  WriteFile("file", "12345");
  EXPECT(symlink("file", "link") == 0 && symlink("nothing", "dangling") == 0);
  EXPECT(syscall(SYS_stat, "link", &s) == 0);
  EXPECT(S_ISREG(s.st_mode));
  EXPECT_EQ(s.st_size, 5);
  EXPECT(syscall(SYS_lstat, "link", &s) == 0);
  EXPECT(S_ISLNK(s.st_mode));
  EXPECT_EQ(s.st_size, 4);
  EXPECT(syscall(SYS_lstat, "dangling", &s) == 0);
  EXPECT_ERRNO(syscall(SYS_stat, "dangling", &s), ENOENT);
  EXPECT_ERRNO(syscall(SYS_lstat, "", &s), ENOENT);
  EXPECT_ERRNO(syscall(SYS_lstat, "file/x", &s), ENOTDIR);
  EXPECT_ERRNO(syscall(SYS_lstat, BAD_POINTER, &s), EFAULT);
  EXPECT_ERRNO(syscall(SYS_lstat, "file", BAD_POINTER), EFAULT);
}

TEST(pipe) {
  int ends[2];
  EXPECT(syscall(SYS_pipe, ends) == 0);
  EXPECT_EQ(ends[1], ends[0] + 1);
  EXPECT_EQ(write(ends[1], "abc", 3), 3);
  char buffer[8] = "";
  EXPECT_EQ(read(ends[0], buffer, sizeof buffer), 3);
  EXPECT_STR(buffer, "abc");
  EXPECT_EQ(fcntl(ends[0], F_GETFD) | fcntl(ends[1], F_GETFD), 0);
  EXPECT_EQ(fcntl(ends[0], F_GETFL), O_RDONLY);
  EXPECT_EQ(fcntl(ends[1], F_GETFL), O_WRONLY);
  EXPECT_ERRNO(syscall(SYS_pipe, BAD_POINTER), EFAULT);
  // The descriptors of the failed call are free again.
  EXPECT_EQ(dup(ends[0]), ends[1] + 1);
}

TEST(fork) {
  volatile int local = 1;
  const pid_t parent = getpid();
  const long pid = syscall(SYS_fork);
  if (pid == 0) {
    local = 2;
    _exit(getppid() == parent && syscall(SYS_getpid) != parent ? 7 : 8);
  }
  EXPECT(pid > 0);
  EXPECT_EXIT(pid, 7);
  EXPECT_EQ(local, 1);
}

typedef struct {
  unsigned long ino, offset;
  unsigned short length;
  char name[];
} OldEntry;

TEST(getdents) {
  const int fd = Directory("d");
  EXPECT(mkdirat(fd, "dir", 0755) == 0 && symlinkat("x", fd, "link") == 0);
  WriteFile("d/file", "");
  char buffer[512];
  int types[256] = {0}, entries = 0;
  const long n = OK(syscall(SYS_getdents, fd, buffer, sizeof buffer));
  for (long at = 0; at < n; at += ((OldEntry*)(buffer + at))->length) {
    const OldEntry* entry = (OldEntry*)(buffer + at);
    EXPECT_EQ(entry->length % 8, 0);
    EXPECT(entry->ino != 0);
    types[(unsigned char)buffer[at + entry->length - 1]]++;  // the type is in the last byte
    entries++;
  }
  EXPECT_EQ(entries, 5);
  EXPECT(types[DT_DIR] == 3 && types[DT_LNK] == 1 && types[DT_REG] == 1);
  EXPECT_EQ(syscall(SYS_getdents, fd, buffer, sizeof buffer), 0);
  EXPECT(lseek(fd, 0, SEEK_SET) == 0);
  EXPECT_ERRNO(syscall(SYS_getdents, fd, buffer, 8), EINVAL);
  EXPECT_ERRNO(syscall(SYS_getdents, fd, BAD_POINTER, 512), EFAULT);
  EXPECT_ERRNO(syscall(SYS_getdents, open("d/file", O_RDONLY), buffer, 512), ENOTDIR);
  EXPECT_ERRNO(syscall(SYS_getdents, 999, buffer, 512), EBADF);
}

TEST(creat) {
  WriteFile("old", "text");
  const int old = OK(syscall(SYS_creat, "old", 0777));
  EXPECT_EQ(Stat("old").st_size, 0);
  EXPECT_EQ(Stat("old").st_mode & 07777, 0644);  // as it was
  EXPECT_EQ(fcntl(old, F_GETFL) & O_ACCMODE, O_WRONLY);
  char byte;
  EXPECT_ERRNO(read(old, &byte, 1), EBADF);
  OK(syscall(SYS_creat, "new", 04777));
  EXPECT_EQ(Stat("new").st_mode & 07777, 04755);
  EXPECT_ERRNO(syscall(SYS_creat, ".", 0600), EISDIR);
  EXPECT_ERRNO(syscall(SYS_creat, "no/where", 0600), ENOENT);
  EXPECT_ERRNO(syscall(SYS_creat, BAD_POINTER, 0600), EFAULT);
}

TEST(fchown) {
  WriteFile("file", "");
  const int fd = open("file", O_RDONLY);
  EXPECT(chmod("file", 06755) == 0);
  EXPECT(fchown(fd, 11, 22) == 0);
  EXPECT_EQ(Stat("file").st_uid, 11);
  EXPECT_EQ(Stat("file").st_gid, 22);
  EXPECT_EQ(Stat("file").st_mode & 07777, 0755);
  EXPECT(fchown(fd, -1, 33) == 0 && fchown(fd, 44, -1) == 0);
  EXPECT_EQ(Stat("file").st_uid, 44);
  EXPECT_EQ(Stat("file").st_gid, 33);
  EXPECT_ERRNO(fchown(open("file", O_PATH), 1, 1), EBADF);
  EXPECT_ERRNO(fchown(999, 1, 1), EBADF);
  IN_CHILD({
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_ERRNO(fchown(fd, 1234, -1), EPERM);
  });
}

TEST(utime_and_utimes) {
  WriteFile("file", "");
  EXPECT(symlink("file", "link") == 0);
  const struct utimbuf seconds = {1000, 2000};
  EXPECT(syscall(SYS_utime, "link", &seconds) == 0);
  EXPECT_EQ(Stat("file").st_atim.tv_sec, 1000);
  EXPECT_EQ(Stat("file").st_mtim.tv_sec, 2000);
  EXPECT_EQ(Stat("file").st_mtim.tv_nsec, 0);
  const struct timeval times[2] = {{3000, 123456}, {4000, 999999}};
  EXPECT(syscall(SYS_utimes, "link", times) == 0);
  EXPECT_EQ(Stat("file").st_atim.tv_sec, 3000);
  EXPECT_EQ(Stat("file").st_atim.tv_nsec, 123456000);
  EXPECT_EQ(Stat("file").st_mtim.tv_nsec, 999999000);
  EXPECT(Stat("link").st_mtim.tv_sec > 1000000);
  const struct timeval bad[2] = {{1, 0}, {1, 1000000}};
  EXPECT_ERRNO(syscall(SYS_utimes, "file", bad), EINVAL);
  EXPECT_ERRNO(syscall(SYS_utimes, "nothing", times), ENOENT);
  EXPECT_ERRNO(syscall(SYS_utimes, "file", BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_utime, "file", BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_utime, "nothing", NULL), ENOENT);
  EXPECT(syscall(SYS_utime, "file", NULL) == 0);
  EXPECT(labs(Stat("file").st_mtim.tv_sec - time(NULL)) < 60);
  EXPECT(syscall(SYS_utimes, "file", times) == 0 && syscall(SYS_utimes, "file", NULL) == 0);
  EXPECT(labs(Stat("file").st_atim.tv_sec - time(NULL)) < 60);
}

TEST(utime_by_others) {
  WriteFile("file", "");
  EXPECT(chmod("file", 0666) == 0 && chmod(".", 0777) == 0);
  IN_CHILD({
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    const struct utimbuf seconds = {1000, 2000};
    EXPECT(syscall(SYS_utime, "file", NULL) == 0);  // whoever may write
    EXPECT_ERRNO(syscall(SYS_utime, "file", &seconds), EPERM);
  });
  EXPECT(chmod("file", 0644) == 0);
  IN_CHILD({
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_ERRNO(syscall(SYS_utime, "file", NULL), EACCES);
  });
}

TEST(futimesat) {
  const int dir = Directory("d");
  WriteFile("d/file", "");
  const struct timeval times[2] = {{10, 1}, {20, 2}};
  EXPECT(syscall(SYS_futimesat, dir, "file", times) == 0);
  EXPECT_EQ(Stat("d/file").st_atim.tv_sec, 10);
  EXPECT_EQ(Stat("d/file").st_mtim.tv_nsec, 2000);
  EXPECT(syscall(SYS_futimesat, dir, NULL, times) == 0);  // the descriptor itself
  EXPECT_EQ(Stat("d").st_mtim.tv_sec, 20);
  EXPECT_ERRNO(syscall(SYS_futimesat, dir, "nothing", times), ENOENT);
  EXPECT_ERRNO(syscall(SYS_futimesat, 999, "file", times), EBADF);
  EXPECT_ERRNO(syscall(SYS_futimesat, open("d/file", O_RDONLY), "x", times), ENOTDIR);
  const struct timeval bad[2] = {{1, -1}, {1, 0}};
  EXPECT_ERRNO(syscall(SYS_futimesat, dir, "file", bad), EINVAL);
}

TEST(mknod) {
  EXPECT(syscall(SYS_mknod, "fifo", S_IFIFO | 0666, 0) == 0);
  EXPECT(S_ISFIFO(Stat("fifo").st_mode));
  EXPECT_EQ(Stat("fifo").st_mode & 0777, 0644);
  const int fd = OK(open("fifo", O_RDWR));
  char byte = 0;
  EXPECT_EQ(write(fd, "x", 1), 1);
  EXPECT_EQ(read(fd, &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT(syscall(SYS_mknod, "plain", 0600, 0) == 0);
  EXPECT(S_ISREG(Stat("plain").st_mode));
  EXPECT_ERRNO(syscall(SYS_mknod, "fifo", S_IFIFO, 0), EEXIST);
  EXPECT_ERRNO(syscall(SYS_mknod, "d", S_IFDIR | 0600, 0), EPERM);
  EXPECT_ERRNO(syscall(SYS_mknod, "x", S_IFLNK | 0600, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_mknod, "x/y", S_IFREG, 0), ENOENT);
}

TEST(mkdirat) {
  const int dir = Directory("d");
  EXPECT(mkdirat(dir, "e", 0777) == 0);
  EXPECT_EQ(Stat("d/e").st_mode & 07777, 0755);
  EXPECT(mkdirat(dir, "s", 03700) == 0);
  EXPECT_EQ(Stat("d/s").st_mode & 07777, 01700);  // the group bit is not the caller's to set
  EXPECT_EQ(Stat("d").st_nlink, 4);
  EXPECT(mkdirat(dir, "f///", 0700) == 0);
  EXPECT_ERRNO(mkdirat(dir, "e", 0777), EEXIST);
  EXPECT_ERRNO(mkdirat(dir, ".", 0777), EEXIST);
  EXPECT_ERRNO(mkdirat(dir, "x/y", 0777), ENOENT);
  EXPECT_ERRNO(mkdirat(999, "x", 0777), EBADF);
  WriteFile("file", "");
  EXPECT_ERRNO(mkdirat(open("file", O_RDONLY), "x", 0777), ENOTDIR);
  EXPECT_ERRNO(mkdirat(999, "/", 0777), EEXIST);  // an absolute path needs no descriptor
}

TEST(renameat) {
  const int from = Directory("from"), to = Directory("to");
  WriteFile("from/file", "new");
  WriteFile("to/other", "old");
  EXPECT(syscall(SYS_renameat, from, "file", to, "other") == 0);
  char text[8] = "";
  EXPECT(ReadFile("to/other", text, sizeof text));
  EXPECT_STR(text, "new");
  EXPECT_ERRNO(syscall(SYS_renameat, from, "file", to, "x"), ENOENT);
  EXPECT_ERRNO(syscall(SYS_renameat, to, "other", 999, "x"), EBADF);
  EXPECT_ERRNO(syscall(SYS_renameat, to, "other", from, "."), EBUSY);
  EXPECT_ERRNO(syscall(SYS_renameat, AT_FDCWD, "from", to, "other"), ENOTDIR);
  EXPECT_ERRNO(syscall(SYS_renameat, AT_FDCWD, "from", from, "x"), EINVAL);
}

TEST(symlinkat) {
  const int dir = Directory("d");
  EXPECT(symlinkat("../anything", dir, "link") == 0);
  char text[32] = "";
  EXPECT_EQ(readlinkat(dir, "link", text, sizeof text), 11);
  EXPECT_STR(text, "../anything");
  EXPECT_EQ(Stat("d/link").st_mode, S_IFLNK | 0777);
  EXPECT_ERRNO(symlinkat("x", dir, "link"), EEXIST);
  EXPECT_ERRNO(symlinkat("", dir, "empty"), ENOENT);
  EXPECT_ERRNO(symlinkat("x", 999, "y"), EBADF);
  EXPECT_ERRNO(symlinkat("x", dir, "nothing/y"), ENOENT);
}

TEST(fchmodat) {
  const int dir = Directory("d");
  WriteFile("d/file", "");
  EXPECT(symlinkat("file", dir, "link") == 0);
  EXPECT(syscall(SYS_fchmodat, dir, "link", 07601) == 0);  // follows
  EXPECT_EQ(Stat("d/file").st_mode & 07777, 07601);
  EXPECT_ERRNO(syscall(SYS_fchmodat, dir, "nothing", 0), ENOENT);
  EXPECT_ERRNO(syscall(SYS_fchmodat, 999, "file", 0), EBADF);
  EXPECT_ERRNO(syscall(SYS_fchmodat, dir, "", 0), ENOENT);
  EXPECT(chmod(".", 0755) == 0);
  IN_CHILD({
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_ERRNO(syscall(SYS_fchmodat, dir, "file", 0777), EPERM);
  });
}

TEST(faccessat_asks_for_the_real_user) {
  const int dir = Directory("d");
  WriteFile("d/file", "");
  EXPECT(chmod("d/file", 0600) == 0);
  EXPECT(syscall(SYS_faccessat, dir, "file", F_OK) == 0);
  EXPECT(syscall(SYS_faccessat, dir, "file", R_OK | W_OK) == 0);
  EXPECT_ERRNO(syscall(SYS_faccessat, dir, "file", X_OK), EACCES);  // nobody may execute it
  EXPECT_ERRNO(syscall(SYS_faccessat, dir, "file", 8), EINVAL);
  EXPECT_ERRNO(syscall(SYS_faccessat, dir, "nothing", F_OK), ENOENT);
  EXPECT_ERRNO(syscall(SYS_faccessat, 999, "file", F_OK), EBADF);
  IN_CHILD({
    EXPECT(setresuid(1234, 0, 0) == 0);
    EXPECT(syscall(SYS_faccessat, dir, "file", F_OK) == 0);
    EXPECT_ERRNO(syscall(SYS_faccessat, dir, "file", R_OK), EACCES);
    close((int)OK(open("d/file", O_RDONLY)));  // the effective user may
  });
}

TEST(eventfd) {
  const int fd = OK(syscall(SYS_eventfd, 5));
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR);
  EXPECT_EQ(fcntl(fd, F_GETFD), 0);
  uint64_t value = 0;
  EXPECT_EQ(read(fd, &value, 8), 8);
  EXPECT_EQ(value, 5);
  value = ~0ull;
  EXPECT_ERRNO(write(fd, &value, 8), EINVAL);
  value = 3;
  EXPECT_EQ(write(fd, &value, 8), 8);
  EXPECT_ERRNO(read(fd, &value, 4), EINVAL);
}
