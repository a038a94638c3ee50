// Names and inodes: path_resolution(7) and the calls that create, link, rename, remove, describe
// and change files, on a writable file system; and what a read-only one answers.
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

#include "check.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static void Make(const char* path) { WriteFile(path, "text"); }

static struct stat Stat(const char* path) {
  struct stat s;
  if (lstat(path, &s) != 0) Fail(__FILE__, __LINE__, "lstat(%s): %s", path, strerrorname_np(errno));
  return s;
}

static int Exists(const char* path) {
  struct stat s;
  return lstat(path, &s) == 0;
}

static long OpenHow(const char* path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags, .resolve = resolve};
  return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

TEST(mkdir_rmdir) {
  EXPECT(mkdir("d", 0777) == 0);
  EXPECT_EQ(Stat("d").st_mode, S_IFDIR | 0755);
  EXPECT_EQ(Stat("d").st_nlink, 2);
  EXPECT_ERRNO(mkdir("d", 0777), EEXIST);
  EXPECT_ERRNO(mkdir("x/y", 0777), ENOENT);
  Make("f");
  EXPECT_ERRNO(mkdir("f/y", 0777), ENOTDIR);
  EXPECT(mkdir("d/e/", 0700) == 0);
  EXPECT_EQ(Stat("d").st_nlink, 3);
  EXPECT_ERRNO(rmdir("d"), ENOTEMPTY);
  EXPECT_ERRNO(rmdir("d/e/."), EINVAL);
  EXPECT_ERRNO(rmdir("d/e/.."), ENOTEMPTY);
  EXPECT_ERRNO(rmdir("f"), ENOTDIR);
  EXPECT_ERRNO(rmdir("nothing"), ENOENT);
  EXPECT(rmdir("d/e") == 0);
  EXPECT_EQ(Stat("d").st_nlink, 2);
  EXPECT_ERRNO(mkdir(".", 0777), EEXIST);
  EXPECT_ERRNO(mkdir("/", 0777), EEXIST);
  EXPECT_ERRNO(rmdir("/"), EBUSY);
  EXPECT_ERRNO(syscall(SYS_mkdir, BAD_POINTER, 0777), EFAULT);
}

TEST(umask_applies) {
  umask(027);
  EXPECT(mkdir("d", 0777) == 0);
  close(open("f", O_CREAT, 0666));
  EXPECT_EQ(Stat("d").st_mode & 07777, 0750);
  EXPECT_EQ(Stat("f").st_mode & 07777, 0640);
  EXPECT_EQ(umask(0), 027);
  EXPECT_EQ(umask(07777), 0);
  EXPECT_EQ(umask(0), 0777);
}

TEST(unlink) {
  Make("f");
  EXPECT(mkdir("d", 0755) == 0);
  EXPECT_ERRNO(unlink("d"), EISDIR);
  EXPECT_ERRNO(unlink("nothing"), ENOENT);
  EXPECT_ERRNO(unlink("f/"), ENOTDIR);
  EXPECT_ERRNO(unlinkat(AT_FDCWD, "d", 0x40), EINVAL);
  const int fd = open("f", O_RDWR);
  EXPECT(unlink("f") == 0);
  char buffer[8] = "";
  EXPECT_EQ(read(fd, buffer, 8), 4);  // the open file lives on
  struct stat s;
  EXPECT(fstat(fd, &s) == 0);
  EXPECT_EQ(s.st_nlink, 0);
  EXPECT(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR) == 0);
}

