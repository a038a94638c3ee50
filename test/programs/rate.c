// How much gets done in a time, by threads that do nothing else: rate calls|work THREADS
// MILLISECONDS prints how many a second. A call is one that every kernel answers at once and no
// page of answers knows; a piece of work is 1,000 rounds of arithmetic.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kMaxThreads = 64, kBetweenLooks = 64 };
static int calls;
static int64_t end_ns;
static uint64_t done[kMaxThreads][8];  // a line each

static int64_t Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

static void* Run(void* arg) {
  uint64_t* mine = arg;
  volatile uint64_t sum = 1;
  while (Now() < end_ns) {
    for (int i = 0; i < kBetweenLooks; i++) {
      if (calls) {
        syscall(SYS_lseek, -1, 0, 0);
      } else {
        for (int k = 0; k < 1000; k++) sum = sum * 6364136223846793005u + 1;
      }
    }
    *mine += kBetweenLooks;
  }
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  calls = strcmp(argv[1], "calls") == 0;
  const int threads = atoi(argv[2]);
  if (threads < 1 || threads > kMaxThreads) return 2;
  const int64_t start = Now();
  end_ns = start + atoll(argv[3]) * 1000000;
  pthread_t ids[kMaxThreads];
  for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, Run, done[i]);
  uint64_t sum = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(ids[i], NULL);
    sum += done[i][0];
  }
  printf("%.0f\n", (double)sum * 1e9 / (double)(Now() - start));
  return 0;
}
