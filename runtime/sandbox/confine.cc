#include "runtime/sandbox/confine.h"

#include <fcntl.h>
#include <linux/capability.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "gofer/jail/jail.h"
#include "gofer/jail/privileges.h"
#include "runtime/sandbox/id_map.h"

namespace ringfence::runtime {
namespace {

// Each task of a sandbox is one (4096, sentry/kernel/kernel.h); the others are gRPC's and our own.
constexpr uint64_t kSentryThreads = 8192;
// The gofer's server has two; gRPC makes a few for each CPU.
constexpr uint64_t kGoferThreads = 1024;

// File ownership and modes as root has them. Not CAP_MKNOD: it makes no device node in a user
// namespace (mknod(2)).
constexpr int kFileRights[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                               CAP_FSETID};

// The CLI writes the id maps while this process is being loaded.
absl::Status AwaitMaps(ControlSocket* control) {
  const std::optional<Message> message = control->Receive();
  if (message.has_value() && message->kind == MessageKind::kMapped) return absl::OkStatus();
  return absl::AbortedError("the CLI left before the sandbox was made");
}

// Last, since each change of credentials takes the parent-death signal and dumpability back.
absl::Status Finish(const ControlSocket& control) {
  const absl::Status status = gofer::DropPrivilegeGains();
  return status.ok() ? gofer::DieWithParent(control.fd()) : status;
}

}  // namespace

std::vector<int> SentryStartCapabilities() {
  return {CAP_SYS_ADMIN, CAP_SETPCAP, CAP_SETUID, CAP_SETGID};
}

std::vector<int> GoferStartCapabilities(bool keeps_file_rights) {
  std::vector<int> capabilities = {CAP_SYS_ADMIN, CAP_SETPCAP};
  if (keeps_file_rights) {
    capabilities.insert(capabilities.end(), std::begin(kFileRights), std::end(kFileRights));
  }
  return capabilities;
}

absl::Status ConfineSentry(const ChildArguments& arguments, ControlSocket* control) {
  absl::Status status = gofer::CloseAllBut(arguments.fds());
  if (!arguments.confined()) {
    if (status.ok()) status = gofer::RaiseDescriptorLimit().status();
    return status.ok() ? Finish(*control) : status;
  }
  if (status.ok()) status = AwaitMaps(control);
  // As the caller, whose quota of keys is larger than that of `nobody`.
  if (status.ok()) status = gofer::LeaveSessionKeyring();
  if (status.ok()) status = gofer::BecomeUser(kSentryId, kSentryId);
  if (status.ok()) status = gofer::EnterEmptyRoot();
  if (status.ok()) status = gofer::SetLimits(kSentryThreads);
  if (status.ok()) status = gofer::KeepOnlyCapabilities({});
  return status.ok() ? Finish(*control) : status;
}

absl::Status ConfineGofer(const ChildArguments& arguments, ControlSocket* control,
                          const std::vector<ServedTree>& trees, UniqueFd* self_fd) {
  absl::Status status = gofer::CloseAllBut(arguments.fds());
  if (!arguments.confined()) {
    self_fd->Reset(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!self_fd->valid()) return absl::ErrnoToStatus(errno, "/proc/self/fd (is /proc mounted?)");
    if (status.ok()) status = gofer::RaiseDescriptorLimit().status();
    return status.ok() ? Finish(*control) : status;
  }
  if (status.ok()) status = AwaitMaps(control);
  if (status.ok()) status = gofer::LeaveSessionKeyring();
  for (const ServedTree& tree : trees) {
    if (!status.ok()) return status;
    absl::StatusOr<UniqueFd> detached = gofer::DetachTree(tree.fd->get(), tree.access);
    status = detached.status();
    if (status.ok()) *tree.fd = *std::move(detached);
  }
  if (!status.ok()) return status;
  absl::StatusOr<UniqueFd> detached = gofer::DetachSelfFd();
  status = detached.status();
  if (status.ok()) *self_fd = *std::move(detached);
  if (status.ok()) status = gofer::EnterEmptyRoot();
  if (status.ok()) status = gofer::SetLimits(kGoferThreads);
  if (status.ok()) status = gofer::KeepOnlyCapabilities(kFileRights);
  return status.ok() ? Finish(*control) : status;
}

}  // namespace ringfence::runtime
