// Memory: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mincore(2), msync(2),
// mlock(2), copy-on-write and shared memory across fork.
#include <fcntl.h>
#include <setjmp.h>

#include "check.h"

enum { kPage = 4096 };

static sigjmp_buf fault_return;
static volatile int fault_signal, fault_code;
static void* volatile fault_address;

static void OnFault(int number, siginfo_t* info, void* context) {
  (void)context;
  fault_signal = number;
  fault_code = info->si_code;
  fault_address = info->si_addr;
  siglongjmp(fault_return, 1);
}

static void CatchFaults(void) {
  struct sigaction action = {.sa_sigaction = OnFault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

// The signal that the access raises, or 0.
static int ReadFault(volatile char* p) {
  CatchFaults();
  fault_signal = 0;
  if (sigsetjmp(fault_return, 1) == 0) (void)*p;
  return fault_signal;
}

static int WriteFault(volatile char* p) {
  CatchFaults();
  fault_signal = 0;
  if (sigsetjmp(fault_return, 1) == 0) *p = 1;
  return fault_signal;
}

static int ExecFault(void* p) {
  CatchFaults();
  fault_signal = 0;
  if (sigsetjmp(fault_return, 1) == 0) ((void (*)(void))p)();
  return fault_signal;
}

static char* Map(size_t pages, int prot, int flags) {
  char* p = mmap(NULL, pages * kPage, prot, flags | MAP_ANONYMOUS, -1, 0);
  EXPECT(p != MAP_FAILED);
  return p;
}

static char* Private(size_t pages) { return Map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE); }

static int File(const char* name, size_t size) {
  const int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  EXPECT(fd >= 0 && ftruncate(fd, size) == 0);
  return fd;
}

static char* MapFile(int fd, size_t pages, int prot, int flags) {
  char* p = mmap(NULL, pages * kPage, prot, flags, fd, 0);
  EXPECT(p != MAP_FAILED);
  return p;
}

#define MAP_ERRNO(error, ...) EXPECT_ERRNO((long)mmap(__VA_ARGS__), error)

TEST(anonymous_is_zero) {
  char* p = Private(64);
  for (int i = 0; i < 64 * kPage; i++) EXPECT_EQ(p[i], 0);
  p[100] = 1;
  EXPECT(munmap(p, 64 * kPage) == 0);
  EXPECT_EQ(ReadFault(p), SIGSEGV);
  EXPECT_EQ(fault_code, SEGV_MAPERR);
  EXPECT(fault_address == p);
}

TEST(mmap_errors) {
  const int rw = PROT_READ | PROT_WRITE, anon = MAP_PRIVATE | MAP_ANONYMOUS;
  MAP_ERRNO(EINVAL, NULL, 0, rw, anon, -1, 0);
  MAP_ERRNO(EINVAL, NULL, kPage, rw, MAP_ANONYMOUS, -1, 0);
  MAP_ERRNO(EBADF, NULL, kPage, rw, MAP_PRIVATE, -1, 0);
  MAP_ERRNO(EINVAL, NULL, kPage, rw, MAP_PRIVATE, 0, 123);
  MAP_ERRNO(ENOMEM, NULL, (size_t)1 << 62, rw, anon, -1, 0);
  MAP_ERRNO(ENOMEM, NULL, -1UL, rw, anon, -1, 0);
  MAP_ERRNO(EINVAL, (void*)0x1001, kPage, rw, anon | MAP_FIXED, -1, 0);
  MAP_ERRNO(ENOMEM, (void*)(1UL << 47), kPage, rw, anon | MAP_FIXED, -1, 0);
  const int fd = File("file", kPage);
  MAP_ERRNO(EACCES, NULL, kPage, rw, MAP_SHARED, open("file", O_RDONLY), 0);
  MAP_ERRNO(EACCES, NULL, kPage, PROT_READ, MAP_PRIVATE, open("file", O_WRONLY), 0);
  MAP_ERRNO(ENODEV, NULL, kPage, PROT_READ, MAP_PRIVATE, open(".", O_RDONLY), 0);
  MAP_ERRNO(EOVERFLOW, NULL, 2 * kPage, rw, MAP_SHARED, fd, (off_t)0x7ffffffffffff000);
  MAP_ERRNO(EOPNOTSUPP, NULL, kPage, rw, MAP_SHARED_VALIDATE | 0x400000, fd, 0);
}

TEST(hint_and_fixed) {
  char* p = Private(4);
  EXPECT(munmap(p, 4 * kPage) == 0);
  EXPECT(mmap(p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == p);
  char* other = mmap(p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(other != p && other != MAP_FAILED);  // a hint replaces nothing
  char* fixed =
      mmap(p, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  EXPECT(fixed == p);
  p[0] = p[kPage] = 1;
  MAP_ERRNO(EEXIST, p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  EXPECT(mmap(p + 2 * kPage, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
              -1, 0) == p + 2 * kPage);
  EXPECT_EQ(p[0], 1);
}

TEST(munmap_splits) {
  char* p = Private(5);
  memset(p, 7, 5 * kPage);
  EXPECT(munmap(p + 2 * kPage, kPage) == 0);
  EXPECT_EQ(p[2 * kPage - 1], 7);
  EXPECT_EQ(p[3 * kPage], 7);
  EXPECT_EQ(ReadFault(p + 2 * kPage), SIGSEGV);
  EXPECT(munmap(p, 5 * kPage) == 0);  // a hole is no error
  EXPECT(munmap(p, 5 * kPage) == 0);
  EXPECT_ERRNO(munmap(p, 0), EINVAL);
  EXPECT_ERRNO(munmap(p + 1, kPage), EINVAL);
  EXPECT_ERRNO(munmap((void*)(1UL << 63), kPage), EINVAL);
}

TEST(mprotect) {
  char* p = Private(3);
  memset(p, 5, 3 * kPage);
  EXPECT(mprotect(p + kPage, kPage, PROT_READ) == 0);
  EXPECT_EQ(WriteFault(p + kPage), SIGSEGV);
  EXPECT_EQ(fault_code, SEGV_ACCERR);
  EXPECT_EQ(WriteFault(p + 2 * kPage), 0);
  EXPECT(mprotect(p, kPage, PROT_NONE) == 0);
  EXPECT_EQ(ReadFault(p + 9), SIGSEGV);
  EXPECT_EQ(fault_code, SEGV_ACCERR);
  EXPECT(fault_address == p + 9);
  EXPECT(mprotect(p, 3 * kPage, PROT_READ | PROT_WRITE) == 0);
  EXPECT_EQ(p[9], 5);
  EXPECT_ERRNO(mprotect(p + 1, kPage, PROT_READ), EINVAL);
  EXPECT_EQ(mprotect(p, 0, PROT_READ), 0);
  EXPECT(munmap(p + kPage, kPage) == 0);
  EXPECT_ERRNO(mprotect(p, 3 * kPage, PROT_READ), ENOMEM);
  EXPECT_ERRNO(mprotect(p, kPage, 0x100), EINVAL);
  EXPECT_ERRNO(mprotect(MapFile(open("/proc/self/exe", O_RDONLY), 1, PROT_READ, MAP_SHARED), kPage,
                        PROT_READ | PROT_WRITE),
               EACCES);
}

TEST(execute_protection) {
  unsigned char* p = (unsigned char*)Private(1);
  p[0] = 0xc3;  // ret
  EXPECT_EQ(ExecFault(p), SIGSEGV);
  EXPECT_EQ(fault_code, SEGV_ACCERR);
  EXPECT(fault_address == p);
  EXPECT(mprotect(p, kPage, PROT_READ | PROT_EXEC) == 0);
  EXPECT_EQ(ExecFault(p), 0);
  EXPECT(mprotect(p, kPage, PROT_READ | PROT_WRITE) == 0);
  EXPECT_EQ(ExecFault(p), SIGSEGV);
}

TEST(code_that_changes) {
  unsigned char* p = (unsigned char*)Map(1, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
  for (int i = 0; i < 50; i++) {
    const unsigned char code[] = {0xb8, i, 0, 0, 0, 0xc3};  // mov $i, %eax; ret
    memcpy(p, code, sizeof code);
    EXPECT_EQ(((int (*)(void))p)(), i);
  }
}

TEST(cow_after_fork) {
  char* p = Private(40);
  memset(p, 1, 40 * kPage);
  const pid_t child = FORK();
  if (child == 0) {
    for (int i = 0; i < 40; i += 2) p[i * kPage] = 2;
    SleepMs(30);
    for (int i = 0; i < 40; i++) EXPECT_EQ(p[i * kPage], i % 2 == 0 ? 2 : 1);
    _exit(0);
  }
  for (int i = 1; i < 40; i += 2) p[i * kPage] = 3;
  EXPECT_EXIT(child, 0);
  for (int i = 0; i < 40; i++) EXPECT_EQ(p[i * kPage], i % 2 == 0 ? 1 : 3);
}

TEST(cow_seen_by_system_calls) {
  char* p = Private(1);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  IN_CHILD({
    EXPECT_EQ(write(ends[1], "kernel", 6), 6);
    EXPECT_EQ(read(ends[0], p, 6), 6);  // the kernel's store breaks the sharing as well
    EXPECT(memcmp(p, "kernel", 6) == 0);
  });
  EXPECT_EQ(p[0], 0);
}

TEST(cow_grandchildren) {
  volatile int* p = (volatile int*)Private(1);
  *p = 1;
  const pid_t child = FORK();
  if (child == 0) {
    const pid_t grandchild = FORK();
    if (grandchild == 0) {
      *p = 3;
      _exit(*p);
    }
    EXPECT_EXIT(grandchild, 3);
    EXPECT_EQ(*p, 1);
    *p = 2;
    _exit(*p);
  }
  EXPECT_EXIT(child, 2);
  EXPECT_EQ(*p, 1);
}

TEST(shared_anonymous) {
  volatile int* p = (volatile int*)Map(2, PROT_READ | PROT_WRITE, MAP_SHARED);
  IN_CHILD(p[1024] = 17);
  EXPECT_EQ(p[1024], 17);
}

TEST(shared_file) {
  const int fd = File("file", 2 * kPage);
  char* a = MapFile(fd, 2, PROT_READ | PROT_WRITE, MAP_SHARED);
  char* b = MapFile(fd, 2, PROT_READ, MAP_SHARED);
  a[kPage] = 'm';
  EXPECT_EQ(b[kPage], 'm');
  char c = 0;
  EXPECT_EQ(pread(fd, &c, 1, kPage), 1);
  EXPECT_EQ(c, 'm');
  EXPECT_EQ(pwrite(fd, "w", 1, 5), 1);
  EXPECT_EQ(b[5], 'w');
  close(fd);
  EXPECT(unlink("file") == 0);
  EXPECT_EQ(b[5], 'w');
}

TEST(private_file) {
  const int fd = File("file", kPage);
  EXPECT_EQ(pwrite(fd, "abc", 3, 0), 3);
  char* p = MapFile(fd, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  EXPECT_EQ(p[0], 'a');
  p[0] = 'X';
  char c;
  EXPECT_EQ(pread(fd, &c, 1, 0), 1);
  EXPECT_EQ(c, 'a');
  EXPECT_EQ(pwrite(fd, "ZZZ", 3, 0), 3);
  EXPECT_EQ(p[0], 'X');
}

TEST(bus_error_and_grow) {
  const int fd = File("file", 10);
  char* p = MapFile(fd, 2, PROT_READ | PROT_WRITE, MAP_SHARED);
  EXPECT_EQ(ReadFault(p + 4000), 0);
  EXPECT_EQ(ReadFault(p + kPage), SIGBUS);
  EXPECT_EQ(fault_code, BUS_ADRERR);
  EXPECT(ftruncate(fd, 2 * kPage) == 0);
  EXPECT_EQ(WriteFault(p + kPage), 0);
  EXPECT(ftruncate(fd, 0) == 0);
  EXPECT_EQ(ReadFault(p), SIGBUS);
  EXPECT_ERRNO(write(open("/dev/null", O_WRONLY), p, 0) - (write(fd, p, 1) == -1), EFAULT);
}

TEST(truncated_page_is_zeroed) {
  const int fd = File("file", kPage);
  char* p = MapFile(fd, 1, PROT_READ | PROT_WRITE, MAP_SHARED);
  memset(p, 'q', kPage);
  EXPECT(ftruncate(fd, 100) == 0);
  EXPECT(ftruncate(fd, kPage) == 0);
  EXPECT_EQ(p[99], 'q');
  EXPECT_EQ(p[100], 0);
  EXPECT_EQ(p[4000], 0);
}

TEST(system_calls_check_protection) {
  char* p = Private(1);
  const int zero = open("/dev/zero", O_RDONLY), fd = File("file", kPage);
  EXPECT(mprotect(p, kPage, PROT_READ) == 0);
  EXPECT_ERRNO(read(zero, p, 1), EFAULT);
  EXPECT_EQ(pwrite(fd, p, 1, 0), 1);
  EXPECT(mprotect(p, kPage, PROT_NONE) == 0);
  EXPECT_ERRNO(pwrite(fd, p, 1, 0), EFAULT);
}

TEST(mremap_grow_and_shrink) {
  char* p = Private(8);
  memset(p, 9, 8 * kPage);
  EXPECT(munmap(p + 4 * kPage, 4 * kPage) == 0);
  EXPECT(mremap(p, 4 * kPage, 6 * kPage, 0) == p);
  EXPECT_EQ(p[4 * kPage - 1], 9);
  EXPECT_EQ(p[5 * kPage], 0);
  EXPECT(mremap(p, 6 * kPage, kPage, 0) == p);
  EXPECT_EQ(ReadFault(p + kPage), SIGSEGV);
  EXPECT_EQ(p[10], 9);
}

TEST(mremap_moves) {
  char* p = Private(2);
  memset(p, 4, 2 * kPage);
  EXPECT(mmap(p + 2 * kPage, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
         MAP_FAILED);
  EXPECT_ERRNO((long)mremap(p, 2 * kPage, 3 * kPage, 0), ENOMEM);
  char* q = mremap(p, 2 * kPage, 3 * kPage, MREMAP_MAYMOVE);
  EXPECT(q != MAP_FAILED && q != p);
  EXPECT_EQ(q[kPage], 4);
  EXPECT_EQ(q[2 * kPage], 0);
  EXPECT_EQ(ReadFault(p), SIGSEGV);
  char* target = Private(3);
  EXPECT(mremap(q, 3 * kPage, 3 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
  EXPECT_EQ(target[kPage], 4);
}

TEST(mremap_old_size_zero_duplicates_shared) {
  char* p = Map(1, PROT_READ | PROT_WRITE, MAP_SHARED);
  char* q = mremap(p, 0, kPage, MREMAP_MAYMOVE);
  EXPECT(q != MAP_FAILED && q != p);
  p[7] = 'd';
  EXPECT_EQ(q[7], 'd');
}

TEST(mremap_errors) {
  char* p = Private(3);
  EXPECT_ERRNO((long)mremap(p + 1, kPage, kPage, 0), EINVAL);
  EXPECT_ERRNO((long)mremap(p, kPage, 0, 0), EINVAL);
  EXPECT_ERRNO((long)mremap(p, kPage, kPage, 64), EINVAL);
  EXPECT_ERRNO((long)mremap(p, kPage, kPage, MREMAP_FIXED, p), EINVAL);
  EXPECT_ERRNO((long)mremap(p, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, p + kPage),
               EINVAL);
  EXPECT(munmap(p + kPage, kPage) == 0);
  EXPECT_ERRNO((long)mremap(p + kPage, kPage, 2 * kPage, MREMAP_MAYMOVE), EFAULT);
  EXPECT_ERRNO((long)mremap(p, 3 * kPage, 4 * kPage, MREMAP_MAYMOVE), EFAULT);
}

TEST(brk) {
  char* start = (char*)syscall(SYS_brk, 0);
  EXPECT((char*)syscall(SYS_brk, start + 3 * kPage) == start + 3 * kPage);
  start[2 * kPage] = 1;
  EXPECT((char*)syscall(SYS_brk, start + 10) == start + 10);
  EXPECT((char*)syscall(SYS_brk, start + 3 * kPage) == start + 3 * kPage);
  EXPECT_EQ(start[2 * kPage], 0);
  EXPECT((char*)syscall(SYS_brk, 1) == start + 3 * kPage);  // refused: unchanged
  EXPECT((char*)syscall(SYS_brk, -1L) == start + 3 * kPage);
}

TEST(madvise_dontneed) {
  char* p = Private(4);
  memset(p, 6, 4 * kPage);
  EXPECT(madvise(p + kPage, kPage, MADV_DONTNEED) == 0);
  EXPECT_EQ(p[kPage], 0);
  EXPECT_EQ(p[0], 6);
  const int fd = File("file", kPage);
  EXPECT_EQ(pwrite(fd, "f", 1, 0), 1);
  char* q = MapFile(fd, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  q[0] = 'p';
  EXPECT(madvise(q, kPage, MADV_DONTNEED) == 0);
  EXPECT_EQ(q[0], 'f');
  EXPECT_ERRNO(madvise(p + 1, kPage, MADV_DONTNEED), EINVAL);
  EXPECT_ERRNO(madvise(p, kPage, 12345), EINVAL);
  EXPECT(munmap(p + kPage, kPage) == 0);
  EXPECT_ERRNO(madvise(p, 3 * kPage, MADV_DONTNEED), ENOMEM);
  EXPECT_EQ(p[2 * kPage], 0);  // what is mapped was done all the same
  EXPECT(madvise(p, 0, MADV_DONTNEED) == 0);
}

TEST(madvise_wipe_and_dontfork) {
  char* p = Private(2);
  p[0] = p[kPage] = 1;
  EXPECT(madvise(p, kPage, MADV_WIPEONFORK) == 0);
  EXPECT(madvise(p + kPage, kPage, MADV_DONTFORK) == 0);
  IN_CHILD({
    EXPECT_EQ(p[0], 0);
    EXPECT_EQ(ReadFault(p + kPage), SIGSEGV);
  });
  EXPECT(madvise(p, kPage, MADV_KEEPONFORK) == 0);
  EXPECT(madvise(p + kPage, kPage, MADV_DOFORK) == 0);
  IN_CHILD(EXPECT_EQ(p[0] + p[kPage], 2));
  EXPECT_ERRNO(madvise(Map(1, PROT_READ, MAP_SHARED), kPage, MADV_WIPEONFORK), EINVAL);
}

TEST(madvise_remove) {
  char* p = Map(2, PROT_READ | PROT_WRITE, MAP_SHARED);
  memset(p, 3, 2 * kPage);
  EXPECT(madvise(p, kPage, MADV_REMOVE) == 0);
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(p[kPage], 3);
  EXPECT_ERRNO(madvise(Private(1), kPage, MADV_REMOVE), EINVAL);
}

TEST(madvise_populate) {
  char* p = Private(4);
  EXPECT(madvise(p, 4 * kPage, MADV_POPULATE_WRITE) == 0);
  unsigned char in[4] = {0};
  EXPECT(mincore(p, 4 * kPage, in) == 0);
  EXPECT(in[0] & in[3] & 1);
  EXPECT(mprotect(p, kPage, PROT_READ) == 0);
  EXPECT_ERRNO(madvise(p, kPage, MADV_POPULATE_WRITE), EINVAL);
  EXPECT(madvise(p, kPage, MADV_POPULATE_READ) == 0);
}

TEST(mincore) {
  char* p = Private(3);
  unsigned char in[3] = {0xff, 0xff, 0xff};
  p[kPage] = 1;
  EXPECT(mincore(p, 3 * kPage, in) == 0);
  EXPECT_EQ(in[1] & 1, 1);
  EXPECT_ERRNO(mincore(p + 1, kPage, in), EINVAL);
  EXPECT_ERRNO(mincore(p, kPage, BAD_POINTER), EFAULT);
  EXPECT(munmap(p + 2 * kPage, kPage) == 0);
  EXPECT_ERRNO(mincore(p, 3 * kPage, in), ENOMEM);
}

TEST(msync_and_mlock) {
  const int fd = File("file", kPage);
  char* p = MapFile(fd, 1, PROT_READ | PROT_WRITE, MAP_SHARED);
  EXPECT(msync(p, kPage, MS_SYNC) == 0);
  EXPECT(msync(p, kPage, MS_ASYNC | MS_INVALIDATE) == 0);
  EXPECT_ERRNO(msync(p, kPage, MS_SYNC | MS_ASYNC), EINVAL);
  EXPECT_ERRNO(msync(p, kPage, 64), EINVAL);
  EXPECT_ERRNO(msync(p + 1, kPage, MS_SYNC), EINVAL);
  EXPECT(mlock(p, 10) == 0);
  EXPECT(munlock(p, 10) == 0);
  EXPECT(munmap(p, kPage) == 0);
  EXPECT_ERRNO(msync(p, kPage, MS_SYNC), ENOMEM);
  EXPECT_ERRNO(mlock(p, kPage), ENOMEM);
  EXPECT_ERRNO(mlockall(0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_mlock2, p, kPage, 77), EINVAL);
}

TEST(mlockall_and_munlockall) {
  EXPECT_ERRNO(mlockall(MCL_ONFAULT), EINVAL);  // not alone
  EXPECT_ERRNO(mlockall(8), EINVAL);
  EXPECT(munlockall() == 0);
  if (mlockall(MCL_CURRENT | MCL_ONFAULT) != 0) EXPECT(errno == ENOMEM || errno == EPERM);
  EXPECT(munlockall() == 0);
  char* p = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *p = 1;
  EXPECT(munlockall() == 0);
  EXPECT_EQ(*p, 1);
}

TEST(grows_down_stack) {
  // The main stack grows to what is used, down to its limit.
  volatile char deep[1 << 20];
  for (size_t i = 0; i < sizeof deep; i += kPage) deep[sizeof deep - 1 - i] = 1;
  EXPECT_EQ(deep[sizeof deep - 1], 1);
}

TEST(large_and_sparse) {
  const size_t size = (size_t)8 << 30;
  char* p =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  EXPECT(p != MAP_FAILED);
  for (size_t at = 0; at < size; at += size / 64) p[at] = at / (size / 64);
  for (size_t at = 0; at < size; at += size / 64) EXPECT_EQ(p[at], at / (size / 64));
  EXPECT(munmap(p, size) == 0);
}

TEST(many_mappings) {
  char* p = Private(400);
  for (int i = 0; i < 400; i += 2) EXPECT(mprotect(p + i * kPage, kPage, PROT_READ) == 0);
  for (int i = 0; i < 400; i++) EXPECT_EQ(WriteFault(p + i * kPage), i % 2 == 0 ? SIGSEGV : 0);
  EXPECT(mprotect(p, 400 * kPage, PROT_READ | PROT_WRITE) == 0);
  for (int i = 0; i < 400; i++) p[i * kPage] = 1;
}

TEST(mmap_low_and_null) {
  EXPECT_EQ(ReadFault(NULL), SIGSEGV);
  EXPECT_EQ(fault_code, SEGV_MAPERR);
  char* low = mmap((void*)0x10000, kPage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  EXPECT(low == (char*)0x10000);
  low[0] = 1;
}

TEST(dev_zero_mapping) {
  const int fd = open("/dev/zero", O_RDWR);
  char* p = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT(p != MAP_FAILED);
  IN_CHILD(p[3] = 9);
  EXPECT_EQ(p[3], 9);
  char* q = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  EXPECT(q != MAP_FAILED);
  EXPECT_EQ(q[3], 0);
}

TEST(read_only_root_is_mapped) {
  const int fd = open("/bin/busybox", O_RDONLY);
  EXPECT(fd >= 0);
  char* p = MapFile(fd, 2, PROT_READ, MAP_PRIVATE);
  EXPECT(memcmp(p, "\177ELF", 4) == 0);
  char head[kPage];
  EXPECT_EQ(pread(fd, head, kPage, kPage), kPage);
  EXPECT(memcmp(head, p + kPage, kPage) == 0);
  char* q = MapFile(fd, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  q[0] = 'x';
  EXPECT_EQ(p[0], 0x7f);
}
