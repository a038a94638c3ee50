#include "bench/run/report.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ringfence::bench {
namespace {

Results Sample() {
  Results results;
  results.host = "a <host>";
  results.series = {
      {"getppid", "native", {100, 100}, {}},
      {"getppid", "bare:exit", {20000, 20000}, {}},
      {"getppid", "ringfence:exit", {22000, 24000}, {{"syscalls", 2000}, {"exits_syscall", 1000}}},
      {"cpu", "native", {1, 1}, {}},
      {"cpu", "ringfence", {1.2, 1.2}, {}}};
  results.notes = {"touch on ringfence: broke"};
  return results;
}

TEST_CASE("text names medians, ratios, exits per 1000 calls and what is missing") {
  const std::string text = TextReport(Sample());
  CHECK(text.find("23000.0") != std::string::npos);
  CHECK(text.find("230.00") != std::string::npos);
  CHECK(text.find("exits_syscall 500.0") != std::string::npos);
  CHECK(text.find("not measured: touch on ringfence: broke") != std::string::npos);
}

TEST_CASE("a target is met, missed, or missed because it was not measured") {
  bool all_met = true;
  const std::string text = TargetReport(Sample(), &all_met);
  CHECK_FALSE(all_met);
  CHECK(text.find("met     getppid on ringfence:exit: 1.15x bare:exit") != std::string::npos);
  CHECK(text.find("MISSED  cpu on ringfence: 1.20x") != std::string::npos);
  CHECK(text.find("MISSED  touch on ringfence: not measured") != std::string::npos);
  CHECK(text.find("MISSED  true on ringfence:auto: not measured") != std::string::npos);
  Results without_runsc = Sample();
  without_runsc.absent = {"runsc"};
  CHECK(TargetReport(without_runsc, &all_met).find("skipped true on") != std::string::npos);
}

TEST_CASE("JSON can be read back, HTML is escaped") {
  const auto json = nlohmann::json::parse(JsonReport(Sample()));
  CHECK(json["series"][2]["median_ns"] == 23000);
  CHECK(HtmlReport(Sample()).find("a &lt;host>") != std::string::npos);
}

}  // namespace
}  // namespace ringfence::bench
