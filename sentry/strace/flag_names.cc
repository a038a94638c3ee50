#include "sentry/strace/flag_names.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace ringfence::sentry {
namespace {

struct Name {
  uint64_t value;
  const char* name;
};
using Names = absl::Span<const Name>;

#define NAME(x) \
  { static_cast<uint64_t>(x), #x }

constexpr Name kWhence[] = {
    NAME(SEEK_SET), NAME(SEEK_CUR), NAME(SEEK_END), {3, "SEEK_DATA"}, {4, "SEEK_HOLE"}};
constexpr Name kProt[] = {NAME(PROT_READ), NAME(PROT_WRITE), NAME(PROT_EXEC), NAME(PROT_GROWSDOWN),
                          NAME(PROT_GROWSUP)};
constexpr Name kMap[] = {NAME(MAP_FIXED),     NAME(MAP_ANONYMOUS),      {0x40, "MAP_32BIT"},
                         NAME(MAP_GROWSDOWN), NAME(MAP_DENYWRITE),      NAME(MAP_EXECUTABLE),
                         NAME(MAP_LOCKED),    NAME(MAP_NORESERVE),      NAME(MAP_POPULATE),
                         NAME(MAP_NONBLOCK),  NAME(MAP_STACK),          NAME(MAP_HUGETLB),
                         NAME(MAP_SYNC),      NAME(MAP_FIXED_NOREPLACE)};
constexpr Name kMapType[] = {NAME(MAP_SHARED), NAME(MAP_PRIVATE), {3, "MAP_SHARED_VALIDATE"}};
constexpr Name kOpen[] = {NAME(O_CREAT),
                          NAME(O_EXCL),
                          NAME(O_NOCTTY),
                          NAME(O_TRUNC),
                          NAME(O_APPEND),
                          NAME(O_NONBLOCK),
                          {0x101000, "O_SYNC"},
                          {0x1000, "O_DSYNC"},
                          {0x2000, "O_ASYNC"},
                          {0x4000, "O_DIRECT"},
                          {0x8000, "O_LARGEFILE"},
                          {0x410000, "O_TMPFILE"},
                          {0x10000, "O_DIRECTORY"},
                          {0x20000, "O_NOFOLLOW"},
                          {0x40000, "O_NOATIME"},
                          {0x80000, "O_CLOEXEC"},
                          {0x200000, "O_PATH"}};
constexpr Name kAccMode[] = {NAME(O_RDONLY), NAME(O_WRONLY), NAME(O_RDWR)};
constexpr Name kClone[] = {NAME(CLONE_VM),
                           NAME(CLONE_FS),
                           NAME(CLONE_FILES),
                           NAME(CLONE_SIGHAND),
                           {0x1000, "CLONE_PIDFD"},
                           NAME(CLONE_PTRACE),
                           NAME(CLONE_VFORK),
                           NAME(CLONE_PARENT),
                           NAME(CLONE_THREAD),
                           NAME(CLONE_NEWNS),
                           NAME(CLONE_SYSVSEM),
                           NAME(CLONE_SETTLS),
                           NAME(CLONE_PARENT_SETTID),
                           NAME(CLONE_CHILD_CLEARTID),
                           NAME(CLONE_DETACHED),
                           NAME(CLONE_UNTRACED),
                           NAME(CLONE_CHILD_SETTID),
                           NAME(CLONE_NEWCGROUP),
                           NAME(CLONE_NEWUTS),
                           NAME(CLONE_NEWIPC),
                           NAME(CLONE_NEWUSER),
                           NAME(CLONE_NEWPID),
                           NAME(CLONE_NEWNET),
                           NAME(CLONE_IO)};
constexpr Name kWait[] = {NAME(WNOHANG),          NAME(WUNTRACED),
                          NAME(WEXITED),          NAME(WCONTINUED),
                          NAME(WNOWAIT),          {0x20000000, "__WNOTHREAD"},
                          {0x40000000, "__WALL"}, {0x80000000, "__WCLONE"}};
constexpr Name kIdType[] = {NAME(P_ALL), NAME(P_PID), NAME(P_PGID), {3, "P_PIDFD"}};
constexpr Name kFutex[] = {
    NAME(FUTEX_WAIT),           NAME(FUTEX_WAKE),        NAME(FUTEX_FD),
    NAME(FUTEX_REQUEUE),        NAME(FUTEX_CMP_REQUEUE), NAME(FUTEX_WAKE_OP),
    NAME(FUTEX_LOCK_PI),        NAME(FUTEX_UNLOCK_PI),   NAME(FUTEX_TRYLOCK_PI),
    NAME(FUTEX_WAIT_BITSET),    NAME(FUTEX_WAKE_BITSET), NAME(FUTEX_WAIT_REQUEUE_PI),
    NAME(FUTEX_CMP_REQUEUE_PI), {13, "FUTEX_LOCK_PI2"}};
constexpr Name kFutexFlags[] = {NAME(FUTEX_PRIVATE_FLAG), NAME(FUTEX_CLOCK_REALTIME)};
constexpr Name kClock[] = {NAME(CLOCK_REALTIME),
                           NAME(CLOCK_MONOTONIC),
                           NAME(CLOCK_PROCESS_CPUTIME_ID),
                           NAME(CLOCK_THREAD_CPUTIME_ID),
                           NAME(CLOCK_MONOTONIC_RAW),
                           NAME(CLOCK_REALTIME_COARSE),
                           NAME(CLOCK_MONOTONIC_COARSE),
                           NAME(CLOCK_BOOTTIME),
                           NAME(CLOCK_REALTIME_ALARM),
                           NAME(CLOCK_BOOTTIME_ALARM),
                           NAME(CLOCK_TAI)};
constexpr Name kEpollOp[] = {NAME(EPOLL_CTL_ADD), NAME(EPOLL_CTL_DEL), NAME(EPOLL_CTL_MOD)};
constexpr Name kFcntl[] = {
    NAME(F_DUPFD),          NAME(F_GETFD),          NAME(F_SETFD),
    NAME(F_GETFL),          NAME(F_SETFL),          {5, "F_GETLK"},
    {6, "F_SETLK"},         {7, "F_SETLKW"},        {8, "F_SETOWN"},
    {9, "F_GETOWN"},        {10, "F_SETSIG"},       {11, "F_GETSIG"},
    {15, "F_SETOWN_EX"},    {16, "F_GETOWN_EX"},    {36, "F_OFD_GETLK"},
    {37, "F_OFD_SETLK"},    {38, "F_OFD_SETLKW"},   {1024, "F_SETLEASE"},
    {1025, "F_GETLEASE"},   {1026, "F_NOTIFY"},     {1030, "F_DUPFD_CLOEXEC"},
    {1031, "F_SETPIPE_SZ"}, {1032, "F_GETPIPE_SZ"}, {1033, "F_ADD_SEALS"},
    {1034, "F_GET_SEALS"}};
constexpr Name kIoctl[] = {
    {0x5401, "TCGETS"},         {0x5402, "TCSETS"},     {0x5403, "TCSETSW"},
    {0x5404, "TCSETSF"},        {0x5409, "TCSBRK"},     {0x540a, "TCXONC"},
    {0x540b, "TCFLSH"},         {0x540e, "TIOCSCTTY"},  {0x540f, "TIOCGPGRP"},
    {0x5410, "TIOCSPGRP"},      {0x5411, "TIOCOUTQ"},   {0x5413, "TIOCGWINSZ"},
    {0x5414, "TIOCSWINSZ"},     {0x541b, "FIONREAD"},   {0x5421, "FIONBIO"},
    {0x5422, "TIOCNOTTY"},      {0x5429, "TIOCGSID"},   {0x5450, "FIONCLEX"},
    {0x5451, "FIOCLEX"},        {0x5452, "FIOASYNC"},   {0x80045430, "TIOCGPTN"},
    {0x40045431, "TIOCSPTLCK"}, {0x40049409, "FICLONE"}};
constexpr Name kAccess[] = {NAME(R_OK), NAME(W_OK), NAME(X_OK)};
constexpr Name kAt[] = {{0x100, "AT_SYMLINK_NOFOLLOW"}, {0x200, "AT_REMOVEDIR"},
                        {0x400, "AT_SYMLINK_FOLLOW"},   {0x800, "AT_NO_AUTOMOUNT"},
                        {0x1000, "AT_EMPTY_PATH"},      {0x2000, "AT_STATX_FORCE_SYNC"},
                        {0x4000, "AT_STATX_DONT_SYNC"}, {0x8000, "AT_RECURSIVE"}};
constexpr Name kResource[] = {
    NAME(RLIMIT_CPU),      NAME(RLIMIT_FSIZE), NAME(RLIMIT_DATA),   NAME(RLIMIT_STACK),
    NAME(RLIMIT_CORE),     NAME(RLIMIT_RSS),   NAME(RLIMIT_NPROC),  NAME(RLIMIT_NOFILE),
    NAME(RLIMIT_MEMLOCK),  NAME(RLIMIT_AS),    NAME(RLIMIT_LOCKS),  NAME(RLIMIT_SIGPENDING),
    NAME(RLIMIT_MSGQUEUE), NAME(RLIMIT_NICE),  NAME(RLIMIT_RTPRIO), NAME(RLIMIT_RTTIME)};
constexpr Name kFamily[] = {NAME(AF_UNSPEC),  NAME(AF_UNIX),   NAME(AF_INET), NAME(AF_INET6),
                            NAME(AF_NETLINK), NAME(AF_PACKET), NAME(AF_VSOCK)};
constexpr Name kSockType[] = {NAME(SOCK_STREAM), NAME(SOCK_DGRAM), NAME(SOCK_RAW),
                              NAME(SOCK_SEQPACKET)};
constexpr Name kSockFlags[] = {NAME(SOCK_NONBLOCK), NAME(SOCK_CLOEXEC)};
constexpr Name kAdvice[] = {NAME(MADV_NORMAL),           NAME(MADV_RANDOM),
                            NAME(MADV_SEQUENTIAL),       NAME(MADV_WILLNEED),
                            NAME(MADV_DONTNEED),         NAME(MADV_FREE),
                            NAME(MADV_REMOVE),           NAME(MADV_DONTFORK),
                            NAME(MADV_DOFORK),           NAME(MADV_MERGEABLE),
                            NAME(MADV_UNMERGEABLE),      NAME(MADV_HUGEPAGE),
                            NAME(MADV_NOHUGEPAGE),       NAME(MADV_DONTDUMP),
                            NAME(MADV_DODUMP),           NAME(MADV_WIPEONFORK),
                            NAME(MADV_KEEPONFORK),       NAME(MADV_COLD),
                            NAME(MADV_PAGEOUT),          {22, "MADV_POPULATE_READ"},
                            {23, "MADV_POPULATE_WRITE"}, {24, "MADV_DONTNEED_LOCKED"},
                            {25, "MADV_COLLAPSE"}};
constexpr Name kMaskHow[] = {{0, "SIG_BLOCK"}, {1, "SIG_UNBLOCK"}, {2, "SIG_SETMASK"}};
constexpr Name kPrctl[] = {NAME(PR_SET_PDEATHSIG),
                           NAME(PR_GET_PDEATHSIG),
                           NAME(PR_GET_DUMPABLE),
                           NAME(PR_SET_DUMPABLE),
                           NAME(PR_GET_KEEPCAPS),
                           NAME(PR_SET_KEEPCAPS),
                           NAME(PR_SET_NAME),
                           NAME(PR_GET_NAME),
                           NAME(PR_GET_SECCOMP),
                           NAME(PR_SET_SECCOMP),
                           NAME(PR_CAPBSET_READ),
                           NAME(PR_CAPBSET_DROP),
                           NAME(PR_GET_SECUREBITS),
                           NAME(PR_SET_SECUREBITS),
                           NAME(PR_SET_TIMERSLACK),
                           NAME(PR_GET_TIMERSLACK),
                           NAME(PR_SET_MM),
                           NAME(PR_SET_CHILD_SUBREAPER),
                           NAME(PR_GET_CHILD_SUBREAPER),
                           NAME(PR_SET_NO_NEW_PRIVS),
                           NAME(PR_GET_NO_NEW_PRIVS),
                           NAME(PR_GET_THP_DISABLE),
                           NAME(PR_SET_THP_DISABLE),
                           NAME(PR_CAP_AMBIENT),
                           {0x53564d41, "PR_SET_VMA"}};
constexpr Name kArchPrctl[] = {{0x1001, "ARCH_SET_GS"},    {0x1002, "ARCH_SET_FS"},
                               {0x1003, "ARCH_GET_FS"},    {0x1004, "ARCH_GET_GS"},
                               {0x1011, "ARCH_GET_CPUID"}, {0x1012, "ARCH_SET_CPUID"},
                               {0x3001, "ARCH_CET_STATUS"}};
constexpr Name kFdFlags[] = {
    {0x80000, "O_CLOEXEC"}, {0x800, "O_NONBLOCK"}, {0x4000, "O_DIRECT"}, {1, "EFD_SEMAPHORE"}};
constexpr Name kRandom[] = {NAME(GRND_NONBLOCK), NAME(GRND_RANDOM), {4, "GRND_INSECURE"}};
constexpr Name kItimer[] = {NAME(ITIMER_REAL), NAME(ITIMER_VIRTUAL), NAME(ITIMER_PROF)};
constexpr Name kSched[] = {NAME(SCHED_OTHER),  NAME(SCHED_FIFO),  NAME(SCHED_RR),
                           {3, "SCHED_BATCH"}, {5, "SCHED_IDLE"}, {6, "SCHED_DEADLINE"}};
constexpr Name kMsync[] = {NAME(MS_ASYNC), NAME(MS_INVALIDATE), NAME(MS_SYNC)};
constexpr Name kMremap[] = {{1, "MREMAP_MAYMOVE"}, {2, "MREMAP_FIXED"}, {4, "MREMAP_DONTUNMAP"}};
constexpr Name kMemfd[] = {{1, "MFD_CLOEXEC"},
                           {2, "MFD_ALLOW_SEALING"},
                           {4, "MFD_HUGETLB"},
                           {8, "MFD_NOEXEC_SEAL"},
                           {16, "MFD_EXEC"}};
constexpr Name kRw[] = {
    {1, "RWF_HIPRI"}, {2, "RWF_DSYNC"}, {4, "RWF_SYNC"}, {8, "RWF_NOWAIT"}, {16, "RWF_APPEND"}};
constexpr Name kPoll[] = {NAME(POLLIN),          NAME(POLLPRI),        NAME(POLLOUT),
                          NAME(POLLERR),         NAME(POLLHUP),        NAME(POLLNVAL),
                          {0x40, "POLLRDNORM"},  {0x80, "POLLRDBAND"}, {0x100, "POLLWRNORM"},
                          {0x200, "POLLWRBAND"}, {0x2000, "POLLRDHUP"}};
constexpr Name kEpoll[] = {{1, "EPOLLIN"},
                           {2, "EPOLLPRI"},
                           {4, "EPOLLOUT"},
                           {8, "EPOLLERR"},
                           {0x10, "EPOLLHUP"},
                           {0x40, "EPOLLRDNORM"},
                           {0x2000, "EPOLLRDHUP"},
                           {1u << 28, "EPOLLEXCLUSIVE"},
                           {1u << 29, "EPOLLWAKEUP"},
                           {1u << 30, "EPOLLONESHOT"},
                           {1u << 31, "EPOLLET"}};
#undef NAME

constexpr const char* kSignals[] = {
    "0",         "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
    "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
    "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
    "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS"};

std::string Enum(Names names, uint64_t value) {
  for (const Name& n : names) {
    if (n.value == value) return n.name;
  }
  return absl::StrCat("0x", absl::Hex(value));
}

// "A|B|0x8"; `none` when no bit is set.
std::string Flags(Names names, uint64_t value, const char* none = "0") {
  std::string out;
  for (const Name& n : names) {
    if (n.value == 0 || (value & n.value) != n.value) continue;
    absl::StrAppend(&out, out.empty() ? "" : "|", n.name);
    value &= ~n.value;
  }
  if (value != 0) absl::StrAppend(&out, out.empty() ? "" : "|", "0x", absl::Hex(value));
  return out.empty() ? none : out;
}

// An enumeration in the low bits (`mask`) followed by flags.
std::string EnumAndFlags(Names values, uint64_t mask, Names flags, uint64_t value) {
  std::string out = Enum(values, value & mask);
  if ((value & ~mask) != 0) absl::StrAppend(&out, "|", Flags(flags, value & ~mask));
  return out;
}

std::string CloneFlagNames(uint64_t value) {
  std::string out = Flags(kClone, value & ~uint64_t{0xff}, "");
  const int signo = static_cast<int>(value & 0xff);
  if (signo != 0) absl::StrAppend(&out, out.empty() ? "" : "|", SignalName(signo));
  return out.empty() ? "0" : out;
}

}  // namespace

std::string SignalName(int signo) {
  if (signo >= 0 && signo < 32) return kSignals[signo];
  if (signo >= 32 && signo <= 64) {
    return signo == 32 ? "SIGRTMIN" : absl::StrCat("SIGRT_", signo - 32);
  }
  return absl::StrCat(signo);
}

std::string EpollEventNames(uint32_t events) { return Flags(kEpoll, events); }
std::string PollEventNames(uint32_t events) { return Flags(kPoll, events); }

std::string FlagNames(ArgKind kind, uint64_t value) {
  const uint64_t low = value & 0xffffffff;  // what the kernel looks at for an int or unsigned
  switch (kind) {
    case ArgKind::kOpenFlags:
      return EnumAndFlags(kAccMode, O_ACCMODE, kOpen, low);
    case ArgKind::kWhence:
      return Enum(kWhence, low);
    case ArgKind::kProt:
      return Flags(kProt, value, "PROT_NONE");
    case ArgKind::kMapFlags:
      return EnumAndFlags(kMapType, 0xf, kMap, value);
    case ArgKind::kSignal:
      return SignalName(static_cast<int>(value));
    case ArgKind::kCloneFlags:
      return CloneFlagNames(value);
    case ArgKind::kWaitOptions:
      return Flags(kWait, low);
    case ArgKind::kIdType:
      return Enum(kIdType, low);
    case ArgKind::kFutexOp:
      return EnumAndFlags(kFutex, 0x7f, kFutexFlags, low);
    case ArgKind::kClockId:
      return Enum(kClock, low);
    case ArgKind::kEpollOp:
      return Enum(kEpollOp, low);
    case ArgKind::kFcntlCmd:
      return Enum(kFcntl, low);
    case ArgKind::kIoctlCmd:
      return Enum(kIoctl, low);
    case ArgKind::kAccessMode:
      return Flags(kAccess, low, "F_OK");
    case ArgKind::kAtFlags:
      return Flags(kAt, low);
    case ArgKind::kResource:
      return Enum(kResource, low);
    case ArgKind::kFamily:
      return Enum(kFamily, low);
    case ArgKind::kSockType:
      return EnumAndFlags(kSockType, 0xf, kSockFlags, low);
    case ArgKind::kAdvice:
      return Enum(kAdvice, low);
    case ArgKind::kMaskHow:
      return Enum(kMaskHow, low);
    case ArgKind::kPrctlOp:
      return Enum(kPrctl, low);
    case ArgKind::kArchPrctlOp:
      return Enum(kArchPrctl, low);
    case ArgKind::kFdFlags:
      return Flags(kFdFlags, low);
    case ArgKind::kRandomFlags:
      return Flags(kRandom, low);
    case ArgKind::kItimer:
      return Enum(kItimer, low);
    case ArgKind::kSchedPolicy:
      return Enum(kSched, low);
    case ArgKind::kMsyncFlags:
      return Flags(kMsync, low);
    case ArgKind::kMremapFlags:
      return Flags(kMremap, low);
    case ArgKind::kMemfdFlags:
      return Flags(kMemfd, low);
    case ArgKind::kRwFlags:
      return Flags(kRw, low);
    default:
      return absl::StrCat(value);
  }
}

}  // namespace ringfence::sentry
