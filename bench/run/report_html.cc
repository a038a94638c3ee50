// One HTML file that needs nothing else: tables, and plots as inline SVG.
#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run/derive.h"
#include "bench/run/format.h"
#include "bench/run/plot.h"
#include "bench/run/report.h"
#include "bench/run/sample.h"

namespace ringfence::bench {
namespace {

constexpr const char* kStyle = R"(
body{font:15px/1.45 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:#1f2328;
background:#fff;margin:32px auto;max-width:1000px;padding:0 20px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 8px;padding-top:12px;
border-top:1px solid #d0d7de}h3{font-size:15px;margin:24px 0 6px}
p{margin:6px 0}.host{color:#57606a}
table{border-collapse:collapse;margin:10px 0;font-size:13px;width:100%}
th{color:#57606a;font-weight:600}td,th{padding:4px 8px;text-align:right;white-space:nowrap;
border-bottom:1px solid #e4e8ec;font-variant-numeric:tabular-nums}
.dense td,.dense th{padding:3px 5px;font-size:12px}.dense th{white-space:normal;
vertical-align:bottom}td.l,th.l{text-align:left}td.w{white-space:normal}
tr.first td{border-top:1px solid #afb8c1}
.chip{display:inline-block;min-width:84px;text-align:center;border-radius:9px;padding:0 8px;
font-size:12px;font-weight:600}
.met{background:#dafbe1;color:#116329}.missed{background:#ffebe9;color:#a40e26}
.reported{background:#eaeef2;color:#424a53}.none{background:#fff8c5;color:#7d4e00}
.legend span{margin-right:18px;white-space:nowrap}.legend i{display:inline-block;width:12px;
height:12px;border-radius:2px;margin-right:6px;vertical-align:-1px}
svg{display:block;max-width:100%;height:auto}svg text{font:12px system-ui,"DejaVu Sans",sans-serif;
fill:#1f2328}svg .tick,svg .value{font-size:11px;fill:#57606a}svg .title{font-weight:600}
svg .grid{stroke:#e4e8ec}svg .base{stroke:#57606a}svg polyline{fill:none;stroke-width:1.7}
.grid3{display:grid;grid-template-columns:repeat(3,1fr);gap:14px 8px}
.dot{display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:6px}
.scroll{overflow-x:auto}code{font-size:12px}
@media(max-width:900px){.grid3{grid-template-columns:repeat(2,1fr)}}
)";

struct SuiteText {
  const char* suite;
  const char* title;
  const char* text;
};
constexpr SuiteText kTexts[] = {
    {"micro", "System calls, memory, processes",
     "Measured inside the guest: the same static program everywhere."},
    {"macro", "Programs", "Whole programs of the host, by the clock outside."},
    {"startup", "Start", "From the command line to a program's first byte, and to its end."},
    {"density", "Memory of idle sandboxes", "One sandbox whose program sleeps, and fifty."},
    {"inprocess", "In process", "Pieces of the sentry without a sandbox around them."},
};

std::vector<const Series*> SeriesOf(const Results& results, const std::string& suite) {
  std::vector<const Series*> found;
  for (const Series& s : results.series) {
    if (s.suite == suite) found.push_back(&s);
  }
  return found;
}

// In the order measured, each once.
std::vector<std::string> RuntimesOf(const std::vector<const Series*>& series) {
  std::vector<std::string> names;
  for (const Series* s : series) {
    if (std::count(names.begin(), names.end(), s->runtime) == 0) names.push_back(s->runtime);
  }
  return names;
}

std::vector<std::string> WorkloadsOf(const std::vector<const Series*>& series) {
  std::vector<std::string> names;
  for (const Series* s : series) {
    if (std::count(names.begin(), names.end(), s->workload) == 0) names.push_back(s->workload);
  }
  return names;
}

// Those of a workload next to each other.
std::vector<const Series*> ByWorkload(const std::vector<const Series*>& series) {
  std::vector<const Series*> sorted;
  for (const std::string& workload : WorkloadsOf(series)) {
    std::copy_if(series.begin(), series.end(), std::back_inserter(sorted),
                 [&](const Series* s) { return s->workload == workload; });
  }
  return sorted;
}

std::string RuntimeCell(const std::string& runtime) {
  return absl::StrFormat("<td class='l'><i class='dot' style='background:%s'></i>%s</td>",
                         Colour(runtime), Escape(runtime));
}

const char* ChipClass(Verdict verdict) {
  switch (verdict) {
    case Verdict::kMet:
      return "met";
    case Verdict::kMissed:
      return "missed";
    case Verdict::kReported:
      return "reported";
    case Verdict::kNotMeasured:
      return "none";
  }
  return "";
}

std::string TargetTable(const std::vector<Outcome>& outcomes) {
  if (outcomes.empty()) return "";
  std::string html =
      "<h2>Targets</h2><table><tr><th class='l'></th><th class='l'>what</th><th "
      "class='l'>workload</th>"
      "<th>figure</th><th class='l'>target</th></tr>";
  for (const Outcome& o : outcomes) {
    absl::StrAppendFormat(
        &html,
        "<tr><td class='l'><span class='chip %s'>%s</span></td><td class='l w'>%s%s</td>"
        "<td class='l'>%s</td><td>%s</td><td class='l'>%s</td></tr>",
        ChipClass(o.verdict), VerdictText(o.verdict), Escape(o.target->what),
        o.why.empty() ? "" : "<br><small>" + Escape(o.why) + "</small>", Escape(o.target->workload),
        Escape(o.figure), Escape(o.limit));
  }
  return html + "</table>";
}

std::string FigureTable(const Results& results, const std::vector<const Series*>& series) {
  std::string html =
      "<div class='scroll'><table><tr><th class='l'>workload</th><th class='l'>operation</th><th "
      "class='l'>runtime</th><th>median</th><th>p10&ndash;p90 of rounds</th><th>p99 of "
      "calls</th><th>CPU time</th><th>to native</th></tr>";
  std::string last;
  for (const Series* s : ByWorkload(series)) {
    const bool first = s->workload != last;
    last = s->workload;
    const auto quantiles = s->Quantiles();
    const auto p99 = quantiles.find(0.99);
    const double ratio = results.Ratio(s->workload, s->runtime, "native");
    const std::string operation = first ? s->operation : "";
    absl::StrAppendFormat(
        &html,
        "<tr%s><td class='l'>%s</td><td class='l w'>%s</td>%s<td>%s</td><td>%s &ndash; "
        "%s</td><td>%s</td><td>%s</td><td>%s</td></tr>",
        first ? " class='first'" : "", first ? Escape(s->workload) : "", Escape(operation),
        RuntimeCell(s->runtime), FormatValue(s->MedianValue(), s->unit),
        FormatValue(Quantile(s->Values(), 0.1), s->unit),
        FormatValue(Quantile(s->Values(), 0.9), s->unit),
        p99 == quantiles.end() ? "" : FormatNs(p99->second),
        s->unit == "ns" && s->MedianCpu() > 0 ? FormatNs(s->MedianCpu()) : "",
        ratio > 0 ? FormatRatio(ratio) : "");
  }
  return html + "</table></div>";
}

// Ratios to native where there is a native figure, else the figures themselves.
std::string Bars(const Results& results, const std::vector<const Series*>& series, bool ratios) {
  BarPlot plot;
  double smallest = 1e18;
  for (const std::string& workload : WorkloadsOf(series)) {
    BarGroup group{workload, {}};
    for (const Series* s : series) {
      if (s->workload != workload || (ratios && s->runtime == "native")) continue;
      const double ratio = results.Ratio(workload, s->runtime, "native");
      const double value = ratios ? ratio : s->MedianValue();
      if (value <= 0) continue;
      smallest = std::min(smallest, value);
      group.bars.push_back(
          {s->runtime, value, ratios ? FormatRatio(value) : FormatValue(value, s->unit)});
    }
    if (!group.bars.empty()) plot.groups.push_back(std::move(group));
  }
  if (plot.groups.empty()) return "";
  plot.axis = "time as a multiple of native, logarithmic";
  if (!ratios) {
    plot.base = std::pow(10, std::floor(std::log10(smallest)));
    plot.unit = series[0]->unit;
    plot.axis = "logarithmic";
  }
  return DrawBars(plot);
}

std::string Distributions(const std::vector<const Series*>& series) {
  std::string html;
  for (const std::string& workload : WorkloadsOf(series)) {
    std::vector<const Series*> lines;
    for (const Series* s : series) {
      if (s->workload == workload && s->Quantiles().size() > 1) lines.push_back(s);
    }
    if (!lines.empty()) absl::StrAppend(&html, "<div>", DrawPercentiles(workload, lines), "</div>");
  }
  if (html.empty()) return "";
  return absl::StrCat(
      "<h3>Latency by percentile of single operations (short ones: of batches of 4 "
      "us)</h3><div class='grid3'>",
      html, "</div>");
}

std::string SuiteSection(const Results& results, const SuiteText& text) {
  const std::vector<const Series*> series = SeriesOf(results, text.suite);
  if (series.empty()) return "";
  const bool ratios =
      std::string(text.suite) != "density" && std::string(text.suite) != "inprocess";
  return absl::StrCat("<h2>", text.title, "</h2><p>", text.text, "</p>", Legend(RuntimesOf(series)),
                      Bars(results, series, ratios), Distributions(series), "<h3>Figures</h3>",
                      FigureTable(results, series));
}

std::string CounterTable(const Results& results) {
  std::string html;
  for (const Series& s : results.series) {
    const Counters counters = s.MedianCounters();
    const auto rows = Per1000Calls(counters);
    if (rows.empty()) continue;
    if (html.empty()) {
      html =
          "<h2>Exits</h2><p>Counts per 1000 system calls that reached the sentry carry over to "
          "other "
          "hosts. Exit-free: 1 &minus; returns of KVM_RUN / calls; exitless: answered by a service "
          "thread. Metal and nested: time in exits per operation where one costs 2 us and 40 us."
          "</p><div class='scroll'><table class='dense'><tr><th class='l'>workload</th><th "
          "class='l'>runtime</th><th>calls</th><th>exit-free</th><th>exitless</th><th>metal</th>"
          "<th>nested</th>";
      for (const auto& [name, value] : rows) absl::StrAppend(&html, "<th>", name, "</th>");
      html += "</tr>";
    }
    absl::StrAppendFormat(
        &html,
        "<tr><td "
        "class='l'>%s</td>%s<td>%.0f</td><td>%.1f%%</td><td>%.1f%%</td><td>%s</td><td>%s</td>",
        Escape(s.workload), RuntimeCell(s.runtime), CounterOf(counters, "syscalls"),
        100 * ExitFreeShare(counters), 100 * ExitlessShare(counters), FormatNs(ExitTime(s, 2e3)),
        FormatNs(ExitTime(s, 40e3)));
    for (const auto& [name, value] : rows) {
      absl::StrAppendFormat(&html, "<td>%.*f</td>", value < 100 ? 1 : 0, value);
    }
    html += "</tr>";
  }
  return html.empty() ? "" : html + "</table></div>";
}

std::string NotMeasured(const Results& results) {
  std::string html;
  for (const auto& [runtime, why] : results.absent) {
    absl::StrAppend(&html, "<li><b>", Escape(runtime), "</b>: ", Escape(why), "</li>");
  }
  for (const std::string& note : results.notes)
    absl::StrAppend(&html, "<li>", Escape(note), "</li>");
  if (results.interrupted) html += "<li>The run was interrupted.</li>";
  return html.empty() ? "" : "<h2>Not measured</h2><ul>" + html + "</ul>";
}

std::string RuntimeList(const Results& results) {
  std::string html;
  for (const Runtime& r : results.runtimes) {
    if (!r.version.empty())
      absl::StrAppend(&html, html.empty() ? "" : "; ", r.name, ": ", r.version);
  }
  return html.empty() ? "" : "<p class='host'>" + Escape(html) + "</p>";
}

}  // namespace

std::string HtmlReport(const Results& results, const std::vector<Outcome>& outcomes) {
  std::string html = absl::StrCat(
      "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Ringfence "
      "benchmarks</title><style>",
      kStyle, "</style></head><body><h1>Ringfence benchmarks</h1><p class='host'>",
      Escape(results.host), "</p><p class='host'>", Escape(results.when), "</p>",
      RuntimeList(results), TargetTable(outcomes));
  for (const SuiteText& text : kTexts) absl::StrAppend(&html, SuiteSection(results, text));
  absl::StrAppend(&html, CounterTable(results), NotMeasured(results),
                  "<p class='host'>Rounds dropped for steal: ", results.dropped_rounds,
                  "; kept although noisy: ", results.noisy_rounds, ".</p>");
  return html + "</body></html>\n";
}

}  // namespace ringfence::bench
