#include "bench/run/host.h"

#include <catch2/catch.hpp>

namespace ringfence::bench {
namespace {

TEST_CASE("steal is the eighth field, guest time is not counted twice") {
  const CpuTimes times = ParseCpuTimes("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 9 9 9\n");
  CHECK(times.total == 36);
  CHECK(times.steal == 8);
}

TEST_CASE("share of stolen time between two readings") {
  CHECK(StealShare({100, 1}, {200, 3}) == Approx(0.02));
  CHECK(StealShare({100, 1}, {100, 1}) == 0);
}

TEST_CASE("this host can be read") {
  CHECK(ReadCpuTimes().total > 0);
  CHECK(DescribeHost().find("Linux") != std::string::npos);
}

}  // namespace
}  // namespace ringfence::bench
