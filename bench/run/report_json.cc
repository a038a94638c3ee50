#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "bench/run/derive.h"
#include "bench/run/report.h"

namespace ringfence::bench {
namespace {

using nlohmann::json;

json SeriesJson(const Results& results, const Series& s) {
  json one = {{"suite", s.suite},
              {"workload", s.workload},
              {"runtime", s.runtime},
              {"operation", s.operation},
              {"unit", s.unit},
              {"values", s.Values()},
              {"median", s.MedianValue()},
              {"ratio_to_native", results.Ratio(s.workload, s.runtime, "native")}};
  if (s.MedianCpu() > 0) one["cpu_ns"] = s.MedianCpu();
  if (s.MedianMean() > 0) one["mean"] = s.MedianMean();
  for (const auto& [share, ns] : s.Quantiles()) {
    one["quantiles"][absl::StrFormat("%g", share)] = ns;
  }
  const Counters counters = s.MedianCounters();
  if (!counters.empty()) {
    one["counters"] = counters;
    one["exit_free_share"] = ExitFreeShare(counters);
    one["exitless_share"] = ExitlessShare(counters);
    one["exits_per_operation"] = ExitTime(s, 1);
    for (const auto& [name, value] : Per1000Calls(counters)) one["per_1000_calls"][name] = value;
  }
  return one;
}

}  // namespace

std::string JsonReport(const Results& results, const std::vector<Outcome>& outcomes) {
  json all = {{"schema", 2},
              {"host", results.host},
              {"when", results.when},
              {"interrupted", results.interrupted},
              {"dropped_rounds", results.dropped_rounds},
              {"noisy_rounds", results.noisy_rounds},
              {"notes", results.notes},
              {"absent", results.absent},
              {"runtimes", json::array()},
              {"series", json::array()},
              {"targets", json::array()}};
  for (const Runtime& r : results.runtimes) {
    all["runtimes"].push_back({{"name", r.name}, {"version", r.version}, {"command", r.prefix}});
  }
  for (const Series& s : results.series) all["series"].push_back(SeriesJson(results, s));
  for (const Outcome& o : outcomes) {
    all["targets"].push_back({{"what", o.target->what},
                              {"workload", o.target->workload},
                              {"runtime", o.target->runtime},
                              {"verdict", VerdictText(o.verdict)},
                              {"value", o.value},
                              {"figure", o.figure},
                              {"limit", o.limit},
                              {"why", o.why}});
  }
  // What a program printed need not be UTF-8.
  return all.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace ringfence::bench
