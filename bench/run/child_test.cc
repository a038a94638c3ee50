#include "bench/run/child.h"

#include <catch2/catch.hpp>
#include <chrono>

namespace ringfence::bench {
namespace {

std::string ErrorOf(const Command& command) {
  return std::string(RunChild(command, 10).status().message());
}

TEST_CASE("output of a command that ends well, and when it came") {
  const auto result = RunChild({"sh", "-c", "echo one; sleep 0.2; echo two"}, 10);
  REQUIRE(result.ok());
  CHECK(result->output == "one\ntwo\n");
  CHECK(result->first_byte_ns > 0);
  CHECK(result->wall_ns > result->first_byte_ns + 0.1e9);
}

TEST_CASE("failures say how it ended, and what it complained of last") {
  CHECK(ErrorOf({"/nonexistent"}).find("/nonexistent") != std::string::npos);
  CHECK(ErrorOf({"sh", "-c", "echo first >&2; echo why >&2; exit 3"}).find("exit status 3: why") !=
        std::string::npos);
  CHECK(ErrorOf({"sh", "-c", "kill -9 $$"}).find("killed by Killed") != std::string::npos);
}

TEST_CASE("a command that takes too long is killed") {
  const auto start = std::chrono::steady_clock::now();
  CHECK(RunChild({"sleep", "30"}, 1).status().code() == absl::StatusCode::kDeadlineExceeded);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("many at once end when the last has") {
  ChildSet set;
  for (int i = 0; i < 5; i++) REQUIRE(set.Start({"sh", "-c", "echo x; sleep 0.3"}).ok());
  REQUIRE(set.WaitForFirstBytes(10).ok());
  const auto results = set.WaitForEnd(10);
  REQUIRE(results.ok());
  CHECK(results->size() == 5);
  CHECK((*results)[4].wall_ns < 1.4e9);
}

TEST_CASE("whoever ends before it has printed is named") {
  ChildSet set;
  REQUIRE(set.Start({"sh", "-c", "echo no >&2; exit 1"}).ok());
  CHECK(set.WaitForFirstBytes(10).message().find("exit status 1: no") != std::string::npos);
}

TEST_CASE("CPU time of grandchildren counts, and an orphan does not stay") {
  const double before = ChildCpuNs();
  const auto result = RunChild(
      {"sh", "-c",
       "(setsid sleep 60 >/dev/null 2>&1 &); i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"},
      30);
  REQUIRE(result.ok());
  CHECK(ChildCpuNs() > before);
  CHECK(Descendants().empty());
}

}  // namespace
}  // namespace ringfence::bench
