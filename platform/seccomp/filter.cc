#include "platform/seccomp/filter.h"

#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "platform/base/unique_fd.h"

namespace ringfence::seccomp {
namespace {

absl::Status LibraryError(const char* what, int negative_errno) {
  return absl::ErrnoToStatus(-negative_errno, what);
}

absl::Status AddRule(scmp_filter_ctx context, const Rule& rule) {
  std::vector<scmp_arg_cmp> conditions;
  for (const Condition& c : rule.conditions) {
    if (c.mask == 0) continue;
    if (c.mask == ~uint64_t{0}) {
      conditions.push_back({c.argument, SCMP_CMP_EQ, c.value, 0});
    } else {
      conditions.push_back({c.argument, SCMP_CMP_MASKED_EQ, c.mask, c.value});
    }
  }
  const uint32_t action =
      rule.error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(static_cast<uint16_t>(rule.error));
  const int error = seccomp_rule_add_exact_array(
      context, action, rule.call, static_cast<unsigned>(conditions.size()), conditions.data());
  if (error == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("system call filter: the rule for ", CallName(rule.call), " is refused"));
}

}  // namespace

void Filter::Release::operator()(void* context) const { seccomp_release(context); }

absl::StatusOr<Filter> Filter::Compile(std::span<const Rule> rules, Violation violation) {
  scmp_filter_ctx context =
      seccomp_init(violation == Violation::kKill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_TRAP);
  if (context == nullptr) return absl::InternalError("seccomp_init");
  Filter filter(context);
  for (const auto& [attribute, value] :
       {std::pair{SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS},
        // Our processes set no_new_privs themselves, and check it.
        std::pair{SCMP_FLTATR_CTL_NNP, uint32_t{0}}, std::pair{SCMP_FLTATR_CTL_TSYNC, uint32_t{1}},
        // A search tree over the calls instead of a chain.
        std::pair{SCMP_FLTATR_CTL_OPTIMIZE, uint32_t{2}}}) {
    const int error = seccomp_attr_set(context, attribute, value);
    if (error != 0) return LibraryError("system call filter: seccomp_attr_set", error);
  }
  for (const Rule& rule : rules) {
    const absl::Status added = AddRule(context, rule);
    if (!added.ok()) return added;
  }
  return filter;
}

absl::Status Filter::Install() const {
  const int error = seccomp_load(context_.get());
  if (error == 0) return absl::OkStatus();
  return LibraryError("cannot install the system call filter (CONFIG_SECCOMP_FILTER?)", error);
}

absl::StatusOr<std::vector<sock_filter>> Filter::Program() const {
  const UniqueFd file(memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.valid()) return absl::ErrnoToStatus(errno, "memfd_create");
  const int error = seccomp_export_bpf(context_.get(), file.get());
  if (error != 0) return LibraryError("seccomp_export_bpf", error);
  const off_t size = lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> program(static_cast<size_t>(size) / sizeof(sock_filter));
  if (pread(file.get(), program.data(), static_cast<size_t>(size), 0) != size) {
    return absl::ErrnoToStatus(errno, "reading the filter back");
  }
  return program;
}

std::string CallName(int call) {
  char* const name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
  if (name == nullptr) return absl::StrCat(call);
  std::string text = name;
  free(name);  // malloc'ed by the library
  return text;
}

}  // namespace ringfence::seccomp
