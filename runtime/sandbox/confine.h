// How sentry and gofer lock themselves up at their start, before they read what is not their own
// and before there is a second thread. docs/confinement.md has the whole picture.
//
// With --debug-unconfined (ChildArguments::confined() is false) there are no namespaces, and only
// what needs none is done: descriptors, no new privileges, no core dumps, death with the CLI.
#ifndef RINGFENCE_RUNTIME_SANDBOX_CONFINE_H_
#define RINGFENCE_RUNTIME_SANDBOX_CONFINE_H_

#include <vector>

#include "absl/status/status.h"
#include "gofer/jail/mounts.h"
#include "platform/base/unique_fd.h"
#include "runtime/control/wire.h"
#include "runtime/sandbox/child.h"

namespace ringfence::runtime {

// What a process needs in its new user namespace to lock itself up.
std::vector<int> SentryStartCapabilities();
// `keeps_file_rights`: the caller maps all ids, and the gofer sets ownership.
std::vector<int> GoferStartCapabilities(bool keeps_file_rights);

// The sentry: an empty root, another user, no capability.
absl::Status ConfineSentry(const ChildArguments& arguments, ControlSocket* control);

// A directory that the gofer serves. DetachTree puts a descriptor of the same directory in place of
// `fd`, from which nothing outside of it can be reached.
struct ServedTree {
  UniqueFd* fd;
  gofer::TreeAccess access;
};
// The gofer: an empty root, of which `trees` and /proc/self/fd (into `*self_fd`) are no part; of
// the capabilities those of file ownership.
absl::Status ConfineGofer(const ChildArguments& arguments, ControlSocket* control,
                          const std::vector<ServedTree>& trees, UniqueFd* self_fd);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_CONFINE_H_
