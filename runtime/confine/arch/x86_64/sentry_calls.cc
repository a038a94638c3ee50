// The sentry's system calls on x86-64. No call that opens a path, starts a program or another
// process, makes a socket, or reaches another process; 75 calls at most (tested).
#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/membarrier.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>

#include "platform/kvm/request_numbers.h"
#include "runtime/confine/arch/x86_64/thread_flags.h"
#include "runtime/confine/calls.h"

namespace ringfence::runtime {
namespace {

using seccomp::Allow;
using seccomp::AllowIf;
using seccomp::Is;
using seccomp::Refuse;
using seccomp::Without;

// clang-format off: one line, one reason
constexpr seccomp::Rule kCalls[] = {
    // The virtual machine. KVM_CREATE_VM was called before, and /dev/kvm is closed.
    AllowIf(SYS_ioctl, Is(1, KVM_RUN), "runs the guest"),
    AllowIf(SYS_ioctl, Is(1, KVM_SET_USER_MEMORY_REGION), "guest memory and mapped files: slots"),
    AllowIf(SYS_ioctl, Is(1, KVM_CREATE_VCPU),
            "the pool of virtual CPUs grows with the program's threads"),
    AllowIf(SYS_ioctl, Is(1, kvm::kSetCpuid2), "a new virtual CPU: what CPUID says"),
    AllowIf(SYS_ioctl, Is(1, kvm::kSetMsrs), "a new virtual CPU: where SYSCALL leads"),
    AllowIf(SYS_ioctl, Is(1, KVM_SET_XCRS), "a new virtual CPU: its FPU components"),
    AllowIf(SYS_ioctl, Is(1, KVM_GET_SREGS), "a new virtual CPU: segments and control registers"),
    AllowIf(SYS_ioctl, Is(1, KVM_SET_SREGS), "a new virtual CPU: segments and control registers"),
    AllowIf(SYS_ioctl, Is(1, KVM_HAS_DEVICE_ATTR), "a new virtual CPU: has it a TSC offset?"),
    AllowIf(SYS_ioctl, Is(1, KVM_SET_DEVICE_ATTR), "a new virtual CPU: its TSC offset"),
    AllowIf(SYS_ioctl, Is(1, kvm::kGetXsave), "FPU state of a task that leaves a virtual CPU"),
    AllowIf(SYS_ioctl, Is(1, kvm::kSetXsave), "FPU state of a task that enters a virtual CPU"),

    // The caller's terminal. Not TIOCSTI and TIOCLINUX, which type for others, nor TIOCSCTTY.
    AllowIf(SYS_ioctl, Is(1, TCGETS),
            "is a standard stream a terminal; tcgetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCSETS), "tcsetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCSETSW), "tcsetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCSETSF), "tcsetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCGETS2), "tcgetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCSETS2), "tcsetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCSETSW2), "tcsetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCSETSF2), "tcsetattr(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TIOCGWINSZ), "window size"),
    AllowIf(SYS_ioctl, Is(1, TIOCSWINSZ), "window size: stty(1) of the program"),
    AllowIf(SYS_ioctl, Is(1, TIOCOUTQ), "what is still to be printed"),
    AllowIf(SYS_ioctl, Is(1, TCSBRK), "tcdrain(3) and tcsendbreak(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCSBRKP), "tcsendbreak(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCXONC), "tcflow(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TCFLSH), "tcflush(3) of the program"),
    AllowIf(SYS_ioctl, Is(1, TIOCEXCL), "exclusive mode, for the program"),
    AllowIf(SYS_ioctl, Is(1, TIOCNXCL), "exclusive mode, for the program"),
    AllowIf(SYS_ioctl, Is(1, FIONREAD), "how much can be read from a standard stream"),

    // Files: the caller's standard streams, the log, and what the gofer donated.
    Allow(SYS_read, "event counters; glibc's streams"),
    Allow(SYS_write, "event counters; log lines; the last words of a failed check"),
    Allow(SYS_writev, "the last words of glibc's own checks"),
    Allow(SYS_pread64, "parts of donated files, such as ELF headers"),
    Allow(SYS_pwrite64, "parts of donated files that were opened for writing"),
    Allow(SYS_preadv2, "read(2) of the program, straight into its memory"),
    Allow(SYS_pwritev2, "write(2) of the program, straight from its memory"),
    Allow(SYS_lseek, "lseek(2) of the program, with holes"),
    Allow(SYS_newfstatat, "fstat(2) of donated files and standard streams"),
    Allow(SYS_fstatfs, "fstatfs(2) of standard streams"),
    Allow(SYS_ftruncate, "ftruncate(2) of the program on donated files"),
    Allow(SYS_fallocate, "fallocate(2) of the program on donated files"),
    Allow(SYS_fsync, "fsync(2) of the program on donated files"),
    Allow(SYS_fdatasync, "fdatasync(2) of the program on donated files"),
    AllowIf(SYS_fcntl, Is(1, F_GETFL), "is a descriptor for reading or writing; gRPC"),
    AllowIf(SYS_fcntl, Is(1, F_SETFL), "gRPC: its socket does not block"),
    AllowIf(SYS_fcntl, Is(1, F_DUPFD_CLOEXEC), "standard streams that are one open file"),
    Refuse(SYS_openat, EACCES,
           "glibc looks up kernel settings when it needs them (shrinking a heap): not here, it "
           "does without"),
    Allow(SYS_close, "descriptors that are no longer used"),

    // Sockets to the gofer and the CLI, made by the CLI. None can be made here, or connected.
    Allow(SYS_sendmsg, "gRPC to the gofer"),
    Allow(SYS_recvmsg, "gRPC from the gofer; donated descriptors"),
    Allow(SYS_sendto, "send(2): reports to the CLI"),
    Allow(SYS_recvfrom, "recv(2): signals from the CLI"),
    AllowIf(SYS_shutdown, Is(1, SHUT_WR),
            "-t: the last output of the terminal has been sent to the CLI"),
    AllowIf(SYS_shutdown, Is(1, SHUT_RDWR), "gRPC: the gofer is gone"),

    // Waiting.
    Allow(SYS_futex, "locks, and how a task sleeps"),
    Allow(SYS_poll, "is a standard stream ready"),
    Allow(SYS_epoll_create1, "gRPC and the watcher of standard streams: one each"),
    Allow(SYS_epoll_ctl, "gRPC and the watcher of standard streams"),
    Allow(SYS_epoll_wait, "gRPC and the watcher of standard streams"),
    Allow(SYS_eventfd2, "gRPC and the watcher of standard streams: how they are woken"),
    Allow(SYS_clock_nanosleep, "short waits of gRPC and absl; usleep(3)"),
    Allow(SYS_clock_gettime, "time and CPU time, where the vDSO does not know it"),
    Allow(SYS_gettimeofday, "time, where the vDSO does not know it"),
    Allow(SYS_restart_syscall, "the kernel: a wait goes on after this process was stopped"),
    Allow(SYS_sched_yield, "short waits for another thread"),
    AllowIf(SYS_membarrier, Is(0, MEMBARRIER_CMD_GLOBAL), "membarrier(2) of the program"),

    // Threads: one for each task of the program, and a few of the sentry's own.
    AllowIf(SYS_clone, Is(0, kThreadFlags), "threads, never processes"),
    Refuse(SYS_clone3, ENOSYS,
           "its flags are in memory, where no filter looks: glibc takes clone then"),
    Allow(SYS_set_robust_list, "glibc: a new thread"),
    Allow(SYS_rseq, "glibc: a new thread"),
    Allow(SYS_gettid, "who is this thread: absl's locks; kicks"),
    Allow(SYS_getpid, "who is this process: kicks"),
    Allow(SYS_sched_getparam, "absl's locks: the priority of who waits"),
    Allow(SYS_sched_getscheduler, "absl's locks: the priority of who waits"),
    Allow(SYS_sched_getaffinity, "how many CPUs there are: glibc's allocator and gRPC"),
    Allow(SYS_getrusage, "CPU time of the program's tasks"),
    AllowIf(SYS_prctl, Is(0, PR_SET_NAME), "names of threads, for ps(1) on the host"),
    Allow(SYS_uname, "uname(2) of the program tells the version of this kernel"),
    Allow(SYS_exit, "a thread ends"),
    Allow(SYS_exit_group, "the sandbox ends"),

    // Signals: kicks that take a thread out of the guest, and faults while guest memory is copied.
    AllowIf(SYS_tgkill, Is(0, kOwnPid), "kicks and abort(3): to threads of this process only"),
    Allow(SYS_rt_sigaction, "the handlers of kicks and faults; abort(3)"),
    Allow(SYS_rt_sigprocmask, "glibc: new threads begin with signals blocked"),
    Allow(SYS_rt_sigreturn, "the end of a handler"),

    // Memory, none of it executable: what the guest executes only the guest can.
    AllowIf(SYS_mmap, Without(2, PROT_EXEC), "the heap, stacks, guest memory, donated files"),
    AllowIf(SYS_mprotect, Without(2, PROT_EXEC), "glibc: heap and stacks"),
    Allow(SYS_munmap, "all of these"),
    AllowIf(SYS_mremap, Without(3, MREMAP_FIXED), "realloc(3) of large blocks"),
    Allow(SYS_madvise, "guest memory is given back; huge pages; glibc: stacks"),
    Allow(SYS_brk, "the heap"),
    Allow(SYS_getrandom, "random numbers for the program and for hash tables"),
};
// clang-format on

}  // namespace

std::span<const seccomp::Rule> SentryCalls() { return kCalls; }

}  // namespace ringfence::runtime
