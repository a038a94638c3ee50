#include "bench/run/inprocess.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/run/child.h"

namespace ringfence::bench {
namespace {

double NsPerUnit(const std::string& unit) {
  if (unit == "us") return 1e3;
  if (unit == "ms") return 1e6;
  return unit == "s" ? 1e9 : 1;
}

}  // namespace

absl::StatusOr<std::vector<Series>> ParseGoogleBenchmark(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("benchmarks")) {
    return absl::InternalError("no JSON of Google Benchmark");
  }
  std::vector<Series> all;
  for (const auto& run : json["benchmarks"]) {
    // Aggregates (mean, stddev) are formed by us.
    if (run.value("run_type", "") != "iteration") continue;
    const std::string name = run.value("name", "");
    if (all.empty() || all.back().workload != name) {
      all.push_back({"inprocess", name, "in process", run.value("label", ""), "ns", {}});
    }
    Sample sample;
    // They only compute: CPU time is what they take on a machine that has nothing else to do.
    sample.value = run.value("cpu_time", 0.0) * NsPerUnit(run.value("time_unit", "ns"));
    sample.operations = run.value("iterations", 1.0);
    all.back().samples.push_back(std::move(sample));
  }
  return all;
}

void MeasureInProcess(const Options& options, const std::vector<std::string>& programs,
                      Results* results) {
  for (const std::string& program : programs) {
    if (options.stop != nullptr && *options.stop) return;
    const std::string name = program.substr(program.rfind('/') + 1);
    options.progress("in process: " + name);
    const absl::StatusOr<ChildResult> run =
        RunChild({program, "--benchmark_format=json",
                  absl::StrCat("--benchmark_repetitions=", options.rounds),
                  absl::StrCat("--benchmark_min_time=", 0.05 * options.guest_time)},
                 options.seconds_per_run);
    const absl::StatusOr<std::vector<Series>> series =
        run.ok() ? ParseGoogleBenchmark(run->output) : run.status();
    if (!series.ok()) {
      results->notes.push_back(absl::StrCat(name, ": ", series.status().message()));
      continue;
    }
    for (const Series& s : *series) results->series.push_back(s);
  }
}

}  // namespace ringfence::bench
