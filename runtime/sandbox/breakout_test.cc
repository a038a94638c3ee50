// Processes that are confined as sentry and gofer are, by the same code, and then do one thing that
// they may not: each is stopped. This test's own binary plays both.
#define CATCH_CONFIG_RUNNER
#define CATCH_CONFIG_NO_POSIX_SIGNALS
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "runtime/confine/calls.h"
#include "runtime/confine/filter.h"
#include "runtime/sandbox/child.h"
#include "runtime/sandbox/confine.h"
#include "runtime/sandbox/id_map.h"

namespace ringfence::runtime {
namespace {

// How a process ended that tried: it got through, or was refused with an errno. Else SIGSYS.
constexpr int kGotThrough = 50;
constexpr int kRefused = 60;

// What the attempts have at hand; `tree` is the gofer's only.
struct Hands {
  UniqueFd tree;
  UniqueFd self_fd;
};
using Attempt = std::function<long(const Hands&)>;
using Attempts = std::map<std::string, Attempt>;

long Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  return syscall(number, a, b, c, d, e);
}
template <typename T>
long Address(T* p) {
  return reinterpret_cast<long>(p);
}

open_how how = {.flags = O_RDONLY, .mode = 0, .resolve = 0};
char page[4096];
sockaddr_in local = {.sin_family = AF_INET, .sin_port = 1, .sin_addr = {}, .sin_zero = {}};

// Neither of the two may do these; all end the process.
const Attempts& OfBoth() {
  static const Attempts attempts = {
      {"open", [](const Hands&) { return Call(SYS_open, Address("/etc/passwd")); }},
      {"creat", [](const Hands&) { return Call(SYS_creat, Address("/x"), 0600); }},
      {"execve", [](const Hands&) { return Call(SYS_execve, Address("/bin/sh")); }},
      {"execveat", [](const Hands&) { return Call(SYS_execveat, 0, Address(""), 0, 0, 0x1000); }},
      {"memfd_create", [](const Hands&) { return Call(SYS_memfd_create, Address("x")); }},
      {"fork", [](const Hands&) { return Call(SYS_fork); }},
      {"vfork", [](const Hands&) { return Call(SYS_vfork); }},
      {"clone", [](const Hands&) { return Call(SYS_clone, SIGCHLD); }},
      {"clone_user", [](const Hands&) { return Call(SYS_clone, CLONE_NEWUSER | SIGCHLD); }},
      {"unshare", [](const Hands&) { return Call(SYS_unshare, CLONE_NEWUSER); }},
      {"setns", [](const Hands&) { return Call(SYS_setns, 0, 0); }},
      {"ptrace", [](const Hands&) { return Call(SYS_ptrace, PTRACE_TRACEME); }},
      {"process_vm_readv", [](const Hands&) { return Call(SYS_process_vm_readv, 1); }},
      {"process_vm_writev", [](const Hands&) { return Call(SYS_process_vm_writev, 1); }},
      {"pidfd_open", [](const Hands&) { return Call(SYS_pidfd_open, 1); }},
      {"pidfd_getfd", [](const Hands&) { return Call(SYS_pidfd_getfd, 0, 0); }},
      {"kill", [](const Hands&) { return Call(SYS_kill, -1, SIGTERM); }},
      {"tkill", [](const Hands&) { return Call(SYS_tkill, 2, SIGTERM); }},
      {"tgkill_other", [](const Hands&) { return Call(SYS_tgkill, 2, 2, SIGTERM); }},
      {"sigqueue", [](const Hands&) { return Call(SYS_rt_sigqueueinfo, 2, SIGTERM); }},
      {"socket", [](const Hands&) { return Call(SYS_socket, AF_INET, SOCK_STREAM, 0); }},
      {"socketpair", [](const Hands&) { return Call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0); }},
      {"connect", [](const Hands&) { return Call(SYS_connect, 0, Address(&local), 16); }},
      {"bind", [](const Hands&) { return Call(SYS_bind, 0, Address(&local), 16); }},
      {"listen", [](const Hands&) { return Call(SYS_listen, 0, 1); }},
      {"accept4", [](const Hands&) { return Call(SYS_accept4, 0); }},
      {"mount", [](const Hands&) { return Call(SYS_mount, 0, Address("/"), Address("tmpfs")); }},
      {"umount2", [](const Hands&) { return Call(SYS_umount2, Address("/")); }},
      {"pivot_root", [](const Hands&) { return Call(SYS_pivot_root, Address("/"), Address("/")); }},
      {"chroot", [](const Hands&) { return Call(SYS_chroot, Address("/")); }},
      {"open_tree", [](const Hands&) { return Call(SYS_open_tree, AT_FDCWD, Address("/")); }},
      {"fsopen", [](const Hands&) { return Call(SYS_fsopen, Address("proc")); }},
      {"open_by_handle", [](const Hands&) { return Call(SYS_open_by_handle_at, 0, 0); }},
      {"setuid", [](const Hands&) { return Call(SYS_setuid, 0); }},
      {"setresuid", [](const Hands&) { return Call(SYS_setresuid, 0, 0, 0); }},
      {"setgroups", [](const Hands&) { return Call(SYS_setgroups, 0); }},
      {"capset", [](const Hands&) { return Call(SYS_capset, 0); }},
      {"keyctl", [](const Hands&) { return Call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3); }},
      {"add_key", [](const Hands&) { return Call(SYS_add_key, 0); }},
      {"io_uring", [](const Hands&) { return Call(SYS_io_uring_setup, 1, Address(page)); }},
      {"bpf", [](const Hands&) { return Call(SYS_bpf, 0, Address(page), 64); }},
      {"perf", [](const Hands&) { return Call(SYS_perf_event_open, Address(page)); }},
      {"userfaultfd", [](const Hands&) { return Call(SYS_userfaultfd, 0); }},
      {"seccomp", [](const Hands&) { return Call(SYS_seccomp, 0, 0, 0); }},
      {"shmget", [](const Hands&) { return Call(SYS_shmget, 0, 4096, 0600); }},
      {"msgget", [](const Hands&) { return Call(SYS_msgget, 0, 0600); }},
      {"prlimit", [](const Hands&) { return Call(SYS_prlimit64, 0, RLIMIT_CORE, 0, 0); }},
      {"dumpable", [](const Hands&) { return Call(SYS_prctl, PR_SET_DUMPABLE, 1); }},
      {"ambient", [](const Hands&) { return Call(SYS_prctl, PR_CAP_AMBIENT, 2, 0); }},
      {"ptracer", [](const Hands&) { return Call(SYS_prctl, 0x59616d61, -1); }},
      {"personality", [](const Hands&) { return Call(SYS_personality, 0xffffffff); }},
      {"iopl", [](const Hands&) { return Call(SYS_iopl, 3); }},
      {"mmap_exec",
       [](const Hands&) {
         return Call(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
       }},
      {"mprotect_exec",
       [](const Hands&) { return Call(SYS_mprotect, Address(page) & -4096, 4096, PROT_EXEC); }},
      {"pkey_mprotect",
       [](const Hands&) { return Call(SYS_pkey_mprotect, Address(page) & -4096, 4096, 4, -1); }},
      {"kvm_create_vm", [](const Hands&) { return Call(SYS_ioctl, 0, KVM_CREATE_VM); }},
      {"kvm_get_regs", [](const Hands&) { return Call(SYS_ioctl, 0, KVM_GET_REGS); }},
      {"tiocsti", [](const Hands&) { return Call(SYS_ioctl, 0, TIOCSTI, Address("x")); }},
      {"tiocsctty", [](const Hands&) { return Call(SYS_ioctl, 0, TIOCSCTTY); }},
      {"ioctl_upper_half",
       [](const Hands&) { return Call(SYS_ioctl, 0, long{TCGETS} | long{1} << 32); }},
      {"x32", [](const Hands&) { return Call(SYS_getpid | 0x40000000); }},
      {"int80",
       [](const Hands&) {
         long result = 20;  // getpid of 32-bit programs
         asm volatile("int $0x80" : "+a"(result)::"memory");
         return result;
       }},
      {"in_a_thread",
       [](const Hands&) {
         std::thread([] { Call(SYS_socket, AF_INET, SOCK_STREAM, 0); }).join();
         return 0L;
       }},
  };
  return attempts;
}

