#include "bench/run/measure.h"

#include <catch2/catch.hpp>

namespace ringfence::bench {
namespace {

TEST_CASE("what the guest prints") {
  const auto sample = ParseGuestOutput(
      "91.20\nmean 93.10 ran 5500 operations 5000 samples 5000 0.5:91.2 0.99:110 1:9000\n");
  REQUIRE(sample.ok());
  CHECK(sample->value == 91.2);
  CHECK(sample->mean == 93.1);
  CHECK(sample->operations == 5500);
  CHECK(sample->quantiles == std::map<double, double>{{0.5, 91.2}, {0.99, 110}, {1, 9000}});
  CHECK(ParseGuestOutput("345\n").ok());
  CHECK_FALSE(ParseGuestOutput("").ok());
  CHECK_FALSE(ParseGuestOutput("guest: no\n").ok());
}

Workload Shell(const char* name, const char* script) {
  Workload workload;
  workload.suite = "macro";
  workload.name = name;
  workload.timing = Timing::kWhole;
  workload.words = {"sh", "-c", script};
  return workload;
}

class Fixture {
 public:
  Fixture() {
    options.rounds = 3;
    options.max_steal = 1;
    options.seconds_per_run = 10;
    options.progress = [this](const std::string& step) { steps.push_back(step); };
  }
  Options options;
  std::vector<std::string> steps;
  Results results;
  const std::vector<Runtime> runtimes = {{"native", RuntimeKind::kNative, {}, {}, "", 0}};
};

TEST_CASE_METHOD(Fixture, "so many rounds as asked for, and progress is told") {
  MeasureWorkload(options, Shell("quick", "echo x"), runtimes, &results);
  const Series* const series = results.Find("quick", "native");
  REQUIRE(series != nullptr);
  CHECK(series->samples.size() == 3);
  CHECK(series->MedianValue() > 0);
  CHECK(steps.size() == 3);
}

TEST_CASE_METHOD(Fixture, "who fails is left out, with the reason") {
  MeasureWorkload(options, Shell("broken", "echo it broke >&2; exit 1"), runtimes, &results);
  CHECK(results.series.empty());
  REQUIRE(results.notes.size() == 1);
  CHECK(results.notes[0].find("broken on native: ") == 0);
  CHECK(results.notes[0].find("it broke") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "many at once take as long as the last") {
  Workload workload = Shell("many", "sleep 0.2");
  workload.copies = 4;
  options.rounds = 1;
  MeasureWorkload(options, workload, runtimes, &results);
  REQUIRE(results.Find("many", "native") != nullptr);
  CHECK(results.Find("many", "native")->MedianValue() > 0.2e9);
  CHECK(results.Find("many", "native")->MedianValue() < 5e9);
}

TEST_CASE_METHOD(Fixture, "a first byte that never comes is an error") {
  Workload workload = Shell("silent", ":");
  workload.timing = Timing::kFirstByte;
  MeasureWorkload(options, workload, runtimes, &results);
  REQUIRE(results.notes.size() == 1);
  CHECK(results.notes[0].find("printed nothing") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "nothing more is run once it shall stop") {
  const volatile bool stop = true;
  options.stop = &stop;
  MeasureWorkload(options, Shell("stopped", "echo x"), runtimes, &results);
  CHECK(results.series.empty());
}

}  // namespace
}  // namespace ringfence::bench
