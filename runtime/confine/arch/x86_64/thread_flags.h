// How pthread_create(3) calls clone(2), and nothing else does.
#ifndef RINGFENCE_RUNTIME_CONFINE_ARCH_X86_64_THREAD_FLAGS_H_
#define RINGFENCE_RUNTIME_CONFINE_ARCH_X86_64_THREAD_FLAGS_H_

#include <sched.h>

#include <cstdint>

namespace ringfence::runtime {

inline constexpr uint64_t kThreadFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                         CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                                         CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
// Each of the processes is number 1 of its pid namespace.
inline constexpr uint64_t kOwnPid = 1;

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CONFINE_ARCH_X86_64_THREAD_FLAGS_H_
