#include "runtime/sandbox/id_map.h"

#include <catch2/catch.hpp>

namespace ringfence::runtime {
namespace {

constexpr char kWholeMap[] = "         0          0 4294967295\n";

TEST_CASE("root maps every id as itself for the gofer, nobody for the sentry") {
  const Caller root = {
      .uid = 0, .gid = 0, .may_map_any = true, .uid_map = kWholeMap, .gid_map = kWholeMap};
  CHECK(GoferIdMaps(root) == IdMaps{"0 0 4294967295\n", "0 0 4294967295\n", false});
  CHECK(SentryIdMaps(root) == IdMaps{"65534 65534 1\n", "65534 65534 1\n", false});
}

TEST_CASE("root of a container maps what the container has") {
  const Caller root = {.uid = 0,
                       .gid = 0,
                       .may_map_any = true,
                       .uid_map = "0 100000 1000\n2000 200000 65536\n",
                       .gid_map = "0 100000 1000\n"};
  CHECK(GoferIdMaps(root) == IdMaps{"0 0 1000\n2000 2000 65536\n", "0 0 1000\n", false});
  // Its gid map has no 65534.
  CHECK(SentryIdMaps(root) == IdMaps{"65534 65534 1\n", "65534 0 1\n", false});
}

TEST_CASE("another user maps itself and may not leave its groups") {
  const Caller user = {
      .uid = 1000, .gid = 100, .may_map_any = false, .uid_map = kWholeMap, .gid_map = kWholeMap};
  CHECK(GoferIdMaps(user) == IdMaps{"1000 1000 1\n", "100 100 1\n", true});
  CHECK(SentryIdMaps(user) == IdMaps{"65534 1000 1\n", "65534 100 1\n", true});
}

TEST_CASE("this process is read") {
  const auto caller = ReadCaller();
  REQUIRE(caller.ok());
  CHECK_FALSE(caller->uid_map.empty());
  CHECK_FALSE(GoferIdMaps(*caller).gid_map.empty());
}

}  // namespace
}  // namespace ringfence::runtime
