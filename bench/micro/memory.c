// Memory: mapping, first touch, protection.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/micro/guest.h"

enum { kPage = 4096 };
static const size_t kHuge = 2 << 20;
static const size_t kRegion = 64 << 20;

static char* Anonymous(size_t size) {
  char* const p =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) Fail("mmap");
  return p;
}

// First touch of `count` MiB, 64 if it is 0, 4 KiB at a time; an operation is a page, a sample the
// mean of a MiB of them.
static void Touch(long count) {
  const size_t size = (size_t)(count > 0 ? count : 64) << 20;
  double last = Now();
  char* const p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) Fail("mmap");
  for (size_t at = 0; at < size; at += 1 << 20) {
    for (size_t page = 0; page < 1 << 20; page += kPage) p[at + page] = 1;
    const double now = Now();
    Sample((now - last) / ((1 << 20) / kPage), (1 << 20) / kPage);
    last = now;
  }
  munmap(p, size);
}

// One byte per 2 MiB over 4 GiB; an operation is a byte.
static void TouchSparse(long count) {
  (void)count;
  const size_t size = (size_t)4 << 30;
  double last = Now();
  char* const p = Anonymous(size);
  for (size_t at = 0; at < size; at += kHuge) {
    p[at] = 1;
    const double now = Now();
    Sample(now - last, 1);
    last = now;
  }
  munmap(p, size);
}

static void Mmap(long n) {
  for (long i = 0; i < n; i++) {
    char* p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) Fail("mmap");
    p[0] = 1;
    munmap(p, 65536);
  }
}

// mprotect, then munmap, of 64 MiB in 2 MiB pages that have been written to.
static void MprotectHuge(long n) {
  for (long i = 0; i < n; i++) {
    char* const raw = Anonymous(kRegion + kHuge);
    char* const p = (char*)(((uintptr_t)raw + kHuge - 1) & ~(uintptr_t)(kHuge - 1));
    madvise(p, kRegion, MADV_HUGEPAGE);
    for (size_t at = 0; at < kRegion; at += kPage) p[at] = 1;
    const double start = Now();
    if (mprotect(p, kRegion, PROT_READ) != 0) Fail("mprotect");
    if (munmap(p, kRegion) != 0) Fail("munmap");
    Sample(Now() - start, 1);
    munmap(raw, kRegion + kHuge);
  }
}

static char* shared_page;
static _Atomic long spins;

static void* Spin(void* arg) {
  for (;;) atomic_fetch_add(&spins, 1);
  return arg;
}

static void SetUpSibling(void) {
  pthread_t thread;
  shared_page = Anonymous(16 * kPage) + 8 * kPage;
  if (pthread_create(&thread, NULL, Spin, NULL) != 0) Fail("pthread_create");
  while (atomic_load(&spins) == 0) usleep(1000);
}

// mprotect of one page that was just written to, while another thread runs. What writing costs
// afterwards is not counted.
static void MprotectSibling(long n) {
  for (long i = 0; i < n; i++) {
    *(volatile char*)shared_page = 1;
    const double start = Now();
    if (mprotect(shared_page, kPage, PROT_READ) != 0) Fail("mprotect");
    const double end = Now();
    Sample(end - start, 1);
    if (mprotect(shared_page, kPage, PROT_READ | PROT_WRITE) != 0) Fail("mprotect");
  }
}

const struct Workload kMemoryWorkloads[] = {
    {.name = "touch", .timed = Touch, .once = 1},
    {.name = "touch_sparse", .timed = TouchSparse, .once = 1},
    {.name = "mmap", .loop = Mmap},
    {.name = "mprotect_64m", .timed = MprotectHuge},
    {.name = "mprotect_sibling", .setup = SetUpSibling, .timed = MprotectSibling},
    {0},
};
