#include <catch2/catch.hpp>

#include "bench/run/density.h"
#include "bench/run/inprocess.h"

namespace ringfence::bench {
namespace {

TEST_CASE("lines of /proc in kB") {
  const char text[] = "Rss:    20 kB\nPss:       12 kB\nPss_Anon:  3 kB\n";
  CHECK(KbLine(text, "Pss") == 12 * 1024);
  CHECK(KbLine(text, "Rss") == 20 * 1024);
  CHECK(KbLine(text, "Swap") == 0);
  CHECK(KernelBytes("MemTotal: 9 kB\nSlab: 2 kB\nPageTables: 3 kB\nPercpu: 1 kB\n") == 6 * 1024);
}

TEST_CASE("Google Benchmark's JSON: iterations by name, aggregates left out") {
  const auto series = ParseGoogleBenchmark(R"({"benchmarks": [
      {"name": "A/1", "run_type": "iteration", "iterations": 10, "cpu_time": 2.0, "time_unit": "us",
       "label": "an A"},
      {"name": "A/1", "run_type": "iteration", "iterations": 10, "cpu_time": 4.0, "time_unit": "us"},
      {"name": "A/1_mean", "run_type": "aggregate", "cpu_time": 3.0, "time_unit": "us"},
      {"name": "B", "run_type": "iteration", "iterations": 10, "cpu_time": 7.0, "time_unit": "ns"}]})");
  REQUIRE(series.ok());
  REQUIRE(series->size() == 2);
  CHECK((*series)[0].MedianValue() == 3000);
  CHECK((*series)[0].operation == "an A");
  CHECK((*series)[1].workload == "B");
  CHECK_FALSE(ParseGoogleBenchmark("oops").ok());
}

}  // namespace
}  // namespace ringfence::bench
