#include "bench/run/child.h"

#include <catch2/catch.hpp>
#include <chrono>

namespace ringfence::bench {
namespace {

TEST_CASE("output of a command that ends well") {
  const auto output = RunChild({"sh", "-c", "echo one; echo two"}, 10);
  REQUIRE(output.ok());
  CHECK(*output == "one\ntwo\n");
}

TEST_CASE("failures name the command") {
  CHECK(RunChild({"/nonexistent"}, 10).status().message().find("/nonexistent") !=
        std::string::npos);
  CHECK_FALSE(RunChild({"sh", "-c", "exit 3"}, 10).ok());
  CHECK_FALSE(RunChild({"sh", "-c", "kill -9 $$"}, 10).ok());
}

TEST_CASE("a command that takes too long is killed") {
  const auto start = std::chrono::steady_clock::now();
  const auto output = RunChild({"sleep", "30"}, 1);
  CHECK(output.status().code() == absl::StatusCode::kDeadlineExceeded);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

}  // namespace
}  // namespace ringfence::bench
