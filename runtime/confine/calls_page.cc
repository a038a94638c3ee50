#include "runtime/confine/calls_page.h"

#include <set>
#include <span>

#include "absl/strings/str_cat.h"
#include "platform/seccomp/filter.h"
#include "runtime/confine/calls.h"

namespace ringfence::runtime {
namespace {

std::string Describe(const seccomp::Condition& condition) {
  const std::string argument = absl::StrCat("argument ", condition.argument);
  const std::string value = absl::StrCat("0x", absl::Hex(condition.value));
  if (condition.mask == ~uint64_t{0}) return absl::StrCat(argument, " is ", value);
  const std::string mask = absl::StrCat("0x", absl::Hex(condition.mask));
  if (condition.value == 0) return absl::StrCat(argument, " without ", mask);
  return absl::StrCat("of ", mask, " in ", argument, " just ", value);
}

std::string Describe(const seccomp::Rule& rule) {
  if (rule.error != 0) return absl::StrCat("fails with errno ", rule.error);
  std::string text;
  for (const seccomp::Condition& condition : rule.conditions) {
    if (condition.mask == 0) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ", Describe(condition));
  }
  return text;
}

std::string Table(const char* process, std::span<const seccomp::Rule> rules) {
  std::set<int> calls;
  for (const seccomp::Rule& rule : rules) {
    if (rule.error == 0) calls.insert(rule.call);
  }
  std::string text = absl::StrCat("\n## ", process, ": ", calls.size(),
                                  " calls\n\n| call | if | why |\n| --- | --- | --- |\n");
  for (const seccomp::Rule& rule : rules) {
    absl::StrAppend(&text, "| `", seccomp::CallName(rule.call), "` | ", Describe(rule), " | ",
                    rule.reason, " |\n");
  }
  return text;
}

}  // namespace

std::string CallsPage() {
  return absl::StrCat(
      "# System calls of the sandbox's own processes\n\n"
      "Made by `make docs` from `runtime/confine/arch/x86_64`; a test keeps it true. Every other\n"
      "call ends the process. `confinement.md` has the picture.\n",
      Table("The sentry", SentryCalls()), Table("The gofer", GoferCalls()));
}

}  // namespace ringfence::runtime