const Attempts& OfSentry() {
  static const Attempts attempts = {
      {"openat2",
       [](const Hands&) {
         return Call(SYS_openat2, AT_FDCWD, Address("/"), Address(&how), sizeof(how));
       }},
      {"mkdirat", [](const Hands&) { return Call(SYS_mkdirat, AT_FDCWD, Address("x"), 0700); }},
      {"unlinkat", [](const Hands&) { return Call(SYS_unlinkat, AT_FDCWD, Address("x")); }},
      {"getdents", [](const Hands&) { return Call(SYS_getdents64, 0, Address(page), 4096); }},
      {"readlinkat", [](const Hands&) { return Call(SYS_readlinkat, AT_FDCWD, Address("x")); }},
      {"chdir", [](const Hands&) { return Call(SYS_chdir, Address("/")); }},
      {"dup_command", [](const Hands&) { return Call(SYS_fcntl, 0, F_SETOWN, 1); }},
  };
  return attempts;
}

// What the gofer's filter lets through in general, refused by where it is.
const Attempts& OfGoferByWorld() {
  static const Attempts attempts = {
      {"absolute_path",
       [](const Hands&) {
         return Call(SYS_openat2, AT_FDCWD, Address("/etc/passwd"), Address(&how), sizeof(how));
       }},
      {"above_the_tree",
       [](const Hands& hands) {
         return Call(SYS_openat, hands.tree.get(), Address("../../../../etc/passwd"), O_RDONLY);
       }},
      {"above_self_fd",
       [](const Hands& hands) {
         return Call(SYS_openat, hands.self_fd.get(), Address("../status"), O_RDONLY);
       }},
      {"write_to_what_is_read",
       [](const Hands& hands) {
         return Call(SYS_openat, hands.tree.get(), Address("new"), O_CREAT | O_WRONLY, 0600);
       }},
      {"unlink_in_what_is_read",
       [](const Hands& hands) { return Call(SYS_unlinkat, hands.tree.get(), Address("file"), 0); }},
  };
  return attempts;
}

