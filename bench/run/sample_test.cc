#include "bench/run/sample.h"

#include <catch2/catch.hpp>

namespace ringfence::bench {
namespace {

TEST_CASE("quantiles interpolate between sorted values") {
  CHECK(Quantile({}, 0.5) == 0);
  CHECK(Quantile({7}, 0.9) == 7);
  CHECK(Median({3, 1, 2}) == 2);
  CHECK(Median({4, 1, 2, 3}) == 2.5);
  CHECK(Quantile({0, 10}, 0.25) == 2.5);
  CHECK(Quantile({5, 1, 9}, 0) == 1);
  CHECK(Quantile({5, 1, 9}, 1) == 9);
}

TEST_CASE("a ratio is formed within each round, so a slow round does not count twice") {
  CHECK(MedianRatio({2, 20, 4}, {1, 10, 2}) == 2);
  CHECK(MedianRatio({2, 6}, {0, 2}) == 3);
  CHECK(MedianRatio({}, {1}) == 0);
}

}  // namespace
}  // namespace ringfence::bench
