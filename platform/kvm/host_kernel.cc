#include "platform/kvm/host_kernel.h"

namespace ringfence::kvm {

bool HandoverWaitsForRcu(std::optional<KernelRelease> release) {
  return release.has_value() && *release < KernelRelease{6, 13, 0};
}

}  // namespace ringfence::kvm
