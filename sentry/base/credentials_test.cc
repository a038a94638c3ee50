#include "sentry/base/credentials.h"

#include <catch2/catch.hpp>

namespace ringfence::sentry {
namespace {

TEST_CASE("a process is in its fsgid and its supplementary groups") {
  Credentials creds;
  creds.rgid = creds.egid = creds.sgid = 7;
  creds.fsgid = 8;
  creds.groups = {100, 200};
  CHECK(creds.InGroup(8));
  CHECK(creds.InGroup(100));
  CHECK(creds.InGroup(200));
  CHECK_FALSE(creds.InGroup(7));
  CHECK_FALSE(creds.InGroup(0));
}

TEST_CASE("capabilities are tested in the effective set") {
  Credentials creds;
  CHECK(creds.HasCapability(0));
  CHECK(creds.HasCapability(40));
  CHECK_FALSE(creds.HasCapability(41));
  creds.effective = uint64_t{1} << 21;
  CHECK(creds.HasCapability(21));
  CHECK_FALSE(creds.HasCapability(20));
}

}  // namespace
}  // namespace ringfence::sentry
