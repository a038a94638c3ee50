#include "platform/kvm/host_kernel.h"

#include <catch2/catch.hpp>

namespace ringfence::kvm {
namespace {

TEST_CASE("kernels whose vCPUs change threads slowly are told from their release") {
  const auto slow = [](const char* text) { return HandoverWaitsForRcu(ParseKernelRelease(text)); };
  CHECK(slow("6.1.0-56-amd64"));
  CHECK(slow("6.12.95"));
  CHECK(slow("5.10.200"));
  CHECK_FALSE(slow("6.13.0-rc1"));
  CHECK_FALSE(slow("6.18.44-fc-v669"));
  CHECK_FALSE(slow("7.0"));
  CHECK_FALSE(slow("garbage"));
}

}  // namespace
}  // namespace ringfence::kvm
