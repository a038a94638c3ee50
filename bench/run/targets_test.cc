#include "bench/run/targets.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace ringfence::bench {
namespace {

Series Of(const char* workload, const char* runtime, std::vector<double> values,
          const Counters& counters = {}) {
  Series series{"micro", workload, runtime, "", "ns", {}};
  for (const double value : values) {
    series.samples.emplace_back();
    series.samples.back().value = value;
    series.samples.back().counters = counters;
  }
  return series;
}

const Outcome* Find(const std::vector<Outcome>& outcomes, const std::string& workload,
                    const std::string& runtime = "") {
  for (const Outcome& o : outcomes) {
    if (o.target->workload == workload && (runtime.empty() || o.target->runtime == runtime))
      return &o;
  }
  return nullptr;
}

TEST_CASE("met, missed, reported; by ratio, by time, by share") {
  Results results;
  results.series = {
      Of("cpu", "native", {1, 1}),
      Of("cpu", "ringfence", {1.2, 1.2}),
      Of("pipe", "ringfence", {1300, 1300}),
      Of("getpgid", "ringfence", {100, 100}),
      Of("getpgid", "ringfence:exit", {60000, 60000}),
      Of("git", "ringfence:auto", {1e9}, {{"syscalls", 100}, {"exits_fault", 3}}),
  };
  const auto outcomes = Judge(results, {"micro", "macro"});
  CHECK(Find(outcomes, "cpu")->verdict == Verdict::kMissed);
  CHECK(Find(outcomes, "cpu")->figure == "1.20x");
  CHECK(Find(outcomes, "cpu")->limit == "at most 1.05x native");
  CHECK(Find(outcomes, "pipe")->verdict == Verdict::kMet);
  CHECK(Find(outcomes, "getpgid", "ringfence:exit")->verdict == Verdict::kMet);
  CHECK(Find(outcomes, "getpgid", "ringfence:exit")->limit == "at least 12.0x ringfence");
  CHECK(Find(outcomes, "git")->figure == "97.0%");
  CHECK(Find(outcomes, "git")->verdict == Verdict::kMet);
}

TEST_CASE("not measured is not met, and says why; who failed has missed") {
  Results results;
  results.absent["runsc"] = "not installed";
  results.notes = {"touch on ringfence: killed", "tcp on runsc: no"};
  results.series = {Of("true", "ringfence:auto", {5})};
  const auto outcomes = Judge(results, {"micro", "macro"});
  CHECK(Find(outcomes, "true")->verdict == Verdict::kNotMeasured);
  CHECK(Find(outcomes, "true")->why == "runsc: not installed");
  CHECK(Find(outcomes, "touch")->verdict == Verdict::kMissed);
  CHECK(Find(outcomes, "touch")->why == "touch on ringfence: killed");
  CHECK(Find(outcomes, "cpu")->why == "not run");
}

TEST_CASE("suites that were not run are not judged, all that were are") {
  CHECK(Judge({}, {"inprocess"}).empty());
  CHECK(Judge({}, {"density"}).size() == 2);
  CHECK(Judge({}, Suites()).size() == Targets().size());
}

TEST_CASE("each target is of a workload and runtimes that exist") {
  std::vector<std::string> workloads = {"idle_pss", "idle_kernel"};
  for (const auto& list : {MicroWorkloads(), MacroWorkloads({}), StartupWorkloads({})}) {
    for (const Workload& w : list) workloads.push_back(w.name);
  }
  for (const Target& target : Targets()) {
    INFO(target.workload);
    CHECK(std::count(workloads.begin(), workloads.end(), target.workload) == 1);
  }
}

}  // namespace
}  // namespace ringfence::bench
