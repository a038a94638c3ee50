// Descriptors and file data: open(2) flags, dup(2), fcntl(2), close_range(2), lseek(2), read and
// write in all forms, sendfile(2), splice(2), copy_file_range(2), memfd_create(2).
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "check.h"

static int Open(const char* path, int flags) {
  const int fd = open(path, flags, 0644);
  EXPECT(fd >= 0);
  return fd;
}

static int Digits(const char* path) {
  WriteFile(path, "0123456789");
  return Open(path, O_RDWR);
}

TEST(open_lowest_descriptor) {
  const int a = Open("/dev/null", O_RDONLY), b = Open("/dev/null", O_RDONLY);
  EXPECT_EQ(b, a + 1);
  close(a);
  EXPECT_EQ(Open("/dev/null", O_RDONLY), a);
}

TEST(open_creat_excl_trunc) {
  EXPECT_ERRNO(open("new", O_RDONLY), ENOENT);
  const int fd = open("new", O_RDWR | O_CREAT | O_EXCL, 0666);
  EXPECT(fd >= 0);
  EXPECT_ERRNO(open("new", O_RDWR | O_CREAT | O_EXCL, 0666), EEXIST);
  EXPECT_EQ(write(fd, "text", 4), 4);
  Open("new", O_WRONLY | O_TRUNC);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 0);
  struct stat s;
  EXPECT(fstat(fd, &s) == 0);
  EXPECT_EQ(s.st_mode & 07777, 0644);
}

TEST(open_errors) {
  WriteFile("file", "");
  EXPECT(mkdir("dir", 0755) == 0);
  EXPECT(symlink("file", "link") == 0);
  EXPECT(symlink("loop", "loop") == 0);
  EXPECT_ERRNO(open("dir", O_WRONLY), EISDIR);
  EXPECT_ERRNO(open("dir", O_RDONLY | O_CREAT, 0600), EISDIR);
  EXPECT_ERRNO(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
  EXPECT_ERRNO(open("file/x", O_RDONLY), ENOTDIR);
  EXPECT_ERRNO(open("file/", O_RDONLY), ENOTDIR);
  EXPECT_ERRNO(open("nothing/", O_WRONLY | O_CREAT, 0600), EISDIR);
  EXPECT_ERRNO(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
  EXPECT_ERRNO(open("loop", O_RDONLY), ELOOP);
  EXPECT_ERRNO(open("", O_RDONLY), ENOENT);
  EXPECT_ERRNO(syscall(SYS_open, BAD_POINTER, O_RDONLY), EFAULT);
  EXPECT_ERRNO(openat(999, "file", O_RDONLY), EBADF);
  EXPECT_ERRNO(openat(Open("file", O_RDONLY), "x", O_RDONLY), ENOTDIR);
  char name[300];
  memset(name, 'n', sizeof name);
  name[256] = 0;
  EXPECT_ERRNO(open(name, O_RDONLY), ENAMETOOLONG);
  static char path[5000];
  memset(path, '/', 4999);
  EXPECT_ERRNO(open(path, O_RDONLY), ENAMETOOLONG);
}

TEST(open_path_descriptor) {
  WriteFile("file", "text");
  const int fd = Open("file", O_PATH);
  char c;
  struct stat s;
  EXPECT_ERRNO(read(fd, &c, 1), EBADF);
  EXPECT_ERRNO(fchmod(fd, 0600), EBADF);
  EXPECT_ERRNO(ftruncate(fd, 0), EBADF);
  EXPECT(fstat(fd, &s) == 0);
  EXPECT_EQ(s.st_size, 4);
  EXPECT_EQ(fcntl(fd, F_GETFL), O_PATH);
  EXPECT(symlink("file", "link") == 0);
  const int link = Open("link", O_PATH | O_NOFOLLOW);
  EXPECT(fstat(link, &s) == 0);
  EXPECT(S_ISLNK(s.st_mode));
  char target[10] = "";
  EXPECT_EQ(readlinkat(link, "", target, sizeof target), 4);
}

TEST(open_tmpfile) {
  const int fd = open(".", O_TMPFILE | O_RDWR, 0600);
  EXPECT(fd >= 0);
  EXPECT_EQ(write(fd, "abc", 3), 3);
  struct stat s;
  EXPECT(fstat(fd, &s) == 0);
  EXPECT_EQ(s.st_nlink, 0);
  char proc[40];
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  EXPECT(linkat(AT_FDCWD, proc, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
  EXPECT(stat("named", &s) == 0);
  EXPECT_EQ(s.st_size, 3);
  EXPECT_ERRNO(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
}

TEST(access_mode_is_enforced) {
  WriteFile("file", "text");
  char c = 0;
  EXPECT_ERRNO(write(Open("file", O_RDONLY), &c, 1), EBADF);
  EXPECT_ERRNO(read(Open("file", O_WRONLY), &c, 1), EBADF);
  EXPECT_ERRNO(ftruncate(Open("file", O_RDONLY), 0), EINVAL);
  EXPECT_ERRNO(read(Open(".", O_RDONLY), &c, 1), EISDIR);
  EXPECT_ERRNO(read(-1, &c, 1), EBADF);
  EXPECT_ERRNO(read(12345, &c, 1), EBADF);
}

TEST(getfl_and_setfl) {
  const int fd = Open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC);
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR | 0100000);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY) == 0);
  EXPECT_EQ(fcntl(fd, F_GETFL), O_RDWR | O_APPEND | O_NONBLOCK | 0100000);
  EXPECT(fcntl(fd, F_SETFD, 0) == 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), 0);
  EXPECT_ERRNO(fcntl(fd, 9999), EINVAL);
  EXPECT_ERRNO(fcntl(999, F_GETFL), EBADF);
}

