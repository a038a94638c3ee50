// The mutant of the product: the same sentry, whose dispatcher answers ENOSYS for one row.
//
// Linked into //runtime/main:ringfence_mutant only, with --wrap for the two functions below: every
// other object is the product's own, and the product has no hook. The row is named by the variable
// RINGFENCE_MUTANT of the CLI's environment ("": none, as a baseline). Without the variable the
// binary refuses to run: it can neither be taken for the product nor forget its row.
#include <spawn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "sentry/syscalls/table.h"

namespace ringfence::sentry {
namespace {

constexpr char kVariable[] = "RINGFENCE_MUTANT";

[[noreturn]] void Refuse(const std::string& why) {
  std::fprintf(stderr, "ringfence_mutant: %s\n", why.c_str());
  std::exit(99);
}

std::string ChosenRow() {
  const char* name = std::getenv(kVariable);
  if (name == nullptr) Refuse(std::string(kVariable) + " is not set");
  return name;
}

}  // namespace

absl::Span<const SyscallRow> TrueSyscallRows() asm("__real__ZN9ringfence6sentry11SyscallRowsEv");
absl::Span<const SyscallRow> MutantSyscallRows() asm("__wrap__ZN9ringfence6sentry11SyscallRowsEv");

namespace {

std::vector<SyscallRow> MutatedTable() {
  const absl::Span<const SyscallRow> rows = TrueSyscallRows();
  std::vector<SyscallRow> table(rows.begin(), rows.end());
  const std::string chosen = ChosenRow();
  if (chosen.empty()) return table;
  for (SyscallRow& row : table) {
    if (chosen != row.name) continue;
    if (row.handler == nullptr) Refuse(chosen + " is not implemented");
    row.handler = nullptr;
    row.support = Support::kNone;
    row.absent = Errno::kNOSYS;
    return table;
  }
  Refuse("the table has no row " + chosen);
}

}  // namespace

absl::Span<const SyscallRow> MutantSyscallRows() {
  static const auto* const table = new std::vector<SyscallRow>(MutatedTable());
  return *table;
}

}  // namespace ringfence::sentry

// The CLI starts the sentry with an environment of its own: the variable is added to it.
extern "C" {
int __real_posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                       const posix_spawnattr_t* attributes, char* const argv[], char* const envp[]);

int __wrap_posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                       const posix_spawnattr_t* attributes, char* const argv[],
                       char* const envp[]) {
  std::string variable =
      std::string(ringfence::sentry::kVariable) + "=" + ringfence::sentry::ChosenRow();
  std::vector<char*> environment;
  for (char* const* entry = envp; *entry != nullptr; ++entry) environment.push_back(*entry);
  environment.push_back(variable.data());
  environment.push_back(nullptr);
  return __real_posix_spawn(pid, path, actions, attributes, argv, environment.data());
}
}
