#include "sentry/kernel/load_average.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace ringfence::sentry {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST_CASE("two tasks that run for a minute") {
  LoadAverage load(100 * kSecond);
  const auto after = load.Update(160 * kSecond, 120 * kSecond);
  CHECK(after[0] == Approx(2 * (1 - std::exp(-1.0))));
  CHECK(after[1] == Approx(2 * (1 - std::exp(-0.2))));
  CHECK(after[2] == Approx(2 * (1 - std::exp(-1.0 / 15))));
}

TEST_CASE("how often it is asked for changes nothing") {
  LoadAverage often(0), once(0);
  std::array<double, 3> last{};
  for (int64_t s = 1; s <= 300; ++s) last = often.Update(s * kSecond, s * kSecond / 2);
  CHECK(last[1] == Approx(once.Update(300 * kSecond, 150 * kSecond)[1]));
  // Too soon for anything new.
  CHECK(often.Update(300 * kSecond + 1, 400 * kSecond) == last);
}

TEST_CASE("idle time lets it fade") {
  LoadAverage load(0);
  const auto busy = load.Update(60 * kSecond, 60 * kSecond);
  const auto idle = load.Update(120 * kSecond, 60 * kSecond);
  CHECK(idle[0] == Approx(busy[0] * std::exp(-1.0)));
}

}  // namespace
}  // namespace ringfence::sentry
