// A table of rules as a filter in the kernel (seccomp(2)), compiled by libseccomp.
#ifndef RINGFENCE_PLATFORM_SECCOMP_FILTER_H_
#define RINGFENCE_PLATFORM_SECCOMP_FILTER_H_

#include <linux/filter.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "platform/seccomp/rule.h"

namespace ringfence::seccomp {

// What a call that the table does not allow leads to.
enum class Violation {
  kKill,  // SIGSYS for the whole process, which nothing can catch
  kTrap,  // a SIGSYS that a handler may report (seccomp(2), SECCOMP_RET_TRAP); the call is not made
};

class Filter {
 public:
  // InvalidArgument: the table contradicts itself or names a call that this machine does not have.
  // Calls of other architectures (32-bit, x32) are violations, always with the process killed.
  static absl::StatusOr<Filter> Compile(std::span<const Rule> rules, Violation violation);

  // For good, in every thread of the process. Needs no_new_privs.
  absl::Status Install() const;

  // The program that the kernel runs.
  absl::StatusOr<std::vector<sock_filter>> Program() const;

 private:
  struct Release {
    void operator()(void* context) const;
  };
  explicit Filter(void* context) : context_(context) {}

  std::unique_ptr<void, Release> context_;
};

// "openat", or the number where it has no name.
std::string CallName(int call);

}  // namespace ringfence::seccomp

#endif  // RINGFENCE_PLATFORM_SECCOMP_FILTER_H_