TEST(dup_family) {
  const int fd = Open("file", O_RDWR | O_CREAT | O_CLOEXEC);
  const int copy = dup(fd);
  EXPECT(copy > fd);
  EXPECT_EQ(fcntl(copy, F_GETFD), 0);
  EXPECT_EQ(write(fd, "abc", 3), 3);
  EXPECT_EQ(lseek(copy, 0, SEEK_CUR), 3);  // one offset
  EXPECT_EQ(dup2(fd, 50), 50);
  EXPECT_EQ(dup2(fd, fd), fd);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(dup3(fd, 51, O_CLOEXEC), 51);
  EXPECT_EQ(fcntl(51, F_GETFD), FD_CLOEXEC);
  EXPECT_ERRNO(dup3(fd, fd, 0), EINVAL);
  EXPECT_ERRNO(dup3(fd, 52, O_APPEND), EINVAL);
  EXPECT_ERRNO(dup2(999, 5), EBADF);
  EXPECT_ERRNO(dup2(999, 999), EBADF);
  EXPECT_ERRNO(dup2(fd, -1), EBADF);
  EXPECT_ERRNO(dup2(fd, 1 << 30), EBADF);
  EXPECT_ERRNO(dup(-1), EBADF);
  EXPECT_EQ(fcntl(fd, F_DUPFD, 100), 100);
  EXPECT_EQ(fcntl(fd, F_DUPFD_CLOEXEC, 100), 101);
  EXPECT_EQ(fcntl(101, F_GETFD), FD_CLOEXEC);
  EXPECT_ERRNO(fcntl(fd, F_DUPFD, -1), EINVAL);
}

