#include "bench/run/report.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ringfence::bench {
namespace {

Series Of(const char* workload, const char* runtime, double value, const Counters& counters = {}) {
  Series series{"micro", workload, runtime, "call", "ns", {}};
  for (int i = 0; i < 2; i++) {
    series.samples.emplace_back();
    series.samples.back().value = value;
    series.samples.back().quantiles = {{0.5, value}, {0.99, 3 * value}};
    series.samples.back().counters = counters;
  }
  return series;
}

Results Example() {
  Results results;
  results.host = "a <host>";
  results.series = {
      Of("getpgid", "native", 100), Of("getpgid", "bare:exit", 20000),
      Of("getpgid", "ringfence:exit", 23000, {{"syscalls", 2000}, {"exits_syscall", 1000}}),
      Of("cpu", "native", 1), Of("cpu", "ringfence", 1.2)};
  results.notes = {"touch on ringfence: broke"};
  results.absent["crun"] = "not installed";
  return results;
}

TEST_CASE("text names medians, ratios, exits per 1000 calls and what is missing") {
  const std::string text = TextReport(Example());
  CHECK(text.find("23.0 us") != std::string::npos);
  CHECK(text.find("230x") != std::string::npos);
  CHECK(text.find("500.0") != std::string::npos);
  CHECK(text.find("50.0%") != std::string::npos);
  CHECK(text.find("not measured: touch on ringfence: broke") != std::string::npos);
  CHECK(text.find("not measured: crun: not installed") != std::string::npos);
}

TEST_CASE("the table of targets, with how many are met") {
  const std::string text = TargetReport(Judge(Example(), {"micro"}));
  CHECK(text.find("MISSED       cpu") != std::string::npos);
  CHECK(text.find("at most 1.05x native") != std::string::npos);
  CHECK(text.find("1 met, ") != std::string::npos);
  CHECK(TargetReport({}).empty());
}

TEST_CASE("JSON can be read back, also with bytes that are not UTF-8") {
  Results results = Example();
  results.notes.push_back("broke: \xff");
  const auto json = nlohmann::json::parse(JsonReport(results, Judge(results, {"micro"})));
  CHECK(json["schema"] == 2);
  CHECK(json["series"][2]["median"] == 23000);
  CHECK(json["series"][2]["ratio_to_native"] == 230);
  CHECK(json["series"][2]["exit_free_share"] == 0.5);
  CHECK(json["series"][0]["quantiles"]["0.99"] == 300);
  CHECK(json["absent"]["crun"] == "not installed");
  CHECK(json["targets"].size() > 10);
}

TEST_CASE("HTML is escaped, has plots, and needs nothing from elsewhere") {
  const std::string html = HtmlReport(Example(), Judge(Example(), {"micro"}));
  CHECK(html.find("a &lt;host>") != std::string::npos);
  CHECK(html.find("<svg") != std::string::npos);
  CHECK(html.find("<polyline") != std::string::npos);
  CHECK(html.find("class='chip missed'") != std::string::npos);
  CHECK(html.find("src=") == std::string::npos);
  CHECK(html.find("href=") == std::string::npos);
}

}  // namespace
}  // namespace ringfence::bench
