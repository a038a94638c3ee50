// Why a process could not have namespaces of its own, in words that say what to change.
#ifndef RINGFENCE_RUNTIME_SANDBOX_NAMESPACE_ERROR_H_
#define RINGFENCE_RUNTIME_SANDBOX_NAMESPACE_ERROR_H_

#include <string>

#include "absl/status/status.h"

namespace ringfence::runtime {

inline constexpr char kSysctlDirectory[] = "/proc/sys";

// `error`: of clone(2) with CLONE_NEWUSER and others. Looks at the settings below `sysctls`.
absl::Status NamespaceError(int error, const std::string& sysctls);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_NAMESPACE_ERROR_H_
