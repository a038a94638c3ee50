#include "bench/run/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run/sample.h"

namespace ringfence::bench {
namespace {

double CounterOr0(const Counters& counters, const char* name) {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

// Exits by cause per 1000 calls that reached the sentry.
std::string ExitLine(const Counters& counters) {
  const double calls = CounterOr0(counters, "syscalls");
  if (calls <= 0) return "";
  std::string line = absl::StrFormat("calls %.0f  ", calls);
  for (const char* name : {"gofer_calls", "exits_syscall", "exits_fault", "exits_exception",
                           "exits_interrupt", "exits_other", "exitless_calls", "kicks"}) {
    absl::StrAppendFormat(&line, "%s %.1f  ", name, 1000 * CounterOr0(counters, name) / calls);
  }
  return line;
}

}  // namespace

std::string TextReport(const Results& results) {
  std::string text = absl::StrCat(results.host, "\n");
  absl::StrAppendFormat(&text, "%-14s %-16s %12s %12s %12s %9s\n", "workload", "runtime",
                        "median ns", "p10", "p90", "x native");
  for (const Series& s : results.series) {
    absl::StrAppendFormat(&text, "%-14s %-16s %12.1f %12.1f %12.1f %9.2f\n", s.workload, s.runtime,
                          Median(s.ns), Quantile(s.ns, 0.1), Quantile(s.ns, 0.9),
                          results.Ratio(s.workload, s.runtime, "native"));
  }
  text += "\nper 1000 system calls that reached the sentry:\n";
  for (const Series& s : results.series) {
    const std::string exits = ExitLine(s.counters);
    if (!exits.empty())
      absl::StrAppendFormat(&text, "%-14s %-16s %s\n", s.workload, s.runtime, exits);
  }
  absl::StrAppend(&text, "\nrounds dropped for steal: ", results.dropped_rounds,
                  ", kept although noisy: ", results.noisy_rounds, "\n");
  for (const std::string& note : results.notes)
    absl::StrAppend(&text, "not measured: ", note, "\n");
  return text;
}

std::string JsonReport(const Results& results) {
  nlohmann::json json = {{"host", results.host},
                         {"dropped_rounds", results.dropped_rounds},
                         {"noisy_rounds", results.noisy_rounds},
                         {"notes", results.notes},
                         {"series", nlohmann::json::array()}};
  for (const Series& s : results.series) {
    json["series"].push_back({{"workload", s.workload},
                              {"runtime", s.runtime},
                              {"ns", s.ns},
                              {"median_ns", Median(s.ns)},
                              {"ratio_to_native", results.Ratio(s.workload, s.runtime, "native")},
                              {"counters", s.counters}});
  }
  return json.dump(2);
}

std::string TargetReport(const Results& results, bool* all_met) {
  std::string text = "targets:\n";
  *all_met = true;
  for (const Target& target : Targets()) {
    const double ratio = results.Ratio(target.workload, target.runtime, target.against);
    const bool met = ratio > 0 && ratio <= target.at_most;
    const bool skipped =
        std::count(results.absent.begin(), results.absent.end(), target.against) != 0;
    *all_met = *all_met && (met || skipped);
    const char* const verdict = met ? "met" : skipped ? "skipped" : "MISSED";
    absl::StrAppendFormat(&text, "  %-7s %s on %s: %s %s, at most %.2fx\n", verdict,
                          target.workload, target.runtime,
                          ratio > 0 ? absl::StrFormat("%.2fx", ratio) : "not measured against",
                          target.against, target.at_most);
  }
  return text;
}

}  // namespace ringfence::bench
