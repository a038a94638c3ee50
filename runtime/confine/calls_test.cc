#include "runtime/confine/calls.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "platform/seccomp/arch/audit_arch.h"
#include "platform/seccomp/filter.h"
#include "platform/seccomp/testing_filter.h"
#include "runtime/confine/arch/x86_64/thread_flags.h"
#include "runtime/confine/calls_page.h"

namespace ringfence::runtime {
namespace {

using Rules = std::span<const seccomp::Rule>;

std::set<int> Allowed(Rules rules) {
  std::set<int> calls;
  for (const seccomp::Rule& rule : rules) {
    if (rule.error == 0) calls.insert(rule.call);
  }
  return calls;
}

uint32_t Verdict(Rules rules, int call, std::initializer_list<uint64_t> args) {
  const auto filter = seccomp::Filter::Compile(rules, seccomp::Violation::kKill);
  REQUIRE(filter.ok());
  seccomp_data data = {};
  data.nr = call;
  data.arch = seccomp::kArch;
  std::copy(args.begin(), args.end(), data.args);
  return seccomp::RunProgram(filter->Program().value(), data);
}

TEST_CASE("the filters in the kernel are the tables") {
  for (const Rules rules : {SentryCalls(), GoferCalls()}) {
    for (const auto& [violation, action] :
         {std::pair{seccomp::Violation::kKill, SECCOMP_RET_KILL_PROCESS},
          std::pair{seccomp::Violation::kTrap, SECCOMP_RET_TRAP}}) {
      const auto filter = seccomp::Filter::Compile(rules, violation);
      REQUIRE(filter.ok());
      CHECK(seccomp::Disagreement(rules, filter->Program().value(), action) == "");
    }
  }
}

TEST_CASE("the sentry: at most 75 calls, none that opens, executes, traces or connects") {
  const std::set<int> calls = Allowed(SentryCalls());
  CHECK(calls.size() <= 75);
  for (const int call : {SYS_open,
                         SYS_openat,
                         SYS_openat2,
                         SYS_creat,
                         SYS_open_by_handle_at,
                         SYS_open_tree,
                         SYS_execve,
                         SYS_execveat,
                         SYS_ptrace,
                         SYS_fork,
                         SYS_vfork,
                         SYS_clone3,
                         SYS_socket,
                         SYS_socketpair,
                         SYS_connect,
                         SYS_bind,
                         SYS_accept4,
                         SYS_kill,
                         SYS_tkill,
                         SYS_io_uring_setup,
                         SYS_bpf,
                         SYS_keyctl,
                         SYS_process_vm_readv,
                         SYS_mount,
                         SYS_unshare,
                         SYS_setns,
                         SYS_setuid,
                         SYS_memfd_create,
                         SYS_pidfd_open,
                         SYS_pidfd_getfd,
                         SYS_userfaultfd,
                         SYS_perf_event_open,
                         SYS_seccomp,
                         SYS_rt_sigqueueinfo,
                         SYS_rt_tgsigqueueinfo,
                         SYS_prlimit64}) {
    INFO(seccomp::CallName(call));
    CHECK(calls.count(call) == 0);
  }
}

TEST_CASE("the gofer: no network, program, process, trace or mount") {
  const std::set<int> calls = Allowed(GoferCalls());
  for (const int call : {SYS_execve,
                         SYS_execveat,
                         SYS_ptrace,
                         SYS_fork,
                         SYS_vfork,
                         SYS_clone3,
                         SYS_socket,
                         SYS_socketpair,
                         SYS_connect,
                         SYS_bind,
                         SYS_listen,
                         SYS_accept4,
                         SYS_kill,
                         SYS_tkill,
                         SYS_io_uring_setup,
                         SYS_bpf,
                         SYS_keyctl,
                         SYS_process_vm_readv,
                         SYS_mount,
                         SYS_umount2,
                         SYS_pivot_root,
                         SYS_chroot,
                         SYS_fsopen,
                         SYS_open_tree,
                         SYS_move_mount,
                         SYS_mount_setattr,
                         SYS_unshare,
                         SYS_setns,
                         SYS_setuid,
                         SYS_capset,
                         SYS_memfd_create,
                         SYS_pidfd_open,
                         SYS_name_to_handle_at,
                         SYS_open_by_handle_at,
                         SYS_userfaultfd,
                         SYS_perf_event_open}) {
    INFO(seccomp::CallName(call));
    CHECK(calls.count(call) == 0);
  }
}

TEST_CASE("both: no process by clone, no code in memory, no signals to others") {
  for (const Rules rules : {SentryCalls(), GoferCalls()}) {
    CHECK(Verdict(rules, SYS_clone, {kThreadFlags}) == SECCOMP_RET_ALLOW);
    CHECK(Verdict(rules, SYS_clone, {SIGCHLD}) == SECCOMP_RET_KILL_PROCESS);
    CHECK(Verdict(rules, SYS_clone, {kThreadFlags & ~uint64_t{CLONE_THREAD}}) ==
          SECCOMP_RET_KILL_PROCESS);
    CHECK(Verdict(rules, SYS_clone, {kThreadFlags | CLONE_NEWUSER}) == SECCOMP_RET_KILL_PROCESS);
    CHECK(Verdict(rules, SYS_clone3, {}) == (SECCOMP_RET_ERRNO | ENOSYS));
    for (const int call : {SYS_mmap, SYS_mprotect}) {
      CHECK(Verdict(rules, call, {0, 4096, PROT_READ | PROT_WRITE}) == SECCOMP_RET_ALLOW);
      CHECK(Verdict(rules, call, {0, 4096, PROT_READ | PROT_EXEC}) == SECCOMP_RET_KILL_PROCESS);
    }
    CHECK(Verdict(rules, SYS_tgkill, {kOwnPid, 7, SIGKILL}) == SECCOMP_RET_ALLOW);
    CHECK(Verdict(rules, SYS_tgkill, {2, 2, SIGKILL}) == SECCOMP_RET_KILL_PROCESS);
  }
}

TEST_CASE("docs/confinement_calls.md is the tables") {
  std::ifstream file("docs/confinement_calls.md");
  std::stringstream page;
  page << file.rdbuf();
  CHECK(page.str() == CallsPage());  // make docs
}

TEST_CASE("each line has a reason of its own line") {
  for (const Rules rules : {SentryCalls(), GoferCalls()}) {
    for (const seccomp::Rule& rule : rules) {
      const std::string reason = rule.reason;
      INFO(seccomp::CallName(rule.call));
      CHECK(reason.size() >= 4);
      CHECK(reason.find('\n') == reason.npos);
    }
  }
}

}  // namespace
}  // namespace ringfence::runtime
