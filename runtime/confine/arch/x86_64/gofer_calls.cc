// The gofer's system calls on x86-64. No network, no program or other process, no mount.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>

#include "runtime/confine/arch/x86_64/thread_flags.h"
#include "runtime/confine/calls.h"

namespace ringfence::runtime {
namespace {

using seccomp::Allow;
using seccomp::AllowIf;
using seccomp::Bits;
using seccomp::Is;
using seccomp::Refuse;
using seccomp::Without;

// clang-format off: one line, one reason
constexpr seccomp::Rule kCalls[] = {
    // Files of the served trees. Paths are relative to a directory of one of them, since the root
    // is
    // empty; the mounts of a tree that is only read refuse every change.
    Allow(SYS_openat2, "one step down a path (gofer/server/beneath.h)"),
    Allow(SYS_openat, "opens what a step found, through /proc/self/fd; directories; new files"),
    Allow(SYS_statx, "attributes"),
    Allow(SYS_newfstatat, "attributes"),
    Allow(SYS_fstatfs, "is this a file system that shows the kernel; statfs(2) of the program"),
    Allow(SYS_readlinkat, "targets of symbolic links"),
    Allow(SYS_getdents64, "listings"),
    Allow(SYS_lseek, "a listing goes on where it ended"),
    Allow(SYS_mkdirat, "mkdir(2) of the program"),
    Allow(SYS_symlinkat, "symlink(2) of the program"),
    Allow(SYS_linkat, "link(2) of the program"),
    Allow(SYS_unlinkat, "unlink(2) and rmdir(2) of the program"),
    Allow(SYS_renameat2, "rename(2) of the program"),
    Allow(SYS_renameat, "renameat2(3) of glibc when there are no flags"),
    AllowIf(SYS_mknodat, Bits(2, S_IFMT, S_IFREG), "mknod(2) of the program: a file"),
    AllowIf(SYS_mknodat, Bits(2, S_IFMT, S_IFIFO), "mknod(2) of the program: a fifo"),
    AllowIf(SYS_mknodat, Bits(2, S_IFMT, S_IFCHR), Is(3, 0),
            "0/0, which no driver has: what the overlay has removed"),
    AllowIf(SYS_mknodat, Bits(2, S_IFMT, S_IFSOCK), "the name of a unix socket of the program"),
    Allow(SYS_fchmod, "chmod(2) of the program"),
    Allow(SYS_fchmodat, "chmod(2) of the program, through /proc/self/fd"),
    Allow(SYS_fchown, "chown(2) of the program"),
    Allow(SYS_fchownat, "chown(2) of the program"),
    Allow(SYS_utimensat, "utimensat(2) of the program"),
    Allow(SYS_ftruncate, "truncate(2) of the program"),
    Allow(SYS_fallocate, "fallocate(2) of the program"),
    Allow(SYS_fsync, "fsync(2) of the program on a directory"),
    Allow(SYS_fdatasync, "fdatasync(2) of the program on a directory"),
    Allow(SYS_fgetxattr, "extended attributes"),
    Allow(SYS_fsetxattr, "extended attributes"),
    Allow(SYS_flistxattr, "extended attributes"),
    Allow(SYS_fremovexattr, "extended attributes"),
    AllowIf(SYS_fcntl, Is(1, F_GETFL), "gRPC; is a descriptor for reading or writing"),
    AllowIf(SYS_fcntl, Is(1, F_SETFL), "gRPC: its socket does not block"),
    AllowIf(SYS_fcntl, Is(1, F_DUPFD_CLOEXEC), "a node that is served twice"),
    Allow(SYS_close, "nodes that are no longer used"),

    // The sockets to the sentry and the CLI, made by the CLI. None can be made here, or connected.
    Allow(SYS_sendmsg, "gRPC to the sentry; descriptors for the sentry"),
    Allow(SYS_recvmsg, "gRPC from the sentry"),
    Allow(SYS_sendto, "send(2): reports to the CLI"),
    Allow(SYS_recvfrom, "recv(2)"),
    Allow(SYS_setsockopt, "gRPC: how it closes its socket"),
    Allow(SYS_getsockopt, "gRPC: what is its socket"),
    Allow(SYS_getsockname, "gRPC: what is its socket"),
    Allow(SYS_shutdown, "gRPC: its socket is closed"),

    // Waiting.
    Allow(SYS_read, "event counters"),
    Allow(SYS_write, "event counters; the last words of a failed check"),
    Allow(SYS_writev, "the last words of glibc's own checks"),
    Allow(SYS_futex, "locks"),
    Allow(SYS_poll, "has the sentry left; is there room for a descriptor"),
    Allow(SYS_epoll_create1, "gRPC"),
    Allow(SYS_epoll_ctl, "gRPC"),
    Allow(SYS_epoll_wait, "gRPC"),
    Allow(SYS_eventfd2, "gRPC: how its pollers are woken"),
    Allow(SYS_clock_nanosleep, "short waits of gRPC and absl"),
    Allow(SYS_clock_gettime, "time, where the vDSO does not know it"),
    Allow(SYS_gettimeofday, "time, where the vDSO does not know it"),
    Allow(SYS_restart_syscall, "the kernel: a wait goes on after this process was stopped"),
    Allow(SYS_sched_yield, "short waits for another thread"),

    // Threads: two that serve, a few of gRPC's.
    AllowIf(SYS_clone, Is(0, kThreadFlags), "threads, never processes"),
    Refuse(SYS_clone3, ENOSYS,
           "its flags are in memory, where no filter looks: glibc takes clone then"),
    Allow(SYS_set_robust_list, "glibc: a new thread"),
    Allow(SYS_rseq, "glibc: a new thread"),
    Allow(SYS_gettid, "who is this thread: absl's locks"),
    Allow(SYS_getpid, "who is this process: abort(3)"),
    Allow(SYS_sched_getparam, "absl's locks: the priority of who waits"),
    Allow(SYS_sched_getscheduler, "absl's locks: the priority of who waits"),
    Allow(SYS_sched_getaffinity, "how many CPUs there are: glibc's allocator and gRPC"),
    Allow(SYS_uname, "gRPC: what the kernel can"),
    AllowIf(SYS_prctl, Is(0, PR_SET_NAME), "names of threads, for ps(1) on the host"),
    Allow(SYS_exit, "a thread ends"),
    Allow(SYS_exit_group, "the gofer ends"),
    AllowIf(SYS_tgkill, Is(0, kOwnPid), "abort(3): to threads of this process only"),
    Allow(SYS_rt_sigaction, "gRPC ignores SIGPIPE; abort(3)"),
    Allow(SYS_rt_sigprocmask, "glibc: new threads begin with signals blocked"),
    Allow(SYS_rt_sigreturn, "the end of a handler"),

    // Memory, none of it executable.
    AllowIf(SYS_mmap, Without(2, PROT_EXEC), "the heap and stacks"),
    AllowIf(SYS_mprotect, Without(2, PROT_EXEC), "glibc: heap and stacks"),
    Allow(SYS_munmap, "the heap and stacks"),
    AllowIf(SYS_mremap, Without(3, MREMAP_FIXED), "realloc(3) of large blocks"),
    Allow(SYS_madvise, "glibc: heap and stacks"),
    Allow(SYS_brk, "the heap"),
    Allow(SYS_getrandom, "random numbers for hash tables"),
};
// clang-format on

}  // namespace

std::span<const seccomp::Rule> GoferCalls() { return kCalls; }

}  // namespace ringfence::runtime