TEST(close_range) {
  for (int i = 60; i < 70; i++) EXPECT_EQ(dup2(2, i), i);
  EXPECT_EQ(syscall(SYS_close_range, 62, 64, 0), 0);
  EXPECT_ERRNO(fcntl(63, F_GETFD), EBADF);
  EXPECT(fcntl(65, F_GETFD) == 0);
  EXPECT_EQ(syscall(SYS_close_range, 65, ~0u, CLOSE_RANGE_CLOEXEC), 0);
  EXPECT_EQ(fcntl(66, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(syscall(SYS_close_range, 66, ~0u, CLOSE_RANGE_UNSHARE), 0);
  EXPECT_ERRNO(fcntl(69, F_GETFD), EBADF);
  EXPECT_ERRNO(syscall(SYS_close_range, 5, 4, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_close_range, 80, 90, 64), EINVAL);
  EXPECT_ERRNO(close(66), EBADF);
}

TEST(lseek) {
  const int fd = Digits("file");
  EXPECT_EQ(lseek(fd, 4, SEEK_SET), 4);
  EXPECT_EQ(lseek(fd, 2, SEEK_CUR), 6);
  EXPECT_EQ(lseek(fd, -1, SEEK_END), 9);
  EXPECT_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
  EXPECT_ERRNO(lseek(fd, -11, SEEK_END), EINVAL);
  EXPECT_ERRNO(lseek(fd, 0, 17), EINVAL);
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 9);
  EXPECT_EQ(lseek(fd, 0, SEEK_DATA), 0);
  EXPECT_EQ(lseek(fd, 0, SEEK_HOLE), 10);
  EXPECT_ERRNO(lseek(fd, 10, SEEK_DATA), ENXIO);
  EXPECT_EQ(lseek(fd, 1000, SEEK_SET), 1000);
  char c;
  EXPECT_EQ(read(fd, &c, 1), 0);
  EXPECT_EQ(write(fd, "x", 1), 1);
  EXPECT_EQ(pread(fd, &c, 1, 500), 1);
  EXPECT_EQ(c, 0);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT_ERRNO(lseek(ends[0], 0, SEEK_SET), ESPIPE);
  EXPECT_ERRNO(lseek(999, 0, SEEK_SET), EBADF);
}

TEST(pread_pwrite) {
  const int fd = Digits("file");
  char buffer[20] = "";
  EXPECT_EQ(pread(fd, buffer, 4, 3), 4);
  EXPECT_STR(buffer, "3456");
  EXPECT_EQ(pwrite(fd, "XY", 2, 5), 2);
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
  EXPECT_EQ(pread(fd, buffer, 20, 8), 2);
  EXPECT_EQ(pread(fd, buffer, 20, 100), 0);
  EXPECT_ERRNO(pread(fd, buffer, 1, -1), EINVAL);
  EXPECT_ERRNO(pwrite(fd, buffer, 1, -1), EINVAL);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT_ERRNO(pread(ends[0], buffer, 1, 0), ESPIPE);
  EXPECT_EQ(read(fd, buffer, 0), 0);
}

TEST(vectors) {
  const int fd = Digits("file");
  char a[3] = "", b[5] = "";
  struct iovec parts[3] = {{a, 2}, {NULL, 0}, {b, 4}};
  EXPECT_EQ(readv(fd, parts, 3), 6);
  EXPECT_STR(a, "01");
  EXPECT_STR(b, "2345");
  EXPECT_EQ(preadv(fd, parts, 3, 7), 3);
  EXPECT_STR(b, "9345");
  EXPECT_EQ(writev(fd, parts, 3), 6);
  EXPECT_EQ(pwritev(fd, parts, 1, 0), 2);
  EXPECT_EQ(preadv2(fd, parts, 1, -1, 0), 0);  // at the offset: the end
  EXPECT_EQ(preadv2(fd, parts, 1, 1, 0), 2);
  EXPECT_EQ(pwritev2(fd, parts, 1, 0, RWF_APPEND), 2);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 14);
  EXPECT_ERRNO(preadv2(fd, parts, 1, 0, 0x40000000), EOPNOTSUPP);
  EXPECT_EQ(readv(fd, parts, 0), 0);
  EXPECT_ERRNO(readv(fd, parts, -1), EINVAL);
  EXPECT_ERRNO(syscall(SYS_readv, fd, parts, 1025), EINVAL);
  parts[1].iov_len = (size_t)1 << 63;
  EXPECT_ERRNO(readv(fd, parts, 3), EINVAL);
  EXPECT_ERRNO(syscall(SYS_writev, fd, BAD_POINTER, 1), EFAULT);
}

// The C library tries preadv instead where preadv2 is missing.
TEST(preadv2_and_pwritev2_by_number) {
  const int fd = Digits("file");
  char a[3] = "";
  const struct iovec part = {a, 2};
  EXPECT_EQ(syscall(SYS_preadv2, fd, &part, 1, 4L, 0L, 0), 2);
  EXPECT_STR(a, "45");
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
  EXPECT_EQ(syscall(SYS_preadv2, fd, &part, 1, -1L, -1L, 0), 2);
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 2);
  EXPECT_ERRNO(syscall(SYS_preadv2, fd, &part, 1, -2L, -1L, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_preadv2, 999, &part, 1, 0L, 0L, 0), EBADF);
  EXPECT_EQ(syscall(SYS_pwritev2, fd, &part, 1, 8L, 0L, RWF_SYNC), 2);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT_ERRNO(syscall(SYS_preadv2, ends[0], &part, 1, 0L, 0L, 0), ESPIPE);
  EXPECT_ERRNO(syscall(SYS_preadv2, ends[0], &part, 1, -1L, -1L, RWF_NOWAIT), EAGAIN);
}

