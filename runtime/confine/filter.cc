#include "runtime/confine/filter.h"

#include <grpc/support/cpu.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/base/internal/sysinfo.h"
#include "absl/strings/str_cat.h"
#include "platform/base/host_cpus.h"
#include "platform/seccomp/filter.h"
#include "runtime/confine/call_arguments.h"

namespace ringfence::runtime {
namespace {

constexpr int kFailure = 1;

// What the handler needs; set once, before the filter.
struct Reporter {
  std::string process;
  ControlSocket* control = nullptr;
};
Reporter* reporter = nullptr;

// Allocates, which a handler should not: a forbidden call of the allocator itself hangs here. That
// is for a person who debugs to see.
[[noreturn]] void ReportCall(int, siginfo_t* info, void* context) {
  std::string text =
      absl::StrCat("the ", reporter->process,
                   " made a forbidden system call: ", seccomp::CallName(info->si_syscall), "(");
  const char* separator = "";
  for (const uint64_t argument : CallArguments(context)) {
    absl::StrAppend(&text, separator, "0x", absl::Hex(argument));
    separator = ", ";
  }
  absl::StrAppend(&text, ")");
  (void)reporter->control->Send(
      {.kind = MessageKind::kFailed, .value = kFailure, .text = std::move(text)});
  _exit(kFailure);
}

absl::Status CatchReports(std::string_view process, ControlSocket* control) {
  reporter = new Reporter{.process = std::string(process), .control = control};
  struct sigaction action = {};
  action.sa_sigaction = ReportCall;
  action.sa_flags = SA_SIGINFO;
  if (sigaction(SIGSYS, &action, nullptr) != 0) return absl::ErrnoToStatus(errno, "sigaction");
  return absl::OkStatus();
}

}  // namespace

void WarmUpLibraries() {
  // Each keeps what it has read. absl asks in the slow path of its locks.
  (void)OnlineHostCpus();
  (void)gpr_cpu_num_cores();
  (void)absl::base_internal::NumCPUs();
  (void)absl::base_internal::NominalCPUFrequency();
  // glibc counts CPUs when it has many arenas already, and decides for this many then.
  constexpr int kArenasPerCpu = 8;
  mallopt(M_ARENA_MAX, kArenasPerCpu * OnlineHostCpus());
}

absl::Status FilterCalls(const FilterOptions& options, ControlSocket* control) {
  const auto filter = seccomp::Filter::Compile(
      options.calls, options.report ? seccomp::Violation::kTrap : seccomp::Violation::kKill);
  if (!filter.ok()) return filter.status();
  if (options.report) {
    absl::Status caught = CatchReports(options.process, control);
    if (!caught.ok()) return caught;
  }
  return filter->Install();
}

}  // namespace ringfence::runtime
