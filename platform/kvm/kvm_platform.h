// The KVM platform: guest code in ring 3 of a virtual CPU, everything else in this process.
//
// One virtual machine per Platform. Its supervisor part (descriptor tables, exception stubs) is
// built once and shared by all address spaces; a trampoline page catches SYSCALL. README.md in
// this folder tells how the pieces fit; host kinds are told apart by a probe vCPU at start.
//
// Process-wide effects of CreateKvmPlatform: installs the handler of the kick signal
// (KickSignal(), a real-time signal that must stay unblocked in threads that call Switch) and the
// fault handler of platform/mem/safe_copy.h.
//
// Threads: CreateKvmPlatform from one thread at a time. Contexts and address spaces must be gone
// before the Platform is destroyed.
#ifndef RINGFENCE_PLATFORM_KVM_KVM_PLATFORM_H_
#define RINGFENCE_PLATFORM_KVM_KVM_PLATFORM_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "platform/api/platform.h"
#include "platform/mem/host_paging.h"

namespace ringfence::platform {

struct KvmOptions {
  // kProbe: ask the hardware. The others are for tests: FailedPrecondition where SYSCALL of ring 3
  // does something else. (A deprivileged trampoline where SYSCALL enters ring 0 would run guest
  // code there, so there is nothing to choose.)
  enum Flavour { kProbe, kPrivileged, kDeprivileged };

  ExitlessMode exitless = ExitlessMode::kAuto;
  // 0 = four for each CPU this process may use, 8 to 64, or 256 where handovers are slow (before
  // Linux 6.13); never more than KVM_CAP_MAX_VCPUS.
  unsigned max_vcpus = 0;
  uint64_t guest_memory_bytes = uint64_t{4} << 30;  // anonymous memory: the sandbox's RAM
  uint64_t file_window_bytes = uint64_t{64} << 30;  // window for mapped file chunks
  int kvm_fd = -1;  // an open /dev/kvm, duplicated; -1 opens /dev/kvm
  Flavour flavour = kProbe;
  // What GetHostPaging() says, for a process that can no longer see /sys; else it is asked.
  std::optional<platform::HostPaging> paging = std::nullopt;
};

// Errors, each with a message for a person that says what to do:
//   NotFound            no /dev/kvm
//   PermissionDenied    /dev/kvm may not be opened
//   FailedPrecondition  KVM API version is not 12, or a capability or CPU feature is missing
//   ResourceExhausted   memory, descriptors or KVM's own limits
absl::StatusOr<std::unique_ptr<Platform>> CreateKvmPlatform(const KvmOptions& options);

// The signal that takes a thread out of KVM_RUN. Never block it, never use it for anything else.
int KickSignal();

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_KVM_KVM_PLATFORM_H_
