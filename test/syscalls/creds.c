// Credentials: credentials(7), setuid(2) and its family, capabilities(7), supplementary groups, and
// what a process that is no longer root may do.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "check.h"

static void ExpectUids(uid_t real, uid_t effective, uid_t saved) {
  uid_t r, e, s;
  EXPECT(getresuid(&r, &e, &s) == 0);
  if (r != real || e != effective || s != saved) {
    Fail(__FILE__, __LINE__, "uids %u %u %u, not %u %u %u", r, e, s, real, effective, saved);
  }
}

static uint64_t Caps(int which) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  EXPECT(syscall(SYS_capget, &header, data) == 0);
  const uint32_t low[3] = {data[0].effective, data[0].permitted, data[0].inheritable};
  const uint32_t high[3] = {data[1].effective, data[1].permitted, data[1].inheritable};
  return low[which] | (uint64_t)high[which] << 32;
}

static long SetCaps(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{effective, permitted, inheritable},
                                           {effective >> 32, permitted >> 32, inheritable >> 32}};
  return syscall(SYS_capset, &header, data);
}

#define BIT(cap) (1ull << (cap))
enum { kEffective, kPermitted, kInheritable };

static void DropTo(uid_t id) {
  EXPECT(setgroups(0, NULL) == 0);
  EXPECT(setresgid(id, id, id) == 0);
  EXPECT(setresuid(id, id, id) == 0);
}

TEST(root_at_start) {
  ExpectUids(0, 0, 0);
  EXPECT_EQ(getuid(), 0);
  EXPECT_EQ(geteuid(), 0);
  EXPECT_EQ(getgid(), 0);
  EXPECT(Caps(kEffective) & BIT(CAP_SETUID));
}

TEST(setuid_as_root_sets_all) {
  EXPECT(setuid(1000) == 0);
  ExpectUids(1000, 1000, 1000);
  EXPECT_ERRNO(setuid(0), EPERM);
  EXPECT_ERRNO(setuid(1001), EPERM);
  EXPECT(setuid(1000) == 0);
  EXPECT_EQ(Caps(kEffective), 0);
  EXPECT_EQ(Caps(kPermitted), 0);
}

TEST(setresuid) {
  EXPECT(setresuid(1000, 1001, 1002) == 0);
  ExpectUids(1000, 1001, 1002);
  EXPECT(setresuid(-1, 1002, -1) == 0);
  ExpectUids(1000, 1002, 1002);
  EXPECT(setresuid(1002, 1000, -1) == 0);
  EXPECT_ERRNO(setresuid(-1, 5, -1), EPERM);
  EXPECT_ERRNO(syscall(SYS_getresuid, BAD_POINTER, BAD_POINTER, BAD_POINTER), EFAULT);
}

TEST(setreuid) {
  EXPECT(setreuid(-1, 1000) == 0);
  ExpectUids(0, 1000, 1000);
  EXPECT(setreuid(-1, 0) == 0);
  EXPECT(setreuid(1000, 1001) == 0);
  ExpectUids(1000, 1001, 1001);
  EXPECT(setreuid(1001, 1000) == 0);
  ExpectUids(1001, 1000, 1000);
  EXPECT_ERRNO(setreuid(0, -1), EPERM);
}

TEST(seteuid_and_back) {
  EXPECT(seteuid(1000) == 0);
  EXPECT_EQ(Caps(kEffective), 0);
  EXPECT(Caps(kPermitted) & BIT(CAP_CHOWN));
  EXPECT(seteuid(0) == 0);
  EXPECT(Caps(kEffective) & BIT(CAP_CHOWN));
}

TEST(gids) {
  EXPECT(setresgid(10, 11, 12) == 0);
  gid_t r, e, s;
  EXPECT(getresgid(&r, &e, &s) == 0);
  EXPECT(r == 10 && e == 11 && s == 12);
  EXPECT(setregid(-1, 10) == 0);
  EXPECT(setgid(13) == 0);
  EXPECT_EQ(getegid(), 13);
  EXPECT(Caps(kEffective) != 0);  // group ids touch no capability
  DropTo(1000);
  EXPECT_ERRNO(setgid(0), EPERM);
  EXPECT_ERRNO(setresgid(0, -1, -1), EPERM);
}

TEST(groups) {
  gid_t list[3] = {5, 9, 7}, got[8];
  EXPECT(setgroups(3, list) == 0);
  EXPECT_EQ(getgroups(0, NULL), 3);
  EXPECT_EQ(getgroups(8, got), 3);
  EXPECT(got[0] == 5 && got[1] == 7 && got[2] == 9);  // kept sorted
  EXPECT_ERRNO(getgroups(2, got), EINVAL);
  EXPECT_ERRNO(getgroups(-1, got), EINVAL);
  EXPECT_ERRNO(syscall(SYS_getgroups, 8, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_setgroups, 3, BAD_POINTER), EFAULT);
  EXPECT_ERRNO(syscall(SYS_setgroups, 70000, list), EINVAL);
  EXPECT(setresuid(1000, 1000, 1000) == 0);
  EXPECT_ERRNO(setgroups(0, NULL), EPERM);
  EXPECT_EQ(getgroups(0, NULL), 3);
}

