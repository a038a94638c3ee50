#include "platform/kvm/host_kernel.h"

#include <catch2/catch.hpp>

namespace ringfence::kvm {
namespace {

TEST_CASE("kernels with the stale-table bug are told from their release") {
  CHECK(ShadowPagingLosesSplits("6.18.37-cloud"));
  CHECK_FALSE(ShadowPagingLosesSplits("6.18.38"));
  CHECK_FALSE(ShadowPagingLosesSplits("6.18.44-fc-v669"));
  CHECK_FALSE(ShadowPagingLosesSplits("6.19.1"));
  CHECK_FALSE(ShadowPagingLosesSplits("7.0.0-rc1"));
  CHECK(ShadowPagingLosesSplits("6.17.12"));
  CHECK(ShadowPagingLosesSplits("6.12.94"));
  CHECK_FALSE(ShadowPagingLosesSplits("6.12.95"));
  CHECK(ShadowPagingLosesSplits("6.6.143"));
  CHECK_FALSE(ShadowPagingLosesSplits("6.6.144"));
  CHECK(ShadowPagingLosesSplits("6.1.0-29-amd64"));
  CHECK_FALSE(ShadowPagingLosesSplits("6.1.192"));
  CHECK(ShadowPagingLosesSplits("5.10.200"));
  CHECK(ShadowPagingLosesSplits("garbage"));
}

TEST_CASE("kernels whose vCPUs change threads slowly are told from their release") {
  CHECK(HandoverWaitsForRcu("6.1.0-56-amd64"));
  CHECK(HandoverWaitsForRcu("6.12.95"));
  CHECK(HandoverWaitsForRcu("5.10.200"));
  CHECK_FALSE(HandoverWaitsForRcu("6.13.0-rc1"));
  CHECK_FALSE(HandoverWaitsForRcu("6.18.44-fc-v669"));
  CHECK_FALSE(HandoverWaitsForRcu("7.0"));
  CHECK_FALSE(HandoverWaitsForRcu("garbage"));
}

}  // namespace
}  // namespace ringfence::kvm
