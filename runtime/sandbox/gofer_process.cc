#include "runtime/sandbox/gofer_process.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gofer/jail/jail.h"
#include "gofer/server/server.h"
#include "gofer/server/tree.h"
#include "runtime/confine/calls.h"
#include "runtime/confine/filter.h"
#include "runtime/control/wire.h"
#include "runtime/sandbox/confine.h"
#include "runtime/sandbox/supervisor.h"
#include "runtime/sandbox/trees.h"

namespace ringfence::runtime {
namespace {

// Of the descriptors this process may have: sockets, open directories and what is on its way to
// the sentry need the rest.
constexpr uint64_t kOtherDescriptors = 256;
constexpr uint64_t kMaxNodeDescriptors = 65536;

size_t NodeDescriptors(uint64_t limit) {
  const uint64_t rest = limit > 2 * kOtherDescriptors ? limit - kOtherDescriptors : limit / 2;
  return std::min(rest * 3 / 4, kMaxNodeDescriptors);
}

absl::StatusOr<std::unique_ptr<gofer::Server>> Start(ChildArguments* arguments,
                                                     ControlSocket* control) {
  WarmUpLibraries();
  std::vector<gofer::Export> exports = TakeTrees(arguments);
  std::vector<ServedTree> trees;
  for (gofer::Export& tree : exports) {
    const bool writable = tree.access == gofer::Access::kReadWrite;
    trees.push_back(
        {&tree.root, writable ? gofer::TreeAccess::kReadWrite : gofer::TreeAccess::kRead});
  }
  UniqueFd self_fd;
  const absl::Status confined = ConfineGofer(*arguments, control, trees, &self_fd);
  if (!confined.ok()) return confined;
  const absl::StatusOr<uint64_t> limit = gofer::RaiseDescriptorLimit();
  if (!limit.ok()) return limit.status();
  gofer::NodeTableLimits limits;
  limits.descriptors = NodeDescriptors(*limit);
  auto tree = gofer::Tree::Make(std::move(exports), limits, std::move(self_fd));
  if (!tree.ok()) {
    return absl::ErrnoToStatus(static_cast<int>(tree.error()), "cannot serve the files");
  }
  if (arguments->confined()) {
    const absl::Status filtered = FilterCalls(
        {.process = kGoferRole, .calls = GoferCalls(), .report = arguments->reports_calls()},
        control);
    if (!filtered.ok()) return filtered;
  }
  return gofer::Server::Start(std::move(*tree), arguments->Take("rpc"), arguments->Take("fds"));
}

}  // namespace

void RunGoferProcess(ChildArguments arguments) {
  signal(SIGPIPE, SIG_IGN);
  ControlSocket control(arguments.Take("control"));
  const auto server = Start(&arguments, &control);
  if (!server.ok()) {
    (void)control.Send({.kind = MessageKind::kFailed,
                        .value = kFailureStatus,
                        .text = absl::StrCat("gofer: ", server.status().message())});
    _exit(kFailureStatus);
  }
  (*server)->WaitForPeerToLeave();
  // Without gRPC's shutdown: there is nobody left to be served.
  _exit(0);
}

}  // namespace ringfence::runtime