TEST(fsuid) {
  EXPECT_EQ(setfsuid(1000), 0);
  EXPECT_EQ(setfsuid(-1), 1000);
  EXPECT(!(Caps(kEffective) & BIT(CAP_DAC_OVERRIDE)));
  EXPECT(Caps(kEffective) & BIT(CAP_SETUID));
  close(OK(open("/tmp", O_TMPFILE | O_RDWR, 0600)));
  EXPECT_EQ(setfsuid(0), 1000);
  EXPECT(Caps(kEffective) & BIT(CAP_DAC_OVERRIDE));
  EXPECT_EQ(setfsgid(5), 0);
  EXPECT_EQ(setfsgid(0), 5);
}

TEST(capset_rules) {
  const uint64_t some = BIT(CAP_CHOWN) | BIT(CAP_KILL);
  EXPECT(SetCaps(BIT(CAP_CHOWN), some, BIT(CAP_KILL)) == 0);
  EXPECT_EQ(Caps(kEffective), BIT(CAP_CHOWN));
  EXPECT_EQ(Caps(kPermitted), some);
  EXPECT_EQ(Caps(kInheritable), BIT(CAP_KILL));
  EXPECT_ERRNO(SetCaps(some, BIT(CAP_CHOWN), 0), EPERM);
  EXPECT_ERRNO(SetCaps(0, some | BIT(CAP_SETUID), 0), EPERM);
  EXPECT(SetCaps(some, some, 0) == 0);
  EXPECT_ERRNO(setuid(5), EPERM);  // root by number only
  struct __user_cap_header_struct header = {0x1234, 0};
  struct __user_cap_data_struct data[2];
  EXPECT_ERRNO(syscall(SYS_capget, &header, data), EINVAL);
  EXPECT_EQ(header.version, _LINUX_CAPABILITY_VERSION_3);
  EXPECT(syscall(SYS_capget, &header, NULL) == 0);
  header.pid = 999999;
  EXPECT_ERRNO(syscall(SYS_capget, &header, data), ESRCH);
  header.pid = getppid();
  EXPECT_ERRNO(syscall(SYS_capset, &header, data), EPERM);
  EXPECT_ERRNO(syscall(SYS_capget, BAD_POINTER, data), EFAULT);
}

TEST(keepcaps) {
  EXPECT(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
  EXPECT_EQ(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), 1);
  const uint64_t before = Caps(kPermitted);
  EXPECT(setuid(1000) == 0);
  EXPECT_EQ(Caps(kEffective), 0);
  EXPECT_EQ(Caps(kPermitted), before);
  EXPECT_ERRNO(prctl(PR_SET_KEEPCAPS, 2, 0, 0, 0), EINVAL);
}

TEST(bounding_set_and_ambient) {
  EXPECT_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0), 1);
  EXPECT(prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0) == 0);
  EXPECT_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0), 0);
  EXPECT_ERRNO(prctl(PR_CAPBSET_READ, 99, 0, 0, 0), EINVAL);
  EXPECT_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 0);
  EXPECT_ERRNO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM);
  EXPECT(SetCaps(Caps(kEffective), Caps(kPermitted), BIT(CAP_KILL)) == 0);
  EXPECT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
  EXPECT_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 1);
  EXPECT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0);
  EXPECT_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 0);
}

TEST(securebits) {
  EXPECT_EQ(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0), 0);
  EXPECT(prctl(PR_SET_SECUREBITS, 4, 0, 0, 0) == 0);  // SECBIT_NO_SETUID_FIXUP
  EXPECT(setuid(1000) == 0);
  EXPECT(Caps(kEffective) & BIT(CAP_CHOWN));
}

TEST(files_of_others) {
  WriteFile("secret", "text");
  EXPECT(chmod("secret", 0600) == 0);
  EXPECT(mkdir("closed", 0700) == 0);
  WriteFile("closed/f", "text");
  EXPECT(mkdir("open", 0777) == 0 && chmod("open", 0777) == 0);
  DropTo(1000);
  struct stat s;
  EXPECT_ERRNO(open("secret", O_RDONLY), EACCES);
  EXPECT_ERRNO(open("closed/f", O_RDONLY), EACCES);
  EXPECT_ERRNO(stat("closed/f", &s), EACCES);
  EXPECT_ERRNO(chdir("closed"), EACCES);
  EXPECT_ERRNO(access("secret", R_OK), EACCES);
  EXPECT_ERRNO(chmod("secret", 0777), EPERM);
  EXPECT_ERRNO(chown("secret", 1000, 1000), EPERM);
  EXPECT_ERRNO(unlink("secret"), EACCES);
  EXPECT_ERRNO(mkdir("x", 0777), EACCES);
  EXPECT_ERRNO(truncate("secret", 0), EACCES);
  WriteFile("open/own", "text");
  EXPECT(stat("open/own", &s) == 0);
  EXPECT_EQ(s.st_uid, 1000);
  EXPECT_EQ(s.st_gid, 1000);
  EXPECT_ERRNO(chown("open/own", 0, -1), EPERM);
  EXPECT_ERRNO(chown("open/own", -1, 0), EPERM);
  EXPECT(chown("open/own", 1000, 1000) == 0);
  EXPECT(chmod("open/own", 0) == 0);
  EXPECT_ERRNO(open("open/own", O_RDONLY), EACCES);
}