TEST(link) {
  Make("a");
  EXPECT(link("a", "b") == 0);
  EXPECT_EQ(Stat("a").st_nlink, 2);
  EXPECT_EQ(Stat("a").st_ino, Stat("b").st_ino);
  EXPECT_ERRNO(link("a", "b"), EEXIST);
  EXPECT_ERRNO(link("nothing", "c"), ENOENT);
  EXPECT(mkdir("d", 0755) == 0);
  EXPECT_ERRNO(link("d", "e"), EPERM);
  EXPECT(symlink("a", "s") == 0);
  EXPECT(link("s", "t") == 0);  // the link itself
  EXPECT(S_ISLNK(Stat("t").st_mode));
  EXPECT(linkat(AT_FDCWD, "s", AT_FDCWD, "u", AT_SYMLINK_FOLLOW) == 0);
  EXPECT_EQ(Stat("u").st_ino, Stat("a").st_ino);
  EXPECT_ERRNO(linkat(AT_FDCWD, "a", AT_FDCWD, "v", 8), EINVAL);
  EXPECT_ERRNO(link("a", "/dev/shm/ringfence-x"), EXDEV);
}

TEST(symlink_and_readlink) {
  EXPECT(symlink("some/where", "s") == 0);
  char buffer[20] = "";
  EXPECT_EQ(readlink("s", buffer, sizeof buffer), 10);
  EXPECT_STR(buffer, "some/where");
  EXPECT_EQ(readlink("s", buffer, 4), 4);
  EXPECT_EQ(Stat("s").st_size, 10);
  EXPECT_EQ(Stat("s").st_mode, S_IFLNK | 0777);
  EXPECT_ERRNO(readlink("s", buffer, 0), EINVAL);
  EXPECT_ERRNO(symlink("x", "s"), EEXIST);
  EXPECT_ERRNO(symlink("", "t"), ENOENT);
  Make("f");
  EXPECT_ERRNO(readlink("f", buffer, 4), EINVAL);
  EXPECT_ERRNO(readlink("nothing", buffer, 4), ENOENT);
  EXPECT_ERRNO(syscall(SYS_readlink, "s", BAD_POINTER, 4), EFAULT);
}

TEST(symlink_walks) {
  EXPECT(mkdir("d", 0755) == 0);
  Make("d/f");
  EXPECT(symlink("d", "s") == 0);
  EXPECT_EQ(Stat("s/f").st_size, 4);
  EXPECT(S_ISLNK(Stat("s").st_mode));
  EXPECT(S_ISDIR(Stat("s/").st_mode));
  EXPECT(symlink("../d/f", "d/up") == 0);
  struct stat s;
  EXPECT(stat("d/up", &s) == 0 && s.st_size == 4);
  EXPECT(symlink("b", "a") == 0 && symlink("a", "b") == 0);
  EXPECT_ERRNO(stat("a", &s), ELOOP);
  char name[20], target[20] = "d/f";
  for (int i = 0; i < 41; i++) {
    snprintf(name, sizeof name, "n%d", i);
    EXPECT(symlink(target, name) == 0);
    strcpy(target, name);
  }
  EXPECT(stat("n39", &s) == 0);
  EXPECT_ERRNO(stat("n40", &s), ELOOP);
}

