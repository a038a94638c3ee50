// 64 threads that meet at barriers, take turns at a mutex and a condition variable, keep
// thread-local data apart and hand a token round; prints sums that do not depend on timing.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kThreads = 64, kRounds = 50 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static uint64_t total;
static int turn;
static __thread uint64_t mine;

static void* Worker(void* arg) {
  const int index = (int)(intptr_t)arg;
  for (int round = 0; round < kRounds; round++) {
    mine += (uint64_t)index * round;
    pthread_mutex_lock(&lock);
    total += index + round;
    pthread_mutex_unlock(&lock);
  }
  pthread_barrier_wait(&barrier);
  pthread_mutex_lock(&lock);
  while (turn != index) pthread_cond_wait(&turn_changed, &lock);
  turn++;
  pthread_cond_broadcast(&turn_changed);
  pthread_mutex_unlock(&lock);
  char* heap = malloc(10000 + index);
  for (int i = 0; i < 10000 + index; i++) heap[i] = (char)index;
  uint64_t sum = 0;
  for (int i = 0; i < 10000 + index; i++) sum += (unsigned char)heap[i];
  free(heap);
  return (void*)(uintptr_t)(mine + sum);
}

int main(void) {
  pthread_t threads[kThreads];
  pthread_barrier_init(&barrier, NULL, kThreads);
  for (int i = 0; i < kThreads; i++) {
    if (pthread_create(&threads[i], NULL, Worker, (void*)(intptr_t)i) != 0) {
      fprintf(stderr, "threads64: pthread_create %d failed\n", i);
      return 1;
    }
  }
  uint64_t results = 0;
  for (int i = 0; i < kThreads; i++) {
    void* result;
    pthread_join(threads[i], &result);
    results += (uintptr_t)result;
  }
  printf("total %llu results %llu turn %d\n", (unsigned long long)total,
         (unsigned long long)results, turn);
  return 0;
}
