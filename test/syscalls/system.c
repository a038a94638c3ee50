// Calls about the machine: the log, names, mounts, protection keys.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/utsname.h>

#include "check.h"

static long Syslog(int type, void* buffer, int length) {
  return syscall(SYS_syslog, type, buffer, length);
}

TEST(syslog) {
  char text[64];
  EXPECT(Syslog(10, NULL, 0) > 0);  // the size of the buffer
  EXPECT(Syslog(3, text, sizeof text) >= 0);
  EXPECT_EQ(Syslog(3, text, 0), 0);
  EXPECT_ERRNO(Syslog(3, NULL, 8), EINVAL);
  EXPECT_ERRNO(Syslog(3, text, -1), EINVAL);
  EXPECT_ERRNO(Syslog(11, NULL, 0), EINVAL);
  EXPECT_ERRNO(Syslog(-1, NULL, 0), EINVAL);
  EXPECT_ERRNO(Syslog(8, NULL, 9), EINVAL);  // a console level that does not exist
  EXPECT_EQ(Syslog(0, NULL, 0), 0);
  EXPECT_EQ(Syslog(1, NULL, 0), 0);
}

TEST(syslog_by_others) {
  IN_CHILD({
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_ERRNO(Syslog(5, NULL, 0), EPERM);
    EXPECT_ERRNO(Syslog(2, NULL, 8), EPERM);
  });
}

TEST(domainname) {
  struct utsname before, u;
  EXPECT(uname(&before) == 0);
  if (setdomainname("changed", 7) != 0) {
    EXPECT_EQ(errno, EPERM);  // a container may not
    return;
  }
  EXPECT(uname(&u) == 0);
  EXPECT_STR(u.domainname, "changed");
  EXPECT(setdomainname("abc", 2) == 0);  // not a string: so many bytes
  EXPECT(uname(&u) == 0);
  EXPECT_STR(u.domainname, "ab");
  EXPECT_ERRNO(setdomainname("x", 65), EINVAL);
  EXPECT_ERRNO(setdomainname("x", -1), EINVAL);
  EXPECT_ERRNO(setdomainname(BAD_POINTER, 1), EFAULT);
  IN_CHILD({
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_ERRNO(setdomainname("x", 1), EPERM);
  });
  EXPECT(setdomainname(before.domainname, strlen(before.domainname)) == 0);
}

// Mounts a tmpfs on `path`; the case ends where that is not allowed.
static void Mount(const char* path) {
  EXPECT(mkdir(path, 0755) == 0);
  if (mount("anything", path, "tmpfs", 0, "mode=0700") != 0) {
    EXPECT_EQ(errno, EPERM);
    _exit(0);
  }
}

TEST(umount2) {
  Mount("m");
  WriteFile("m/file", "on top");
  EXPECT_ERRNO(umount2("m/file", 0), EINVAL);
  EXPECT_ERRNO(umount2("m", 0x100), EINVAL);
  EXPECT_ERRNO(umount2("m", MNT_EXPIRE | MNT_FORCE), EINVAL);
  EXPECT_ERRNO(umount2("nothing", 0), ENOENT);
  const int fd = OK(open("m/file", O_RDONLY));
  EXPECT_ERRNO(umount2("m", 0), EBUSY);
  EXPECT_ERRNO(rmdir("m"), EBUSY);
  close(fd);
  IN_CHILD({
    EXPECT(chmod(".", 0755) == 0);
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_ERRNO(umount2("m", 0), EPERM);
  });
  EXPECT(umount2("m", 0) == 0);
  EXPECT_ERRNO(access("m/file", F_OK), ENOENT);
  EXPECT_ERRNO(umount2("m", 0), EINVAL);
  EXPECT(rmdir("m") == 0);
}

TEST(umount2_detach) {
  Mount("m");
  WriteFile("m/file", "kept");
  const int fd = OK(open("m/file", O_RDONLY));
  EXPECT(umount2("m", MNT_DETACH) == 0);
  EXPECT_ERRNO(access("m/file", F_OK), ENOENT);
  char text[8] = "";
  EXPECT_EQ(read(fd, text, sizeof text), 4);
  EXPECT_STR(text, "kept");
}

TEST(umount2_nofollow) {
  Mount("m");
  EXPECT(symlink("m", "link") == 0);
  EXPECT_ERRNO(umount2("link", UMOUNT_NOFOLLOW), EINVAL);
  EXPECT(umount2("link", 0) == 0);
}

// As on a CPU that has none; where it has, the keys are Linux's to test.
TEST(protection_keys) {
  char* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_ERRNO(syscall(SYS_pkey_alloc, 1L, 0L), EINVAL);
  EXPECT_ERRNO(syscall(SYS_pkey_alloc, 0L, 8L), EINVAL);
  EXPECT_ERRNO(syscall(SYS_pkey_free, 15L), EINVAL);
  EXPECT_ERRNO(syscall(SYS_pkey_free, -1L), EINVAL);
  EXPECT(syscall(SYS_pkey_mprotect, page, 4096L, (long)PROT_READ, -1L) == 0);
  IN_CHILD({
    const pid_t child = FORK();
    if (child == 0) *page = 1;
    EXPECT_KILLED(child, SIGSEGV);
    page[4096] = 1;
  });
  EXPECT_ERRNO(syscall(SYS_pkey_mprotect, page, 4096L, (long)PROT_READ, 15L), EINVAL);
  EXPECT_ERRNO(syscall(SYS_pkey_mprotect, page + 1, 4096L, (long)PROT_READ, -1L), EINVAL);
  EXPECT_ERRNO(syscall(SYS_pkey_mprotect, BAD_POINTER, 4096L, (long)PROT_READ, -1L), EINVAL);
  const long key = syscall(SYS_pkey_alloc, 0L, 0L);
  if (key == -1) EXPECT(errno == EINVAL || errno == ENOSPC);
}
