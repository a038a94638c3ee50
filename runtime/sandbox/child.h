// The processes of a sandbox are this program, run again as `ringfence sentry ...` and `ringfence
// gofer ...` with the descriptors they need and no others. A person does not type these.
#ifndef RINGFENCE_RUNTIME_SANDBOX_CHILD_H_
#define RINGFENCE_RUNTIME_SANDBOX_CHILD_H_

#include <sys/types.h>

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "platform/base/unique_fd.h"

namespace ringfence::runtime {

inline constexpr std::string_view kSentryRole = "sentry";
inline constexpr std::string_view kGoferRole = "gofer";

struct InheritedFd {
  std::string name;
  int fd;  // stays the caller's
};

struct ChildOptions {
  std::string_view role;
  std::vector<InheritedFd> fds;
  // What the child gets as descriptors 0, 1 and 2; -1: the caller's own.
  std::array<int, 3> standard_streams = {-1, -1, -1};
  // The child is process 1 in a user, pid, mount, network, ipc, uts and cgroup namespace of its
  // own, with `capabilities` there and no id mapped: see WriteIdMaps. It knows by confined().
  bool own_namespaces = false;
  std::vector<int> capabilities = {};
  // The child is to report calls that its filter does not allow: reports_calls().
  bool reports_calls = false;
};

// Starts the program again in a session of its own, with default signal handling, no signal blocked
// and an empty environment. Call while there is one thread.
absl::StatusOr<pid_t> SpawnSelf(const ChildOptions& options);

// What SpawnSelf put on the child's command line.
class ChildArguments {
 public:
  // `args`: those after the role.
  static absl::StatusOr<ChildArguments> Parse(const std::vector<std::string_view>& args);

  bool confined() const { return confined_; }
  bool reports_calls() const { return reports_calls_; }
  // All of them, whether taken or not.
  const std::vector<int>& fds() const { return all_; }
  // Ownership of the descriptor `name`; none if there was none or it was taken before.
  UniqueFd Take(const std::string& name);

 private:
  bool confined_ = false;
  bool reports_calls_ = false;
  std::vector<int> all_;
  std::map<std::string, int> fds_;  // not taken yet
};

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_CHILD_H_
