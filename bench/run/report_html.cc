// The HTML page: bars of ratios to native on a logarithmic axis, one group per workload, drawn as
// inline SVG so that the file needs nothing else.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run/report.h"
#include "bench/run/sample.h"

namespace ringfence::bench {
namespace {

constexpr double kBarHeight = 16;
constexpr double kLeft = 260;
constexpr double kPlotWidth = 600;

constexpr const char* kStyle =
    "body{font:14px/1.4 sans-serif;margin:2em auto;max-width:1000px;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:2px 10px;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child,td:nth-child(2),"
    "th:nth-child(2){text-align:left}svg text{font:12px sans-serif}"
    ".met{color:#176f2c}.missed{color:#b3261e;font-weight:bold}";

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

const char* Colour(const std::string& runtime) {
  if (runtime == "native") return "#8a8f98";
  if (runtime == "ringfence") return "#1a73e8";
  if (runtime == "ringfence:auto") return "#1aa260";
  if (runtime == "ringfence:exit") return "#e8710a";
  return "#6b4fbb";
}

// Bars of all series with a ratio to native, in the order measured.
std::string RatioPlot(const Results& results) {
  double largest = 10;
  int rows = 0;
  for (const Series& s : results.series) {
    largest = std::max(largest, results.Ratio(s.workload, s.runtime, "native"));
    rows++;
  }
  const double decades = std::ceil(std::log10(largest));
  const auto position = [&](double ratio) {
    return kLeft + kPlotWidth * std::clamp((std::log10(ratio) + 1) / (decades + 1), 0.0, 1.0);
  };
  const double height = rows * (kBarHeight + 4) + 40;
  std::string svg = absl::StrFormat("<svg width='%.0f' height='%.0f' role='img'>",
                                    kLeft + kPlotWidth + 80, height);
  for (double ratio = 0.1; ratio <= std::pow(10, decades) * 1.01; ratio *= 10) {
    absl::StrAppendFormat(&svg,
                          "<line x1='%.1f' y1='0' x2='%.1f' y2='%.0f' stroke='%s'/>"
                          "<text x='%.1f' y='%.0f' text-anchor='middle'>%gx</text>",
                          position(ratio), position(ratio), height - 24,
                          ratio > 0.99 && ratio < 1.01 ? "#444" : "#ddd", position(ratio),
                          height - 8, ratio);
  }
  double y = 4;
  for (const Series& s : results.series) {
    const double ratio = results.Ratio(s.workload, s.runtime, "native");
    if (ratio > 0) {
      absl::StrAppendFormat(&svg,
                            "<text x='%.0f' y='%.1f' text-anchor='end'>%s on %s</text>"
                            "<rect x='%.1f' y='%.1f' width='%.1f' height='%.0f' fill='%s'/>"
                            "<text x='%.1f' y='%.1f'>%.2fx</text>",
                            kLeft - 8, y + 12, Escape(s.workload), Escape(s.runtime), kLeft, y,
                            std::max(1.0, position(ratio) - kLeft), kBarHeight, Colour(s.runtime),
                            position(ratio) + 6, y + 12, ratio);
    }
    y += kBarHeight + 4;
  }
  return svg + "</svg>";
}

std::string Table(const Results& results) {
  std::string html =
      "<table><tr><th>workload</th><th>runtime</th><th>median ns</th><th>p10</th><th>p90</th>"
      "<th>x native</th></tr>";
  for (const Series& s : results.series) {
    absl::StrAppendFormat(&html,
                          "<tr><td>%s</td><td>%s</td><td>%.1f</td><td>%.1f</td><td>%.1f</td>"
                          "<td>%.2f</td></tr>",
                          Escape(s.workload), Escape(s.runtime), Median(s.ns), Quantile(s.ns, 0.1),
                          Quantile(s.ns, 0.9), results.Ratio(s.workload, s.runtime, "native"));
  }
  return html + "</table>";
}

}  // namespace

std::string HtmlReport(const Results& results) {
  bool all_met = false;
  std::string html = absl::StrCat(
      "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Ringfence "
      "benchmarks</title><style>",
      kStyle, "</style></head><body><h1>Ringfence benchmarks</h1><p>", Escape(results.host),
      "</p><h2>Ratio to native, logarithmic</h2>", RatioPlot(results), "<h2>Figures</h2>",
      Table(results), "<pre>", Escape(TargetReport(results, &all_met)), "</pre>");
  absl::StrAppend(&html, "<p>Rounds dropped for steal: ", results.dropped_rounds,
                  ", kept although noisy: ", results.noisy_rounds, "</p>");
  for (const std::string& note : results.notes) {
    absl::StrAppend(&html, "<p>Not measured: ", Escape(note), "</p>");
  }
  return html + "</body></html>\n";
}

}  // namespace ringfence::bench
