#include "runtime/sandbox/statistics.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ringfence::runtime {
namespace {

TEST_CASE("one JSON object with a number for each name") {
  Statistics statistics;
  statistics.system_calls = 1;
  statistics.gofer_calls = 15;
  statistics.platform.exits_syscall = 2;
  statistics.platform.exits_fault = 3;
  statistics.platform.exits_exception = 4;
  statistics.platform.exits_interrupt = 5;
  statistics.platform.exits_other = 6;
  statistics.platform.exitless_calls = 7;
  statistics.platform.exitless_punts = 8;
  statistics.platform.kicks = 9;
  statistics.platform.vcpu_handovers = 10;
  statistics.platform.spin_ns = 11;
  statistics.platform.trapped_calls = 17;
  statistics.memory.anonymous_bytes = 12;
  statistics.memory.file_chunks = 13;
  statistics.memory.invalidations = ~uint64_t{0};
  statistics.memory.forgotten = 14;
  statistics.memory.copied_bytes = 16;
  const std::string text = StatisticsJson(statistics);
  CHECK(text.back() == '\n');
  const nlohmann::json json = nlohmann::json::parse(text);
  const nlohmann::json want = {
      {"gofer_calls", 15},      {"syscalls", 1},
      {"exits_syscall", 2},     {"exits_fault", 3},
      {"exits_exception", 4},   {"exits_interrupt", 5},
      {"exits_other", 6},       {"exitless_calls", 7},
      {"exitless_punts", 8},    {"kicks", 9},
      {"vcpu_handovers", 10},   {"spin_ns", 11},
      {"anonymous_bytes", 12},  {"file_chunks", 13},
      {"tables_forgotten", 14}, {"invalidations", ~uint64_t{0}},
      {"copied_bytes", 16},     {"trapped_calls", 17},
  };
  CHECK(json == want);
}

}  // namespace
}  // namespace ringfence::runtime