TEST(dangling_symlink) {
  EXPECT(symlink("target", "s") == 0);
  struct stat s;
  EXPECT_ERRNO(stat("s", &s), ENOENT);
  EXPECT_ERRNO(open("s", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
  EXPECT_ERRNO(mkdir("s", 0700), EEXIST);
  close(OK(open("s", O_CREAT | O_RDWR, 0600)));
  EXPECT(Exists("target"));
}

TEST(rename_files) {
  Make("a");
  WriteFile("b", "longer text");
  EXPECT(rename("a", "b") == 0);
  EXPECT(!Exists("a"));
  EXPECT_EQ(Stat("b").st_size, 4);
  EXPECT(link("b", "c") == 0);
  EXPECT(rename("b", "c") == 0);  // the same inode: nothing happens
  EXPECT(Exists("b") && Exists("c"));
  EXPECT_ERRNO(rename("nothing", "x"), ENOENT);
  EXPECT_ERRNO(rename("b", "no/x"), ENOENT);
  EXPECT_ERRNO(rename("b", "."), EBUSY);
  EXPECT_ERRNO(syscall(SYS_rename, "b", BAD_POINTER), EFAULT);
  EXPECT_ERRNO(rename("b", "/proc/x"), EXDEV);
}

TEST(rename_directories) {
  EXPECT(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0 && mkdir("a/sub", 0755) == 0);
  Make("f");
  EXPECT_ERRNO(rename("a", "f"), ENOTDIR);
  EXPECT_ERRNO(rename("f", "a"), EISDIR);
  EXPECT_ERRNO(rename("a", "a/sub/x"), EINVAL);
  EXPECT_ERRNO(rename("a/sub", "a"), ENOTEMPTY);
  EXPECT(rename("a", "b") == 0);
  EXPECT(Exists("b/sub"));
  EXPECT(mkdir("c", 0755) == 0);
  EXPECT_ERRNO(rename("c", "b"), ENOTEMPTY);
  EXPECT_ERRNO(rename("f", "g/"), ENOTDIR);
  EXPECT(rename("c", "d/") == 0);
  EXPECT_EQ(Stat("b").st_nlink, 3);
}

TEST(renameat2_flags) {
  Make("a");
  WriteFile("b", "other");
  EXPECT_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
  EXPECT(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
  EXPECT_EQ(Stat("a").st_size, 5);
  EXPECT_EQ(Stat("b").st_size, 4);
  EXPECT_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "x", RENAME_EXCHANGE), ENOENT);
  EXPECT_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
  EXPECT_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", 64), EINVAL);
  EXPECT(renameat2(AT_FDCWD, "a", AT_FDCWD, "x", RENAME_NOREPLACE) == 0);
}

TEST(stat_fields) {
  Make("f");
  const struct stat s = Stat("f");
  EXPECT(S_ISREG(s.st_mode));
  EXPECT_EQ(s.st_size, 4);
  EXPECT_EQ(s.st_nlink, 1);
  EXPECT_EQ(s.st_uid, 0);
  EXPECT_EQ(s.st_blksize, 4096);
  EXPECT_EQ(s.st_blocks, 8);
  EXPECT_EQ(s.st_dev, Stat(".").st_dev);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  EXPECT(now.tv_sec - s.st_mtime < 10 && now.tv_sec >= s.st_mtime);
  EXPECT_ERRNO(syscall(SYS_stat, "f", BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_fstat, 999, &now), EBADF);
  struct stat t;
  EXPECT_ERRNO(fstatat(AT_FDCWD, "f", &t, 0x40000000), EINVAL);
  EXPECT_ERRNO(fstatat(AT_FDCWD, "", &t, 0), ENOENT);
  EXPECT(fstatat(open("f", O_RDONLY), "", &t, AT_EMPTY_PATH) == 0);
  EXPECT_EQ(t.st_ino, s.st_ino);
  EXPECT(stat("/dev/null", &t) == 0);
  EXPECT(S_ISCHR(t.st_mode));
  EXPECT_EQ(t.st_rdev, 0x103);
}

TEST(statx) {
  Make("f");
  struct statx x;
  memset(&x, 0xff, sizeof x);
  EXPECT(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &x) == 0);
  EXPECT_EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  EXPECT_EQ(x.stx_size, 4);
  EXPECT_EQ(x.stx_mode, S_IFREG | 0644);
  EXPECT_EQ(x.stx_ino, Stat("f").st_ino);
  EXPECT_EQ(x.stx_mtime.tv_sec, Stat("f").st_mtime);
  EXPECT_EQ(x.stx_mtime.tv_nsec, Stat("f").st_mtim.tv_nsec);
  EXPECT_ERRNO(statx(AT_FDCWD, "f", 0, 0x80000000, &x), EINVAL);
  EXPECT_ERRNO(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &x), EINVAL);
  EXPECT_ERRNO(syscall(SYS_statx, AT_FDCWD, "f", 0, 0, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_statx, AT_FDCWD, "nothing", 0, 0, &x), ENOENT);
}