TEST(bad_buffers) {
  const int fd = Digits("file");
  EXPECT_ERRNO(syscall(SYS_read, fd, BAD_POINTER, 4), EFAULT);
  EXPECT_ERRNO(syscall(SYS_write, fd, BAD_POINTER, 4), EFAULT);
  EXPECT_ERRNO(syscall(SYS_pread64, fd, (void*)-4096L, 4, 0), EFAULT);
  EXPECT_ERRNO(syscall(SYS_read, fd, (void*)(1L << 62), 4), EFAULT);
  // The part that is writable is filled.
  char* two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(munmap(two + 4096, 4096) == 0);
  const int big = Open("big", O_RDWR | O_CREAT);
  EXPECT(ftruncate(big, 8192) == 0);
  EXPECT_EQ(pread(big, two + 4000, 200, 0), 96);
  memset(two, 'w', 4096);
  EXPECT_EQ(pwrite(big, two + 4000, 200, 0), 96);
}

TEST(append) {
  const int a = Open("file", O_WRONLY | O_CREAT | O_APPEND), b = Open("file", O_RDWR | O_APPEND);
  EXPECT_EQ(write(a, "one", 3), 3);
  EXPECT_EQ(write(b, "two", 3), 3);
  EXPECT_EQ(lseek(a, 0, SEEK_SET), 0);
  EXPECT_EQ(write(a, "three", 5), 5);
  EXPECT_EQ(lseek(a, 0, SEEK_CUR), 11);
  EXPECT_EQ(pwrite(a, "x", 1, 0), 1);  // appends too, as the man page's BUGS section says
  char buffer[20] = "";
  EXPECT_EQ(pread(b, buffer, 20, 0), 12);
  EXPECT_STR(buffer, "onetwothreex");
}

TEST(truncate_and_holes) {
  const int fd = Digits("file");
  EXPECT(ftruncate(fd, 3) == 0);
  EXPECT(ftruncate(fd, 6) == 0);
  char buffer[10];
  EXPECT_EQ(pread(fd, buffer, 10, 0), 6);
  EXPECT(memcmp(buffer, "012\0\0\0", 6) == 0);
  EXPECT(truncate("file", 1) == 0);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 1);
  EXPECT_ERRNO(ftruncate(fd, -1), EINVAL);
  EXPECT_ERRNO(truncate(".", 0), EISDIR);
  EXPECT_ERRNO(truncate("missing", 0), ENOENT);
  EXPECT(ftruncate(fd, 1 << 30) == 0);
  struct stat s;
  EXPECT(fstat(fd, &s) == 0);
  EXPECT(s.st_blocks < 1000);
}

TEST(fallocate) {
  const int fd = Digits("file");
  EXPECT(fallocate(fd, 0, 0, 100) == 0);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 100);
  EXPECT(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10000) == 0);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 100);
  EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 5) == 0);
  char buffer[10];
  EXPECT_EQ(pread(fd, buffer, 10, 0), 10);
  EXPECT(memcmp(buffer,
                "01\0\0\0\0\0"
                "789",
                10) == 0);
  EXPECT_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
  EXPECT_ERRNO(fallocate(fd, 0, -1, 1), EINVAL);
  EXPECT_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1), EOPNOTSUPP);
  EXPECT_ERRNO(fallocate(Open("file", O_RDONLY), 0, 0, 1), EBADF);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT_ERRNO(fallocate(ends[1], 0, 0, 1), ESPIPE);
}

TEST(sendfile) {
  const int in = Digits("in"), out = Open("out", O_RDWR | O_CREAT);
  off_t offset = 2;
  EXPECT_EQ(sendfile(out, in, &offset, 3), 3);
  EXPECT_EQ(offset, 5);
  EXPECT_EQ(lseek(in, 0, SEEK_CUR), 0);
  EXPECT_EQ(sendfile(out, in, NULL, 100), 10);
  EXPECT_EQ(lseek(in, 0, SEEK_CUR), 10);
  char buffer[20] = "";
  EXPECT_EQ(pread(out, buffer, 20, 0), 13);
  EXPECT_STR(buffer, "2340123456789");
  EXPECT_ERRNO(sendfile(in, 999, NULL, 1), EBADF);
  EXPECT_ERRNO(sendfile(Open("out", O_WRONLY | O_APPEND), in, NULL, 1), EINVAL);
  EXPECT_ERRNO(syscall(SYS_sendfile, out, in, BAD_POINTER, 1), EFAULT);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  offset = 0;
  EXPECT_EQ(sendfile(ends[1], in, &offset, 4), 4);
}

