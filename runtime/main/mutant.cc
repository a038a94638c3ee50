// The mutant of the product: the same sentry, whose dispatcher answers ENOSYS for one row.
//
// Linked into //runtime/main:ringfence_mutant only, with --wrap for the two functions below: every
// other object is the product's own, and the product has no hook. The row is named by the variable
// RINGFENCE_MUTANT of the CLI's environment ("": none, as a baseline). Without the variable the
// binary refuses to run: it can neither be taken for the product nor forget its row.
#include <unistd.h>

#include <array>
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

const std::string chosen_row = ChosenRow();  // before main()

// "VARIABLE=ROW", for an environment.
char* Setting() {
  static std::string setting = std::string(kVariable) + "=" + chosen_row;
  return setting.data();
}
const char* const setting = Setting();  // made before it is needed

}  // namespace

absl::Span<const SyscallRow> TrueSyscallRows() asm("__real__ZN9ringfence6sentry11SyscallRowsEv");
absl::Span<const SyscallRow> MutantSyscallRows() asm("__wrap__ZN9ringfence6sentry11SyscallRowsEv");

namespace {

std::vector<SyscallRow> MutatedTable() {
  const absl::Span<const SyscallRow> rows = TrueSyscallRows();
  std::vector<SyscallRow> table(rows.begin(), rows.end());
  if (chosen_row.empty()) return table;
  for (SyscallRow& row : table) {
    if (chosen_row != row.name) continue;
    if (row.handler == nullptr) Refuse(chosen_row + " is not implemented");
    row.handler = nullptr;
    row.support = Support::kNone;
    row.absent = Errno::kNOSYS;
    return table;
  }
  Refuse("the table has no row " + chosen_row);
}

}  // namespace

absl::Span<const SyscallRow> MutantSyscallRows() {
  static const auto* const table = new std::vector<SyscallRow>(MutatedTable());
  return *table;
}

}  // namespace ringfence::sentry

// The CLI starts the sentry with an environment of its own: the variable is added to it. Runs in a
// child that shares the CLI's memory: it must not allocate.
extern "C" {
int __real_execve(const char* path, char* const argv[], char* const envp[]);

int __wrap_execve(const char* path, char* const argv[], char* const envp[]) {
  static std::array<char*, 16> environment;
  size_t n = 0;
  environment[n++] = ringfence::sentry::Setting();
  for (; *envp != nullptr && n + 1 < environment.size(); ++envp) environment[n++] = *envp;
  environment[n] = nullptr;
  return __real_execve(path, argv, environment.data());
}
}