TEST(times_follow_use) {
  Make("f");
  struct timespec old[2] = {{1000, 5}, {2000, 6}};
  EXPECT(utimensat(AT_FDCWD, "f", old, 0) == 0);
  EXPECT_EQ(Stat("f").st_atim.tv_nsec, 5);
  EXPECT_EQ(Stat("f").st_mtim.tv_sec, 2000);
  EXPECT(Stat("f").st_ctime > 100000);
  struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  EXPECT(utimensat(AT_FDCWD, "f", omit, 0) == 0);
  EXPECT_EQ(Stat("f").st_atim.tv_sec, 1000);
  EXPECT(Stat("f").st_mtime > 100000);
  EXPECT(utimensat(AT_FDCWD, "f", old, 0) == 0);
  const int fd = open("f", O_RDWR);
  EXPECT_EQ(write(fd, "x", 1), 1);
  EXPECT(Stat("f").st_mtime > 100000);
  EXPECT(utimensat(AT_FDCWD, ".", old, 0) == 0);
  Make("g");
  EXPECT(Stat(".").st_mtime > 100000);
  struct timespec bad[2] = {{0, 2000000000}, {0, 0}};
  EXPECT_ERRNO(utimensat(AT_FDCWD, "f", bad, 0), EINVAL);
  EXPECT(futimens(fd, old) == 0);
  EXPECT_EQ(Stat("f").st_mtime, 2000);
  struct timeval micro[2] = {{5, 7}, {6, 8}};
  EXPECT(utimes("f", micro) == 0);
  EXPECT_EQ(Stat("f").st_mtim.tv_nsec, 8000);
  EXPECT(utime("f", NULL) == 0);
  EXPECT(symlink("f", "s") == 0);
  EXPECT(utimensat(AT_FDCWD, "s", old, AT_SYMLINK_NOFOLLOW) == 0);
  EXPECT_EQ(Stat("s").st_mtime, 2000);
  EXPECT_ERRNO(syscall(SYS_utimensat, AT_FDCWD, "f", BAD_POINTER, 0), EFAULT);
}

TEST(chmod_and_chown) {
  Make("f");
  EXPECT(chmod("f", 07654) == 0);
  EXPECT_EQ(Stat("f").st_mode & 07777, 07654);
  EXPECT(chown("f", 12, 34) == 0);
  EXPECT_EQ(Stat("f").st_uid, 12);
  EXPECT_EQ(Stat("f").st_gid, 34);
  EXPECT_EQ(Stat("f").st_mode & 07777, 01654);  // setuid and setgid are gone
  EXPECT(chown("f", -1, 56) == 0);
  EXPECT_EQ(Stat("f").st_uid, 12);
  EXPECT(symlink("f", "s") == 0);
  EXPECT(lchown("s", 7, 7) == 0);
  EXPECT_EQ(Stat("s").st_uid, 7);
  EXPECT_EQ(Stat("f").st_uid, 12);
  EXPECT(chmod("s", 0600) == 0);
  EXPECT_EQ(Stat("f").st_mode & 07777, 0600);
  EXPECT_ERRNO(chmod("nothing", 0), ENOENT);
  EXPECT_ERRNO(fchmod(999, 0), EBADF);
  EXPECT(fchownat(open("f", O_RDONLY), "", 1, 1, AT_EMPTY_PATH) == 0);
  EXPECT_EQ(Stat("f").st_uid, 1);
  EXPECT_ERRNO(syscall(SYS_fchmodat2, AT_FDCWD, "s", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
}

TEST(setgid_directory_inherits) {
  EXPECT(mkdir("d", 0755) == 0);
  EXPECT(chown("d", 0, 77) == 0 && chmod("d", 02775) == 0);
  Make("d/f");
  EXPECT(mkdir("d/e", 0755) == 0);
  EXPECT_EQ(Stat("d/f").st_gid, 77);
  EXPECT_EQ(Stat("d/e").st_gid, 77);
  EXPECT_EQ(Stat("d/e").st_mode & 07777, 02755);
}

typedef struct {
  uint64_t ino, off;
  unsigned short length;
  unsigned char type;
  char name[];
} Entry;

TEST(getdents64) {
  char name[20], buffer[600];
  EXPECT(mkdir("d", 0755) == 0 && chdir("d") == 0);
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "entry%d", i);
    Make(name);
  }
  EXPECT(symlink("x", "link") == 0 && mkdir("dir", 0755) == 0);
  const int fd = open(".", O_RDONLY | O_DIRECTORY);
  int seen = 0, dots = 0;
  long n;
  while ((n = OK(syscall(SYS_getdents64, fd, buffer, sizeof buffer))) > 0) {
    for (long at = 0; at < n; at += ((Entry*)(buffer + at))->length) {
      const Entry* e = (Entry*)(buffer + at);
      EXPECT_EQ(e->length % 8, 0);
      if (e->name[0] == '.') {
        dots++;
        EXPECT_EQ(e->type, DT_DIR);
      } else if (strncmp(e->name, "entry", 5) == 0) {
        seen++;
        EXPECT_EQ(e->type, DT_REG);
      } else {
        EXPECT_EQ(e->type, strcmp(e->name, "link") == 0 ? DT_LNK : DT_DIR);
      }
      if (strcmp(e->name, "entry7") == 0) EXPECT_EQ(e->ino, Stat("entry7").st_ino);
    }
  }
  EXPECT_EQ(seen, 100);
  EXPECT_EQ(dots, 2);
  EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
  EXPECT(syscall(SYS_getdents64, fd, buffer, sizeof buffer) > 0);
  EXPECT_ERRNO(syscall(SYS_getdents64, fd, buffer, 10), EINVAL);
  EXPECT_ERRNO(syscall(SYS_getdents64, fd, BAD_POINTER, 600), EFAULT);
  EXPECT_ERRNO(syscall(SYS_getdents64, open("entry0", O_RDONLY), buffer, 600), ENOTDIR);
  const int gone = open("dir", O_RDONLY);
  EXPECT(rmdir("dir") == 0);
  EXPECT_ERRNO(syscall(SYS_getdents64, gone, buffer, 600), ENOENT);
}

