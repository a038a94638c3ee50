// Calls the three functions at their fixed addresses in the vsyscall page, which programs linked
// before 2012 do (vdso(7), Documentation/admin-guide/kernel-parameters.txt, vsyscall=).
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

int main(void) {
  int (*vgettimeofday)(struct timeval*, void*) = (void*)0xffffffffff600000;
  time_t (*vtime)(time_t*) = (void*)0xffffffffff600400;
  long (*vgetcpu)(unsigned*, unsigned*, void*) = (void*)0xffffffffff600800;
  struct timeval tv = {0, 0};
  unsigned cpu = ~0u;
  const int first = vgettimeofday(&tv, NULL);
  const time_t seconds = vtime(NULL);
  const time_t now = time(NULL);
  const long third = vgetcpu(&cpu, NULL, NULL);
  printf("gettimeofday %d %s\n", first, now - tv.tv_sec <= 2 ? "now" : "wrong");
  printf("time %s\n", now - seconds <= 2 && seconds >= tv.tv_sec ? "now" : "wrong");
  printf("getcpu %ld %s\n", third, cpu < 4096 ? "a CPU" : "wrong");
  return 0;
}
