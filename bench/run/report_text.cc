#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run/derive.h"
#include "bench/run/format.h"
#include "bench/run/report.h"
#include "bench/run/sample.h"

namespace ringfence::bench {
namespace {

std::string FiguresOf(const Results& results, const std::string& suite) {
  std::string text;
  for (const Series& s : results.series) {
    if (s.suite != suite) continue;
    const double ratio = results.Ratio(s.workload, s.runtime, "native");
    absl::StrAppendFormat(
        &text, "%-24s %-16s %9s %9s %9s %9s %10s\n", s.workload, s.runtime,
        FormatValue(s.MedianValue(), s.unit), FormatValue(Quantile(s.Values(), 0.1), s.unit),
        FormatValue(Quantile(s.Values(), 0.9), s.unit), ratio > 0 ? FormatRatio(ratio) : "-",
        s.unit == "ns" && s.MedianCpu() > 0 ? FormatNs(s.MedianCpu()) : "-");
  }
  if (text.empty()) return "";
  return absl::StrFormat("\n%s\n%-24s %-16s %9s %9s %9s %9s %10s\n", suite, "workload", "runtime",
                         "median", "p10", "p90", "x native", "CPU time") +
         text;
}

std::string CountersOf(const Results& results) {
  std::string text;
  for (const Series& s : results.series) {
    const Counters counters = s.MedianCounters();
    const auto rows = Per1000Calls(counters);
    if (rows.empty()) continue;
    if (text.empty()) {
      absl::StrAppendFormat(&text, "\nper 1000 calls that reached the sentry\n%-16s %-15s %9s",
                            "workload", "runtime", "calls");
      for (const auto& [name, value] : rows) absl::StrAppendFormat(&text, " %12s", name);
      text += "    exitless   exit-free\n";
    }
    absl::StrAppendFormat(&text, "%-16s %-15s %9.0f", s.workload, s.runtime,
                          CounterOf(counters, "syscalls"));
    for (const auto& [name, value] : rows) absl::StrAppendFormat(&text, " %12.1f", value);
    absl::StrAppendFormat(&text, " %10.1f%% %10.1f%%\n", 100 * ExitlessShare(counters),
                          100 * ExitFreeShare(counters));
  }
  return text;
}

}  // namespace

std::string TextReport(const Results& results) {
  std::string text = absl::StrCat(results.host, "\n");
  for (const std::string& suite : Suites()) absl::StrAppend(&text, FiguresOf(results, suite));
  absl::StrAppend(&text, CountersOf(results),
                  "\nrounds dropped for steal: ", results.dropped_rounds,
                  ", kept although noisy: ", results.noisy_rounds, "\n");
  for (const auto& [runtime, why] : results.absent) {
    absl::StrAppend(&text, "not measured: ", runtime, ": ", why, "\n");
  }
  for (const std::string& note : results.notes)
    absl::StrAppend(&text, "not measured: ", note, "\n");
  if (results.interrupted) text += "interrupted: the rest was not measured\n";
  return text;
}

std::string TargetReport(const std::vector<Outcome>& outcomes) {
  if (outcomes.empty()) return "";
  std::string text = "targets\n";
  std::map<Verdict, int> count;
  for (const Outcome& o : outcomes) {
    count[o.verdict]++;
    std::string verdict = VerdictText(o.verdict);
    if (o.verdict == Verdict::kMissed) verdict = "MISSED";
    absl::StrAppendFormat(&text, "  %-12s %-16s %-52s %12s  %s%s\n", verdict, o.target->workload,
                          o.target->what, o.figure, o.limit, o.why.empty() ? "" : "; " + o.why);
  }
  absl::StrAppendFormat(&text, "  %d met, %d missed, %d not measured\n", count[Verdict::kMet],
                        count[Verdict::kMissed], count[Verdict::kNotMeasured]);
  return text;
}

}  // namespace ringfence::bench
