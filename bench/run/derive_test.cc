#include "bench/run/derive.h"

#include <catch2/catch.hpp>

namespace ringfence::bench {
namespace {

const Counters kCounters = {{"syscalls", 1000},      {"exits_syscall", 40},  {"exits_fault", 20},
                            {"exits_interrupt", 30}, {"exits_exception", 0}, {"exits_other", 10},
                            {"exitless_calls", 900}};

TEST_CASE("faults and kicks are exits, too") {
  CHECK(Exits(kCounters) == 100);
  CHECK(ExitFreeShare(kCounters) == Approx(0.9));
  CHECK(ExitlessShare(kCounters) == Approx(0.9));
  CHECK(Per1000Calls(kCounters)[0].second == Approx(100));
}

TEST_CASE("more exits than calls are less than nothing; no calls are nothing") {
  CHECK(ExitFreeShare({{"syscalls", 2}, {"exits_fault", 3}}) == Approx(-0.5));
  CHECK(ExitFreeShare({}) == 0);
  CHECK(Per1000Calls({}).empty());
}

TEST_CASE("time in exits of an operation") {
  Series series;
  series.samples.push_back({});
  series.samples[0].operations = 50;
  series.samples[0].counters = kCounters;
  CHECK(ExitTime(series, 2000) == Approx(4000));
}

}  // namespace
}  // namespace ringfence::bench
