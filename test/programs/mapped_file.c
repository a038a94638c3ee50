// Maps a file that somebody else truncates and extends meanwhile (mmap(2), NOTES: SIGBUS).
//
//   mapped_file look FILE   for each line of standard input: how many pages can be read, how many
//                           give SIGBUS, and what system calls say that are given such a page
//   mapped_file store FILE  for each line of standard input: a byte into each page of the shared
//                           mapping, and how many pages took it
//   mapped_file die FILE    reads all pages at each line, without a handler
//   mapped_file text FILE   for each line of standard input: what a private, executable mapping
//   from
//                           the start can still read, and what is in the last of five new ones
//   mapped_file loop FILE   reads all pages again and again until standard input ends
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kPage = 4096 };

static sigjmp_buf after;
static volatile int last_code;
static char* volatile last_address;

static void OnBus(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  last_code = info->si_code;
  last_address = info->si_addr;
  siglongjmp(after, 1);
}

// The first byte of a page, or -1 after a SIGBUS.
static int Touch(const char* page) {
  if (sigsetjmp(after, 1) != 0) return -1;
  return *(const volatile unsigned char*)page;
}

static int Store(char* page, char value) {
  if (sigsetjmp(after, 1) != 0) return -1;
  *(volatile char*)page = value;
  return 0;
}

static void StoreAll(char* base, size_t pages, char value) {
  size_t good = 0, odd = 0;
  for (size_t i = 0; i < pages; ++i) {
    if (Store(base + i * kPage, value) == 0) {
      ++good;
    } else {
      odd += last_code != BUS_ADRERR || last_address != base + i * kPage;
    }
  }
  printf("stored %zu odd %zu\n", good, odd);
}

static void Look(const char* base, size_t pages) {
  size_t good = 0, bad = 0, odd = 0;
  for (size_t i = 0; i < pages; ++i) {
    if (Touch(base + i * kPage) >= 0) {
      ++good;
      continue;
    }
    ++bad;
    odd += last_code != BUS_ADRERR || last_address != base + i * kPage;
  }
  printf("good %zu bus %zu odd %zu\n", good, bad, odd);
  int p[2];
  if (pipe(p) != 0) abort();
  const char* last = base + (pages - 1) * kPage;
  ssize_t n = write(p[1], last, 100);
  printf("write %zd errno %d\n", n, n < 0 ? errno : 0);
  n = write(p[1], base, 2 * kPage);
  printf("write of two pages %zd errno %d\n", n, n < 0 ? errno : 0);
  n = open(last, O_RDONLY);
  printf("open %d errno %d\n", n < 0, n < 0 ? errno : 0);
  close(p[0]);
  close(p[1]);
}

static char* MapText(int fd, size_t pages) {
  char* base = mmap(NULL, pages * kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  if (base == MAP_FAILED) abort();
  return base;
}

// What an old mapping shows of changes is unspecified, so only how much there is.
static void LookAtText(const char* old, int fd, size_t pages) {
  size_t good = 0, odd = 0, sum = 0, now = 0;
  for (size_t i = 0; i < pages; ++i) {
    if (Touch(old + i * kPage) >= 0) {
      ++good;
    } else {
      odd += last_code != BUS_ADRERR || last_address != old + i * kPage;
    }
  }
  for (int round = 0; round < 5; ++round) {
    char* base = MapText(fd, pages);
    sum = now = 0;
    for (size_t i = 0; i < pages; ++i) {
      const int byte = Touch(base + i * kPage);
      now += byte >= 0;
      sum += byte >= 0 ? (size_t)byte : 0;
    }
    munmap(base, pages * kPage);
  }
  printf("old %zu odd %zu new %zu sum %zu\n", good, odd, now, sum);
}

static size_t ReadAll(const char* base, size_t pages) {
  size_t good = 0;
  for (size_t i = 0; i < pages; ++i) good += Touch(base + i * kPage) >= 0;
  return good;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int stores = strcmp(argv[1], "store") == 0;
  const int fd = open(argv[2], stores ? O_RDWR : O_RDONLY);
  struct stat s;
  if (fd < 0 || fstat(fd, &s) != 0) return 2;
  const size_t pages = (size_t)s.st_size / kPage;
  const int prot = stores ? PROT_READ | PROT_WRITE : PROT_READ;
  const int text = strcmp(argv[1], "text") == 0;
  char* base = text ? MapText(fd, pages) : mmap(NULL, pages * kPage, prot, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return 2;
  if (!text) close(fd);
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_sigaction = OnBus;
  action.sa_flags = SA_SIGINFO;
  if (strcmp(argv[1], "die") != 0) sigaction(SIGBUS, &action, NULL);

  printf("mapped %zu, read %zu\n", pages, ReadAll(base, pages));
  fflush(stdout);
  if (strcmp(argv[1], "loop") == 0) {
    struct pollfd end = {.fd = 0, .events = POLLIN, .revents = 0};
    size_t rounds = 0, bus = 0;
    for (; poll(&end, 1, 0) == 0; ++rounds) bus += ReadAll(base, pages) < pages;
    printf("rounds %d bus %d\n", rounds > 0, bus > 0);
    return 0;
  }
  char line[80];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    if (strcmp(argv[1], "die") == 0) {
      printf("read %zu\n", ReadAll(base, pages));
    } else if (text) {
      LookAtText(base, fd, pages);
    } else if (stores) {
      StoreAll(base, pages, line[0]);
    } else {
      Look(base, pages);
    }
    fflush(stdout);
  }
  return 0;
}