TEST(copy_file_range) {
  const int in = Digits("in"), out = Open("out", O_RDWR | O_CREAT);
  off_t from = 4, to = 1;
  EXPECT_EQ(copy_file_range(in, &from, out, &to, 100, 0), 6);
  EXPECT_EQ(from, 10);
  EXPECT_EQ(to, 7);
  EXPECT_EQ(lseek(out, 0, SEEK_END), 7);
  from = 0, to = 2;
  EXPECT_ERRNO(copy_file_range(in, &from, in, &to, 5, 0), EINVAL);  // overlap
  EXPECT_ERRNO(copy_file_range(in, NULL, out, NULL, 1, 1), EINVAL);
  EXPECT_ERRNO(copy_file_range(in, NULL, Open("out", O_RDONLY), NULL, 1, 0), EBADF);
  EXPECT_ERRNO(copy_file_range(Open(".", O_RDONLY), NULL, out, NULL, 1, 0), EISDIR);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT_ERRNO(copy_file_range(in, NULL, ends[1], NULL, 1, 0), EINVAL);
}

// A call that fails lets go of its files: who reads the pipe sees its end.
TEST(copy_file_range_with_bad_offsets) {
  const int in = Digits("in");
  for (int first = 0; first < 2; ++first) {
    int ends[2];
    char byte;
    EXPECT(pipe2(ends, O_NONBLOCK) == 0);
    EXPECT_ERRNO(syscall(SYS_copy_file_range, first ? ends[1] : in, first ? BAD_POINTER : NULL,
                         ends[1], first ? NULL : BAD_POINTER, 1, 0),
                 EFAULT);
    EXPECT(close(ends[1]) == 0);
    EXPECT_EQ(read(ends[0], &byte, 1), 0);
  }
}

