// Asks for more and more memory and touches it until it is refused or a child is killed for it;
// the parent must survive and still be able to work.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
  const pid_t child = fork();
  if (child == 0) {
    const size_t piece = 64u << 20;
    for (int i = 0; i < 4096; i++) {
      char* p = mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p == MAP_FAILED) _exit(5);
      for (size_t at = 0; at < piece; at += 4096) p[at] = 1;
    }
    _exit(6);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return 1;
  const int refused = WIFEXITED(status) && WEXITSTATUS(status) == 5;
  const int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (!refused && !killed) {
    printf("child ended with %x\n", status);
    return 1;
  }
  char* after = malloc(16u << 20);
  if (after == NULL) return 1;
  memset(after, 7, 16u << 20);
  printf("survived, child %s\n", refused ? "refused" : "killed");
  return 0;
}