TEST(group_and_other_bits) {
  WriteFile("f", "text");
  EXPECT(chown("f", 1000, 2000) == 0 && chmod("f", 0047) == 0);
  IN_CHILD({  // the owner has the owner's bits, although others have more
    DropTo(1000);
    EXPECT_ERRNO(open("f", O_RDONLY), EACCES);
  });
  IN_CHILD({  // by group
    DropTo(2000);
    close(OK(open("f", O_RDONLY)));
    EXPECT_ERRNO(open("f", O_WRONLY), EACCES);
  });
  IN_CHILD({  // by a supplementary group
    gid_t list[1] = {2000};
    EXPECT(setgroups(1, list) == 0 && setresgid(5, 5, 5) == 0 && setresuid(5, 5, 5) == 0);
    EXPECT_ERRNO(open("f", O_WRONLY), EACCES);
    close(OK(open("f", O_RDONLY)));
  });
  IN_CHILD({
    DropTo(3000);
    close(OK(open("f", O_RDWR)));
  });
}

TEST(times_of_others) {
  WriteFile("f", "text");
  EXPECT(chmod("f", 0666) == 0);
  DropTo(1000);
  struct timespec when[2] = {{1, 0}, {1, 0}};
  EXPECT_ERRNO(utimensat(AT_FDCWD, "f", when, 0), EPERM);
  EXPECT(utimensat(AT_FDCWD, "f", NULL, 0) == 0);  // now: who may write may
}

TEST(setgid_bit_needs_group) {
  EXPECT(mkdir("d", 0777) == 0 && chmod("d", 0777) == 0);
  WriteFile("d/f", "text");
  EXPECT(chown("d/f", 1000, 7) == 0);
  DropTo(1000);
  EXPECT(chmod("d/f", 02755) == 0);
  struct stat s;
  EXPECT(stat("d/f", &s) == 0);
  EXPECT_EQ(s.st_mode & 07777, 0755);
}

TEST(write_clears_setuid) {
  WriteFile("f", "text");
  EXPECT(chown("f", 1000, 1000) == 0 && chmod("f", 06777) == 0);
  DropTo(1000);
  const int fd = open("f", O_WRONLY);
  EXPECT_EQ(write(fd, "x", 1), 1);
  struct stat s;
  EXPECT(stat("f", &s) == 0);
  EXPECT_EQ(s.st_mode & 07777, 0777);
}

TEST(signals_to_others) {
  const pid_t other = FORK();
  if (other == 0) {
    for (;;) pause();
  }
  IN_CHILD({
    DropTo(1000);
    EXPECT_ERRNO(kill(other, 0), EPERM);
    EXPECT_ERRNO(kill(other, SIGKILL), EPERM);
    EXPECT(kill(getpid(), 0) == 0);
  });
  kill(other, SIGKILL);
  EXPECT_KILLED(other, SIGKILL);
}

TEST(privileged_calls) {
  DropTo(1000);
  EXPECT_ERRNO(chroot("/"), EPERM);
  EXPECT_ERRNO(sethostname("x", 1), EPERM);
  EXPECT_ERRNO(mknod("/tmp/ringfence-dev", S_IFCHR | 0600, 0x103), EPERM);
  EXPECT_ERRNO(syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL), EPERM);
  EXPECT_ERRNO(prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0), EPERM);
  EXPECT_ERRNO(setpriority(0, 0, -5), EACCES);
}

TEST(opened_before_stays_open) {
  WriteFile("f", "text");
  EXPECT(chmod("f", 0600) == 0);
  const int fd = open("f", O_RDWR);
  DropTo(1000);
  char buffer[4];
  EXPECT_EQ(read(fd, buffer, 4), 4);
  EXPECT_EQ(write(fd, "more", 4), 4);
  EXPECT(ftruncate(fd, 1) == 0);
  EXPECT_ERRNO(fchmod(fd, 0644), EPERM);
}

TEST(dumpable_after_setuid) {
  EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
  EXPECT(setuid(1000) == 0);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
}