const Attempts& OfGofer() {
  static const Attempts attempts = {
      {"device_node",
       [](const Hands& hands) {
         return Call(SYS_mknodat, hands.tree.get(), Address("d"), S_IFBLK | 0600, makedev(8, 0));
       }},
      {"chown_by_path", [](const Hands&) { return Call(SYS_chown, Address("/"), 0, 0); }},
      {"kvm_run", [](const Hands&) { return Call(SYS_ioctl, 0, KVM_RUN); }},
  };
  return attempts;
}

const Attempts& OfBothRefused() {
  static const Attempts attempts = {
      {"clone3", [](const Hands&) { return Call(SYS_clone3, Address(page), 64); }},
      {"openat", [](const Hands&) { return Call(SYS_openat, AT_FDCWD, Address("/etc/passwd")); }},
  };
  return attempts;
}

const Attempt& Find(const std::string& name) {
  for (const Attempts* attempts :
       {&OfBoth(), &OfSentry(), &OfGofer(), &OfGoferByWorld(), &OfBothRefused()}) {
    const auto found = attempts->find(name);
    if (found != attempts->end()) return found->second;
  }
  _exit(98);
}

// Arguments: the descriptors control and root, and one more whose name says what to try.
[[noreturn]] void RunRole(std::string_view role, const std::string& attempt,
                          ChildArguments arguments) {
  ControlSocket control(arguments.Take("control"));
  WarmUpLibraries();
  Hands hands = {.tree = arguments.Take("root"), .self_fd = {}};
  absl::Status status;
  if (role == kGoferRole) {
    status = ConfineGofer(arguments, &control, {{&hands.tree, gofer::TreeAccess::kRead}},
                          &hands.self_fd);
  } else {
    hands.tree.Reset();
    status = ConfineSentry(arguments, &control);
  }
  if (status.ok()) {
    status = FilterCalls({.process = role,
                          .calls = role == kGoferRole ? GoferCalls() : SentryCalls(),
                          .report = arguments.reports_calls()},
                         &control);
  }
  if (!status.ok()) {
    (void)control.Send({.kind = MessageKind::kFailed, .value = 1, .text = status.ToString()});
    _exit(99);
  }
  if (attempt == "nothing") _exit(0);
  const long result = Find(attempt)(hands);
  _exit(result < 0 ? kRefused : kGotThrough);
}

