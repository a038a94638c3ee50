#include "sentry/kernel/oom.h"

#include <catch2/catch.hpp>

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMiB = 1 << 20;

TEST_CASE("the score is resident memory, moved by oom_score_adj") {
  CHECK(OomScore(10 * kMiB, 0, 1000 * kMiB) == 10 * kMiB);
  CHECK(OomScore(10 * kMiB, 100, 1000 * kMiB) == 110 * kMiB);
  CHECK(OomScore(300 * kMiB, -100, 1000 * kMiB) == 200 * kMiB);
  CHECK(OomScore(10 * kMiB, -999, 1000 * kMiB) == 0);
  CHECK(OomScore(10 * kMiB, 1000, 1000 * kMiB) > OomScore(900 * kMiB, 0, 1000 * kMiB));
}

TEST_CASE("-1000 exempts") { CHECK(OomScore(uint64_t{1} << 40, -1000, 1000 * kMiB) < 0); }

}  // namespace
}  // namespace ringfence::sentry
