# shell: /bin/bash
# timeout: 240
cat > a.c <<'C'
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int twice(int);
static void *work(void *n) { return (void *)(long)twice((int)(long)n); }
int main(int argc, char **argv) {
  pthread_t threads[8];
  long sum = 0;
  for (long i = 0; i < 8; i++) pthread_create(&threads[i], 0, work, (void *)i);
  for (int i = 0; i < 8; i++) { void *r; pthread_join(threads[i], &r); sum += (long)r; }
  printf("%ld %d %s\n", sum, argc, strerror(ENOENT));
  return argv[1] != 0 ? atoi(argv[1]) : 0;
}
C
echo 'int twice(int n) { return 2 * n; }' > b.c
gcc -O2 -Wall -c a.c && gcc -O2 -c b.c && ar rcs libb.a b.o && gcc -o one a.o -L. -lb && ./one; echo $?
gcc -O2 -shared -fPIC -o libc_b.so b.c && gcc -O2 -o two a.c ./libc_b.so && ./two 7; echo $?
gcc -O2 -static -o three a.c b.c && ./three 1 2; echo $?
gcc -O2 -flto -g -fsanitize=undefined -o four a.c b.c && ./four; echo $?
echo 'int main(void) { return undeclared; }' > bad.c; gcc bad.c; echo $?
gcc -E -dM - < /dev/null | sort | sha256sum; gcc -S -O2 -o - b.c | sha256sum
objdump -d one | grep -c call; strip one; ./one; readelf -h two | grep Type; nm libb.a | grep twice
