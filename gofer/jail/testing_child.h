// For tests of what a process gives up: it does so in a child.
#ifndef RINGFENCE_GOFER_JAIL_TESTING_CHILD_H_
#define RINGFENCE_GOFER_JAIL_TESTING_CHILD_H_

#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

namespace ringfence::gofer {

// Runs `body` in a child with new namespaces (CLONE_NEW*; a user namespace maps no id); true if it
// returned true.
inline bool InChild(const std::function<bool()>& body, int namespaces = 0) {
  const long child = syscall(SYS_clone, SIGCHLD | namespaces, nullptr, nullptr, nullptr, nullptr);
  if (child == 0) _exit(body() ? 0 : 1);
  int status = 0;
  waitpid(static_cast<pid_t>(child), &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_JAIL_TESTING_CHILD_H_
