#include "platform/base/kernel_release.h"

#include <catch2/catch.hpp>

namespace ringfence {
namespace {

TEST_CASE("releases are compared by number") {
  CHECK(ParseKernelRelease("6.18.44-fc-v669") == KernelRelease{6, 18, 44});
  CHECK(ParseKernelRelease("7.0-rc1") == KernelRelease{7, 0, 0});
  CHECK(*ParseKernelRelease("6.1.0-56-amd64") < KernelRelease{6, 13, 0});
  CHECK_FALSE(ParseKernelRelease("garbage"));
  CHECK_FALSE(ParseKernelRelease("6"));
  CHECK(HostKernelRelease());
}

}  // namespace
}  // namespace ringfence