TEST(splice) {
  const int in = Digits("in"), out = Open("out", O_RDWR | O_CREAT);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  off_t offset = 3;
  EXPECT_EQ(splice(in, &offset, ends[1], NULL, 4, 0), 4);
  EXPECT_EQ(offset, 7);
  EXPECT_EQ(splice(ends[0], NULL, out, NULL, 100, 0), 4);
  char buffer[10] = "";
  EXPECT_EQ(pread(out, buffer, 10, 0), 4);
  EXPECT_STR(buffer, "3456");
  EXPECT_ERRNO(splice(in, NULL, out, NULL, 1, 0), EINVAL);
  EXPECT_ERRNO(splice(ends[0], &offset, out, NULL, 1, 0), ESPIPE);
  EXPECT_ERRNO(splice(ends[0], NULL, out, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
  EXPECT_ERRNO(splice(ends[0], NULL, ends[1], NULL, 1, 0), EINVAL);
  close(ends[1]);
  EXPECT_EQ(splice(ends[0], NULL, out, NULL, 1, 0), 0);
}

TEST(memfd) {
  const int fd = memfd_create("name", MFD_CLOEXEC);
  EXPECT(fd >= 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(write(fd, "abc", 3), 3);
  char proc[40], target[100] = "";
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  EXPECT(readlink(proc, target, sizeof target - 1) > 0);
  EXPECT_STR(target, "/memfd:name (deleted)");
  EXPECT_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
  EXPECT_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
  EXPECT_ERRNO(memfd_create("x", 0x4000), EINVAL);
  EXPECT_ERRNO(syscall(SYS_memfd_create, BAD_POINTER, 0), EFAULT);
  char name[300];
  memset(name, 'n', sizeof name);
  name[250] = 0;
  EXPECT_ERRNO(memfd_create(name, 0), EINVAL);
  EXPECT_ERRNO(fcntl(Open("file", O_RDWR | O_CREAT), F_ADD_SEALS, 0x100), EINVAL);
}

TEST(memfd_seals) {
  const int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
  EXPECT_EQ(fcntl(fd, F_GET_SEALS), 0);
  EXPECT(ftruncate(fd, 8192) == 0);
  EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0);
  EXPECT_ERRNO(ftruncate(fd, 8193), EPERM);
  EXPECT_ERRNO(pwrite(fd, "x", 1, 8192), EPERM);
  EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  EXPECT_ERRNO(ftruncate(fd, 0), EPERM);
  void* p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT(p != MAP_FAILED);
  EXPECT_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
  EXPECT(munmap(p, 4096) == 0);
  EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
  EXPECT_ERRNO(pwrite(fd, "x", 1, 0), EPERM);
  EXPECT_ERRNO(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
  EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
  EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) == 0);
  EXPECT_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
  EXPECT_EQ(fcntl(fd, F_GET_SEALS), 15);
}

static void OnAlarm(int number) { (void)number; }

static struct flock Lock(short type, off_t start, off_t length) {
  return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

TEST(record_locks) {
  const int fd = Digits("file");
  struct flock lock = Lock(F_WRLCK, 2, 4);
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  const pid_t self = getpid();
  IN_CHILD({
    struct flock probe = Lock(F_RDLCK, 0, 10);
    EXPECT_ERRNO(fcntl(fd, F_SETLK, &probe), EAGAIN);
    EXPECT(fcntl(fd, F_GETLK, &probe) == 0);
    EXPECT_EQ(probe.l_type, F_WRLCK);
    EXPECT_EQ(probe.l_start, 2);
    EXPECT_EQ(probe.l_len, 4);
    EXPECT_EQ(probe.l_pid, self);
    probe = Lock(F_WRLCK, 6, 0);
    EXPECT(fcntl(fd, F_SETLK, &probe) == 0);
  });
  lock = Lock(F_WRLCK, 0, 0);  // the child's lock ended with it
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  close(dup(fd));  // closing any descriptor drops the process's locks
  IN_CHILD({
    struct flock probe = Lock(F_WRLCK, 0, 0);
    EXPECT(fcntl(fd, F_GETLK, &probe) == 0);
    EXPECT_EQ(probe.l_type, F_UNLCK);
  });
  lock = Lock(77, 0, 0);
  EXPECT_ERRNO(fcntl(fd, F_SETLK, &lock), EINVAL);
  EXPECT_ERRNO(fcntl(fd, F_SETLK, BAD_POINTER), EFAULT);
}

TEST(record_lock_waits) {
  const int fd = Digits("file");
  struct flock lock = Lock(F_WRLCK, 0, 0);
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    EXPECT(fcntl(fd, F_SETLKW, &lock) == 0);
    _exit(0);
  }
  SleepMs(30);
  EXPECT_EQ(waitpid(child, NULL, WNOHANG), 0);
  lock.l_type = F_UNLCK;
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  EXPECT_EXIT(child, 0);
}

TEST(record_locks_split_and_join) {
  const int fd = Digits("file");
  struct flock lock = Lock(F_WRLCK, 0, 100);
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  lock = Lock(F_UNLCK, 40, 20);
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  lock = Lock(F_RDLCK, 90, -10);  // backwards: 80 to 89
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  IN_CHILD({
    struct flock probe = Lock(F_WRLCK, 40, 20);
    EXPECT(fcntl(fd, F_GETLK, &probe) == 0);
    EXPECT_EQ(probe.l_type, F_UNLCK);
    probe = Lock(F_WRLCK, 70, 1);
    EXPECT(fcntl(fd, F_GETLK, &probe) == 0);
    EXPECT_EQ(probe.l_start, 60);
    EXPECT_EQ(probe.l_len, 20);
    probe = Lock(F_RDLCK, 80, 10);
    EXPECT(fcntl(fd, F_SETLK, &probe) == 0);  // shared with shared
  });
  lock = Lock(F_WRLCK, 5, -10);
  EXPECT_ERRNO(fcntl(fd, F_SETLK, &lock), EINVAL);
  const int reader = Open("file", O_RDONLY);
  lock = Lock(F_WRLCK, 0, 1);
  EXPECT_ERRNO(fcntl(reader, F_SETLK, &lock), EBADF);
}

TEST(lock_wait_is_interrupted) {
  const int fd = Digits("file");
  int ready[2];
  EXPECT(pipe(ready) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    struct flock lock = Lock(F_WRLCK, 0, 0);
    EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
    EXPECT_EQ(write(ready[1], "x", 1), 1);
    for (;;) pause();
  }
  char c;
  EXPECT_EQ(read(ready[0], &c, 1), 1);
  struct sigaction action = {.sa_handler = OnAlarm};
  sigaction(SIGALRM, &action, NULL);
  alarm(1);
  struct flock lock = Lock(F_WRLCK, 0, 0);
  EXPECT_ERRNO(fcntl(fd, F_SETLKW, &lock), EINTR);
  kill(child, SIGKILL);  // its locks end with it
  EXPECT_EQ(fcntl(fd, F_SETLKW, &lock), 0);
  EXPECT_KILLED(child, SIGKILL);
}

TEST(flock) {
  const int a = Digits("file"), b = Open("file", O_RDONLY);
  EXPECT(flock(a, LOCK_EX) == 0);
  EXPECT_ERRNO(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
  EXPECT(flock(dup(a), LOCK_SH) == 0);  // the same open file: converted
  EXPECT(flock(b, LOCK_SH | LOCK_NB) == 0);
  EXPECT_ERRNO(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  EXPECT(flock(a, LOCK_UN) == 0);
  EXPECT(flock(b, LOCK_EX | LOCK_NB) == 0);
  EXPECT_ERRNO(flock(a, 0), EINVAL);
  EXPECT_ERRNO(flock(999, LOCK_EX), EBADF);
}

TEST(ofd_locks) {
  const int a = Digits("file"), b = Open("file", O_RDWR);
  struct flock lock = Lock(F_WRLCK, 0, 5);
  EXPECT(fcntl(a, F_OFD_SETLK, &lock) == 0);
  EXPECT_ERRNO(fcntl(b, F_OFD_SETLK, &lock), EAGAIN);
  close(dup(a));
  EXPECT_ERRNO(fcntl(b, F_OFD_SETLK, &lock), EAGAIN);
  close(a);
  EXPECT(fcntl(b, F_OFD_SETLK, &lock) == 0);
  lock.l_pid = 1;
  EXPECT_ERRNO(fcntl(b, F_OFD_SETLK, &lock), EINVAL);
}

TEST(dev_nodes) {
  char buffer[16];
  const int zero = Open("/dev/zero", O_RDWR), null = Open("/dev/null", O_RDWR);
  const int full = Open("/dev/full", O_RDWR);
  memset(buffer, 1, sizeof buffer);
  EXPECT_EQ(read(zero, buffer, 16), 16);
  EXPECT_EQ(buffer[15], 0);
  EXPECT_EQ(read(null, buffer, 16), 0);
  EXPECT_EQ(write(null, buffer, 16), 16);
  EXPECT_ERRNO(write(full, buffer, 16), ENOSPC);
  EXPECT_EQ(read(full, buffer, 16), 16);
  EXPECT_EQ(read(Open("/dev/urandom", O_RDONLY), buffer, 16), 16);
  EXPECT_ERRNO(open("/dev/tty", O_RDWR | O_DIRECTORY), ENOTDIR);
}

TEST(read_size_is_bounded) {
  const int zero = Open("/dev/zero", O_RDONLY), null = Open("/dev/null", O_WRONLY);
  static char buffer[16];
  EXPECT_EQ(write(null, buffer, 0x7fffffff), 0x7ffff000);
  EXPECT_ERRNO(read(zero, buffer, -1L), EFAULT);
  EXPECT_ERRNO(syscall(SYS_fsync, 999), EBADF);
  EXPECT(fsync(Digits("file")) == 0);
  EXPECT_ERRNO(fsync(null), EINVAL);
}

TEST(fcntl_notify_of_nothing) {
  const int directory = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(fcntl(directory, F_NOTIFY, DN_MULTISHOT), 0);
  EXPECT_EQ(fcntl(directory, F_NOTIFY, 0), 0);
  const int file = (int)OK(open("/dev/null", O_RDONLY));
  EXPECT_EQ(fcntl(file, F_NOTIFY, 0), 0);
  EXPECT_ERRNO(fcntl(file, F_NOTIFY, DN_CREATE), ENOTDIR);
  EXPECT_ERRNO(fcntl(999, F_NOTIFY, 0), EBADF);
}