TEST(readdir_while_removing) {
  char name[20];
  EXPECT(mkdir("d", 0755) == 0 && chdir("d") == 0);
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "entry%d", i);
    Make(name);
  }
  DIR* dir = opendir(".");
  EXPECT(dir != NULL);
  int removed = 0;
  struct dirent* e;
  while ((e = readdir(dir)) != NULL) {
    if (e->d_name[0] == '.') continue;
    EXPECT(unlink(e->d_name) == 0);
    removed++;
  }
  EXPECT_EQ(removed, 300);
  EXPECT(chdir("..") == 0 && rmdir("d") == 0);
}

TEST(cwd) {
  char buffer[4096], start[4096];
  EXPECT(getcwd(start, sizeof start) != NULL);
  EXPECT(strstr(start, "/ringfence-check-") != NULL);
  EXPECT(mkdir("d", 0755) == 0 && chdir("d") == 0);
  EXPECT_EQ(syscall(SYS_getcwd, buffer, sizeof buffer), strlen(start) + 3);
  EXPECT_ERRNO(syscall(SYS_getcwd, buffer, 3), ERANGE);
  EXPECT_ERRNO(syscall(SYS_getcwd, BAD_POINTER, 4096), EFAULT);
  EXPECT(rmdir("../d") == 0);
  EXPECT_ERRNO(syscall(SYS_getcwd, buffer, sizeof buffer), ENOENT);
  EXPECT_ERRNO(open("f", O_CREAT | O_RDWR, 0600), ENOENT);
  EXPECT(chdir("..") == 0);
  Make("f");
  EXPECT_ERRNO(chdir("f"), ENOTDIR);
  EXPECT_ERRNO(chdir("nothing"), ENOENT);
  EXPECT_ERRNO(fchdir(open("f", O_RDONLY)), ENOTDIR);
  EXPECT(fchdir(open("/", O_RDONLY)) == 0);
  EXPECT_EQ(syscall(SYS_getcwd, buffer, sizeof buffer), 2);
}

