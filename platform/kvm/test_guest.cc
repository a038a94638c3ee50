#include "platform/kvm/test_guest.h"

#include <cstdio>
#include <cstdlib>

namespace ringfence::kvm {

std::unique_ptr<platform::Platform> NewTestPlatform(const platform::KvmOptions& options) {
  auto platform = platform::CreateKvmPlatform(options);
  if (platform.ok()) return *std::move(platform);
  std::fprintf(stderr, "%s\n", platform.status().ToString().c_str());
  std::_Exit(
      absl::IsNotFound(platform.status()) || absl::IsPermissionDenied(platform.status()) ? 77 : 1);
}

platform::Platform& TestPlatform() {
  static platform::Platform& platform = *NewTestPlatform({}).release();
  return platform;
}

}  // namespace ringfence::kvm