class Tree {
 public:
  Tree() {
    REQUIRE(mkdtemp(path_) != nullptr);
    fd_.Reset(open(path_, O_PATH | O_DIRECTORY | O_CLOEXEC));
    const UniqueFd file(openat(fd_.get(), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  }
  ~Tree() {
    unlinkat(fd_.get(), "file", 0);
    rmdir(path_);
  }
  int fd() const { return fd_.get(); }
  bool HasOnlyFile() const {
    struct stat s;
    return fstatat(fd_.get(), "file", &s, 0) == 0 && fstatat(fd_.get(), "new", &s, 0) != 0;
  }

 private:
  char path_[32] = "/tmp/ringfence-breakout-XXXXXX";
  UniqueFd fd_;
};

struct Ending {
  int status;
  std::string said;
};

Ending Try(std::string_view role, const std::string& attempt, const Tree& tree,
           bool reports = false) {
  INFO(std::string(role) << " " << attempt);
  const Caller caller = ReadCaller().value();
  auto control = ControlSocket::MakePair().value();
  const bool gofer = role == kGoferRole;
  ChildOptions options = {.role = role,
                          .fds = {{"control", control.second.fd()}, {attempt, tree.fd()}},
                          .own_namespaces = true,
                          .capabilities = gofer ? GoferStartCapabilities(caller.may_map_any)
                                                : SentryStartCapabilities(),
                          .reports_calls = reports};
  const UniqueFd root(fcntl(tree.fd(), F_DUPFD_CLOEXEC, 3));
  options.fds.push_back({"root", root.get()});
  const auto pid = SpawnSelf(options);
  if (!pid.ok()) return {-1, std::string(pid.status().message())};
  const absl::Status mapped = WriteIdMaps(*pid, gofer ? GoferIdMaps(caller) : SentryIdMaps(caller));
  if (!mapped.ok()) return {-1, std::string(mapped.message())};
  (void)control.first.Send({.kind = MessageKind::kMapped, .text = {}});
  control.second.Close();
  std::string said;
  if (const auto message = control.first.Receive()) said = message->text;
  int status = 0;
  waitpid(*pid, &status, 0);
  return {status, said};
}

void CheckKilled(std::string_view role, const Attempts& attempts, const Tree& tree) {
  for (const auto& [name, attempt] : attempts) {
    const Ending ending = Try(role, name, tree);
    INFO(std::string(role) << " " << name << ": status " << ending.status << " " << ending.said);
    CHECK(WIFSIGNALED(ending.status));
    CHECK(WTERMSIG(ending.status) == SIGSYS);
  }
}

void CheckRefused(std::string_view role, const Attempts& attempts, const Tree& tree) {
  for (const auto& [name, attempt] : attempts) {
    const Ending ending = Try(role, name, tree);
    INFO(std::string(role) << " " << name << ": status " << ending.status << " " << ending.said);
    CHECK(WIFEXITED(ending.status));
    CHECK(WEXITSTATUS(ending.status) == kRefused);
  }
}

TEST_CASE("a confined process that tries nothing ends well") {
  const Tree tree;
  for (const std::string_view role : {kSentryRole, kGoferRole}) {
    const Ending ending = Try(role, "nothing", tree);
    INFO(ending.said);
    CHECK(ending.status == 0);
  }
}

TEST_CASE("each attempt of a sentry is stopped") {
  const Tree tree;
  CheckKilled(kSentryRole, OfBoth(), tree);
  CheckKilled(kSentryRole, OfSentry(), tree);
  CheckRefused(kSentryRole, OfBothRefused(), tree);
}

TEST_CASE("each attempt of a gofer is stopped") {
  const Tree tree;
  CheckKilled(kGoferRole, OfBoth(), tree);
  CheckKilled(kGoferRole, OfGofer(), tree);
  CheckRefused(kGoferRole, OfGoferByWorld(), tree);
  CheckRefused(kGoferRole, OfBothRefused(), tree);
  CHECK(tree.HasOnlyFile());
}

TEST_CASE("with a log, the call is told and the process ends") {
  const Tree tree;
  const Ending ending = Try(kSentryRole, "socket", tree, true);
  CHECK(WIFEXITED(ending.status));
  CHECK(WEXITSTATUS(ending.status) == 1);
  CHECK_THAT(ending.said,
             Catch::StartsWith("the sentry made a forbidden system call: socket(0x2, 0x1, 0x0"));
}

}  // namespace

int Main(int argc, char** argv) {
  const std::string_view role = argc > 1 ? argv[1] : "";
  if (role != kSentryRole && role != kGoferRole) return Catch::Session().run(argc, argv);
  const std::vector<std::string_view> words(argv + 2, argv + argc);
  auto arguments = ChildArguments::Parse(words);
  if (!arguments.ok()) return 97;
  std::string attempt;
  for (const std::string_view word : words) {
    const std::string_view name = word.substr(0, word.find('='));
    const bool known =
        name == "confined" || name == "reports-calls" || name == "root" || name == "control";
    if (!known) attempt = name;
  }
  // Only the name counts: a sentry has no directory.
  arguments->Take(attempt).Reset();
  RunRole(role, attempt, *std::move(arguments));
}

}  // namespace ringfence::runtime

int main(int argc, char** argv) { return ringfence::runtime::Main(argc, argv); }