TEST(chroot) {
  EXPECT(mkdir("d", 0755) == 0 && mkdir("d/in", 0755) == 0);
  Make("d/f");
  IN_CHILD({
    EXPECT(chroot("d") == 0);
    EXPECT(chdir("/") == 0);
    EXPECT(Exists("/f"));
    EXPECT(Exists("../../f"));
    EXPECT(!Exists("/proc"));
    char buffer[100];
    EXPECT(chdir("in") == 0 && getcwd(buffer, sizeof buffer) != NULL);
    EXPECT_STR(buffer, "/in");
  });
  EXPECT_ERRNO(chroot("d/f"), ENOTDIR);
}

TEST(access) {
  Make("f");
  EXPECT(chmod("f", 0) == 0);
  EXPECT(access("f", R_OK | W_OK) == 0);
  EXPECT_ERRNO(access("f", X_OK), EACCES);  // even root: no x bit at all
  EXPECT(access(".", X_OK) == 0);
  EXPECT_ERRNO(access("nothing", F_OK), ENOENT);
  EXPECT_ERRNO(access("f", 8), EINVAL);
  EXPECT_EQ(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, AT_EACCESS), 0);
  EXPECT_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, 0x8000), EINVAL);
  EXPECT(symlink("nothing", "s") == 0);
  EXPECT_EQ(syscall(SYS_faccessat2, AT_FDCWD, "s", F_OK, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_ERRNO(syscall(SYS_access, BAD_POINTER, 0), EFAULT);
}

TEST(openat2_resolve) {
  EXPECT(mkdir("d", 0755) == 0);
  Make("d/f");
  EXPECT(symlink("f", "d/s") == 0 && symlink("/etc", "d/abs") == 0);
  EXPECT(chdir("d") == 0);
  EXPECT(OpenHow("f", O_RDONLY, RESOLVE_BENEATH) >= 0);
  EXPECT(OpenHow("s", O_RDONLY, RESOLVE_BENEATH) >= 0);
  EXPECT_ERRNO(OpenHow("../d/f", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  EXPECT_ERRNO(OpenHow("/etc", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  EXPECT_ERRNO(OpenHow("abs", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  EXPECT_ERRNO(OpenHow("s", O_RDONLY, RESOLVE_NO_SYMLINKS), ELOOP);
  EXPECT(OpenHow("/f", O_RDONLY, RESOLVE_IN_ROOT) >= 0);
  EXPECT_ERRNO(OpenHow("abs", O_RDONLY, RESOLVE_IN_ROOT), ENOENT);
  EXPECT_ERRNO(OpenHow("/proc/self/exe", O_RDONLY, RESOLVE_NO_MAGICLINKS), ELOOP);
  EXPECT_ERRNO(OpenHow("/proc", O_RDONLY, RESOLVE_NO_XDEV), EXDEV);
  EXPECT_ERRNO(OpenHow("f", O_RDONLY, 0x1000), EINVAL);
  EXPECT_ERRNO(OpenHow("f", 1ull << 40, 0), EINVAL);
  struct open_how how = {.mode = 0600};
  EXPECT_ERRNO(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how), EINVAL);
  EXPECT_ERRNO(syscall(SYS_openat2, AT_FDCWD, "f", &how, 4), EINVAL);
  EXPECT_ERRNO(syscall(SYS_openat2, AT_FDCWD, "f", BAD_POINTER, sizeof how), EFAULT);
}

TEST(statfs) {
  struct statfs s;
  EXPECT(statfs(".", &s) == 0);
  EXPECT_EQ(s.f_namelen, 255);
  EXPECT(s.f_bsize >= 512 && s.f_blocks >= s.f_bfree && s.f_bfree >= s.f_bavail);
  EXPECT(statfs("/proc", &s) == 0);
  EXPECT_EQ(s.f_type, 0x9fa0);
  EXPECT_ERRNO(statfs("nothing", &s), ENOENT);
  EXPECT_ERRNO(syscall(SYS_statfs, ".", BAD_POINTER), EFAULT);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT(fstatfs(ends[0], &s) == 0);
  EXPECT_EQ(s.f_type, 0x50495045);
}

TEST(xattr) {
  Make("f");
  char buffer[100] = "";
  if (setxattr("f", "user.name", "value", 5, 0) != 0) EXPECT_EQ(errno, EOPNOTSUPP);
  if (errno == EOPNOTSUPP) return;  // tmpfs before Linux 6.6
  EXPECT_EQ(getxattr("f", "user.name", buffer, sizeof buffer), 5);
  EXPECT_STR(buffer, "value");
  EXPECT_EQ(getxattr("f", "user.name", NULL, 0), 5);
  EXPECT_ERRNO(getxattr("f", "user.name", buffer, 3), ERANGE);
  EXPECT_ERRNO(getxattr("f", "user.none", buffer, 3), ENODATA);
  EXPECT_ERRNO(setxattr("f", "user.name", "", 0, XATTR_CREATE), EEXIST);
  EXPECT_ERRNO(setxattr("f", "user.none", "", 0, XATTR_REPLACE), ENODATA);
  EXPECT_ERRNO(setxattr("f", "user.none", "", 0, 9), EINVAL);
  EXPECT_ERRNO(setxattr("f", "nonamespace", "", 0, 0), EOPNOTSUPP);
  EXPECT_EQ(listxattr("f", buffer, sizeof buffer), 10);
  EXPECT_STR(buffer, "user.name");
  EXPECT(removexattr("f", "user.name") == 0);
  EXPECT_ERRNO(removexattr("f", "user.name"), ENODATA);
  EXPECT_EQ(listxattr("f", buffer, sizeof buffer), 0);
}

TEST(mknod) {
  EXPECT(mknod("reg", S_IFREG | 0600, 0) == 0);
  EXPECT(S_ISREG(Stat("reg").st_mode));
  EXPECT(mknod("plain", 0600, 0) == 0);
  EXPECT(mknod("sock", S_IFSOCK | 0600, 0) == 0);
  EXPECT(S_ISSOCK(Stat("sock").st_mode));
  EXPECT_ERRNO(open("sock", O_RDONLY), ENXIO);
  EXPECT_ERRNO(mknod("d", S_IFDIR | 0600, 0), EPERM);
  EXPECT_ERRNO(mknod("reg", S_IFREG | 0600, 0), EEXIST);
  EXPECT_ERRNO(mknod("x", S_IFLNK | 0600, 0), EINVAL);
}

TEST(read_only_mount) {
  // Where there are no mount namespaces the mount is taken away again below.
  if (unshare(CLONE_NEWNS) == 0) OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
  OK(mkdir("p", 0700));
  if (mount("proc", "p", "proc", MS_RDONLY, NULL) != 0) {
    EXPECT_EQ(errno, EPERM);  // not in a container that may not mount
    return;
  }
  IN_CHILD({
    struct statvfs s;
    EXPECT(statvfs("p", &s) == 0 && (s.f_flag & ST_RDONLY) != 0);
    EXPECT_ERRNO(open("p/self/comm", O_RDWR), EROFS);
    EXPECT_ERRNO(open("p/self/comm", O_RDONLY | O_TRUNC), EROFS);
    EXPECT_ERRNO(mkdir("p/version", 0700), EEXIST);
    EXPECT_ERRNO(unlink("p/version"), EROFS);
    EXPECT_ERRNO(rename("p/version", "p/x"), EROFS);
    EXPECT_ERRNO(rename("p/version", "x"), EXDEV);
    EXPECT_ERRNO(chmod("p/version", 0400), EROFS);
    EXPECT_ERRNO(truncate("p/self/comm", 0), EROFS);
    EXPECT_ERRNO(utime("p/version", NULL), EROFS);
    EXPECT_ERRNO(setxattr("p/version", "user.a", "x", 1, 0), EROFS);
    EXPECT_ERRNO(access("p/self/comm", W_OK), EROFS);
    EXPECT(access("p/version", R_OK) == 0);
  });
  OK(umount2("p", MNT_DETACH));
}

// xattr(7): who may see and change which.
TEST(xattr_permissions) {
  Make("f");
  OK(mkdir("d", 01777));
  OK(chmod("d", 01777));
  OK(symlink("f", "l"));
  char buffer[100];
  if (setxattr("f", "user.a", "1", 1, 0) != 0) {
    EXPECT_EQ(errno, EOPNOTSUPP);
    return;
  }
  OK(setxattr("d", "user.a", "1", 1, 0));
  EXPECT_ERRNO(lsetxattr("l", "user.a", "1", 1, 0), EPERM);
  EXPECT_ERRNO(lgetxattr("l", "user.a", buffer, sizeof buffer), ENODATA);
  if (setxattr("f", "trusted.t", "2", 1, 0) != 0) {
    EXPECT_EQ(errno, EPERM);  // not in a container without CAP_SYS_ADMIN
    return;
  }
  OK(lsetxattr("l", "trusted.t", "2", 1, 0));
  EXPECT_EQ(getxattr("f", "trusted.t", buffer, sizeof buffer), 1);
  EXPECT_EQ(listxattr("f", buffer, sizeof buffer), 17);
  IN_CHILD({
    EXPECT(setresuid(1000, 1000, 1000) == 0);
    EXPECT_EQ(getxattr("f", "user.a", buffer, sizeof buffer), 1);
    EXPECT_ERRNO(setxattr("f", "user.a", "1", 1, 0), EACCES);
    EXPECT_ERRNO(removexattr("f", "user.a"), EACCES);
    EXPECT_ERRNO(setxattr("d", "user.b", "1", 1, 0), EPERM);  // sticky, not the owner
    EXPECT_ERRNO(getxattr("f", "trusted.t", buffer, sizeof buffer), ENODATA);
    EXPECT_ERRNO(setxattr("f", "trusted.t", "3", 1, 0), EPERM);
    EXPECT_ERRNO(removexattr("f", "trusted.t"), EPERM);
    EXPECT_EQ(listxattr("f", buffer, sizeof buffer), 7);
  });
  OK(chmod("f", 0600));
  IN_CHILD({
    EXPECT(setresuid(1000, 1000, 1000) == 0);
    EXPECT_ERRNO(getxattr("f", "user.a", buffer, sizeof buffer), EACCES);
  });
}

TEST(sticky_directory) {
  EXPECT(mkdir("d", 0777) == 0 && chmod("d", 01777) == 0);
  Make("d/f");
  IN_CHILD({
    EXPECT(setresuid(1000, 1000, 1000) == 0);
    EXPECT_ERRNO(unlink("d/f"), EPERM);
    EXPECT_ERRNO(rename("d/f", "d/g"), EPERM);
    Make("d/own");
    EXPECT(unlink("d/own") == 0);
  });
}

TEST(path_resolution_edges) {
  EXPECT(mkdir("d", 0755) == 0);
  Make("d/f");
  struct stat s;
  EXPECT(stat(".//d/./../d//f", &s) == 0);
  EXPECT_ERRNO(stat("d/f/.", &s), ENOTDIR);
  EXPECT_ERRNO(stat("d/f/..", &s), ENOTDIR);
  EXPECT_ERRNO(stat("nothing/..", &s), ENOENT);
  EXPECT(stat("/../../..", &s) == 0);
  EXPECT_EQ(s.st_ino, Stat("/").st_ino);
  char name[257];
  memset(name, 'n', 255);
  name[255] = 0;
  close(OK(open(name, O_CREAT, 0600)));
  name[255] = 'n', name[256] = 0;
  EXPECT_ERRNO(open(name, O_CREAT, 0600), ENAMETOOLONG);
  EXPECT_ERRNO(openat(open("d", O_RDONLY), "../d/none", O_RDONLY), ENOENT);
}
