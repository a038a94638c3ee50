#include "bench/run/plot.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run/format.h"

namespace ringfence::bench {
namespace {

// A logarithmic axis of whole decades.
class LogAxis {
 public:
  // Covers smallest to largest; places them between `from` and `to`.
  LogAxis(double smallest, double largest, double from, double to)
      : first_(std::floor(std::log10(smallest) + 1e-9)),
        last_(std::max(first_ + 1, std::ceil(std::log10(largest) - 1e-9))),
        from_(from),
        to_(to) {}

  double At(double value) const {
    const double share = (std::log10(value) - first_) / (last_ - first_);
    return from_ + (to_ - from_) * std::clamp(share, 0.0, 1.0);
  }
  // The powers of ten on it, thinned out to at most `most`.
  std::vector<double> Ticks(int most) const {
    std::vector<double> ticks;
    const double step = std::ceil((last_ - first_ + 1) / most);
    for (double e = first_; e <= last_ + 0.5; e += step) ticks.push_back(std::pow(10, e));
    return ticks;
  }

 private:
  double first_, last_, from_, to_;
};

// "100 us", "10x", "0.1x": powers of ten without needless digits.
std::string TickLabel(double value, const std::string& unit) {
  if (unit == "x") return absl::StrFormat("%gx", value);
  const bool bytes = unit == "bytes";
  const char* const units[2][4] = {{"ns", "us", "ms", "s"}, {"B", "kB", "MB", "GB"}};
  int scale = 0;
  for (; scale < 3 && value >= 999; scale++) value /= 1000;
  return absl::StrFormat("%g %s", value, units[bytes ? 1 : 0][scale]);
}

std::string Text(double x, double y, const char* anchor, const std::string& css,
                 const std::string& text) {
  return absl::StrFormat("<text x='%.1f' y='%.1f' text-anchor='%s' class='%s'>%s</text>", x, y,
                         anchor, css, Escape(text));
}

std::string Line(double x1, double y1, double x2, double y2, const char* css) {
  return absl::StrFormat("<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='%s'/>", x1, y1, x2,
                         y2, css);
}

constexpr double kBar = 13, kBarGap = 3, kGroupGap = 14;
constexpr double kBarsLeft = 170, kBarsWidth = 700, kBarsRight = 90, kAxisHeight = 44, kTop = 20;

constexpr double kPlotWidth = 318, kPlotHeight = 220;
constexpr double kPlotLeft = 52, kPlotTop = 30, kPlotRight = 10, kPlotBottom = 26;

}  // namespace

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string Colour(const std::string& runtime) {
  static const std::map<std::string, std::string> colours = {
      {"native", "#7d8590"},         {"ringfence", "#1a5fb4"}, {"ringfence:auto", "#0f8a6c"},
      {"ringfence:exit", "#d9730d"}, {"runsc", "#7b4fc9"},     {"runc", "#c2347a"},
      {"crun", "#8a5a2b"},           {"kata", "#7a8a00"},      {"youki", "#0091ad"},
      {"in process", "#1a5fb4"}};
  const auto found = colours.find(runtime);
  if (found != colours.end()) return found->second;
  const auto family = colours.find(runtime.substr(0, runtime.find(':')));
  return family != colours.end() ? family->second : "#333f4d";
}

std::string Legend(const std::vector<std::string>& runtimes) {
  std::string html = "<p class='legend'>";
  for (const std::string& runtime : runtimes) {
    absl::StrAppendFormat(&html, "<span><i style='background:%s'></i>%s</span>", Colour(runtime),
                          Escape(runtime));
  }
  return html + "</p>";
}

std::string DrawBars(const BarPlot& plot) {
  double smallest = plot.base, largest = plot.base, height = kTop + kAxisHeight;
  for (const BarGroup& group : plot.groups) {
    height += static_cast<double>(group.bars.size()) * (kBar + kBarGap) + kGroupGap;
    for (const Bar& bar : group.bars) {
      smallest = std::min(smallest, bar.value);
      largest = std::max(largest, bar.value);
    }
  }
  if (plot.groups.empty()) return "";
  const double width = kBarsLeft + kBarsWidth + kBarsRight;
  const LogAxis axis(smallest, largest, kBarsLeft, kBarsLeft + kBarsWidth);
  std::string svg = absl::StrFormat("<svg viewBox='0 0 %.0f %.0f' width='%.0f' role='img'>", width,
                                    height, width);
  const double bottom = height - kAxisHeight + 4;
  // The scale is below the bars, and above them as well, where many do not fit on a screen.
  for (const double tick : axis.Ticks(9)) {
    const bool base = std::abs(tick / plot.base - 1) < 1e-6;
    absl::StrAppend(&svg, Line(axis.At(tick), kTop, axis.At(tick), bottom, base ? "base" : "grid"),
                    Text(axis.At(tick), kTop - 6, "middle", "tick", TickLabel(tick, plot.unit)),
                    Text(axis.At(tick), bottom + 15, "middle", "tick", TickLabel(tick, plot.unit)));
  }
  absl::StrAppend(&svg, Text(kBarsLeft + kBarsWidth / 2, bottom + 34, "middle", "tick", plot.axis));
  double y = kTop + 6;
  for (const BarGroup& group : plot.groups) {
    const double group_height = static_cast<double>(group.bars.size()) * (kBar + kBarGap);
    absl::StrAppend(&svg,
                    Text(kBarsLeft - 10, y + group_height / 2 + 3, "end", "name", group.label));
    for (const Bar& bar : group.bars) {
      const double from = std::min(axis.At(plot.base), axis.At(bar.value));
      const double to = std::max(axis.At(plot.base), axis.At(bar.value));
      absl::StrAppendFormat(&svg,
                            "<rect x='%.1f' y='%.1f' width='%.1f' height='%.0f' fill='%s'>"
                            "<title>%s</title></rect>",
                            from, y, std::max(1.5, to - from), kBar, Colour(bar.series),
                            Escape(absl::StrCat(group.label, " on ", bar.series, ": ", bar.label)));
      absl::StrAppend(&svg, Text(to + 5, y + kBar - 2.5, "start", "value", bar.label));
      y += kBar + kBarGap;
    }
    y += kGroupGap;
  }
  return svg + "</svg>";
}

std::string DrawPercentiles(const std::string& title, const std::vector<const Series*>& series) {
  static const std::vector<double> shares = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1};
  double smallest = 1e18, largest = 0;
  for (const Series* s : series) {
    for (const auto& [share, ns] : s->Quantiles()) {
      smallest = std::min(smallest, std::max(ns, 0.1));
      largest = std::max(largest, ns);
    }
  }
  if (largest <= 0) return "";
  const double bottom = kPlotHeight - kPlotBottom;
  const LogAxis y(smallest, largest, bottom, kPlotTop);
  const auto x = [&](size_t i) {
    return kPlotLeft + 8 +
           static_cast<double>(i) * (kPlotWidth - kPlotLeft - kPlotRight - 16) /
               static_cast<double>(shares.size() - 1);
  };
  std::string svg = absl::StrFormat("<svg viewBox='0 0 %.0f %.0f' width='%.0f' role='img'>",
                                    kPlotWidth, kPlotHeight, kPlotWidth);
  absl::StrAppend(&svg, Text(kPlotLeft, 16, "start", "title", title));
  for (const double tick : y.Ticks(7)) {
    absl::StrAppend(&svg, Line(kPlotLeft, y.At(tick), kPlotWidth - kPlotRight, y.At(tick), "grid"),
                    Text(kPlotLeft - 5, y.At(tick) + 4, "end", "tick", TickLabel(tick, "ns")));
  }
  for (size_t i = 0; i < shares.size(); i++) {
    if (i == 2 || i == 4) continue;  // no room for the quartiles' names
    const std::string label =
        i + 1 == shares.size() ? "max" : absl::StrFormat("%g", 100 * shares[i]);
    absl::StrAppend(&svg, Text(x(i), bottom + 15, "middle", "tick", label));
  }
  for (const Series* s : series) {
    const std::map<double, double> quantiles = s->Quantiles();
    std::string points, dots;
    for (size_t i = 0; i < shares.size(); i++) {
      const auto found = quantiles.find(shares[i]);
      if (found == quantiles.end()) continue;
      const double at = y.At(std::max(found->second, 0.1));
      absl::StrAppendFormat(&points, "%.1f,%.1f ", x(i), at);
      absl::StrAppendFormat(
          &dots, "<circle cx='%.1f' cy='%.1f' r='2.2' fill='%s'><title>%s</title></circle>", x(i),
          at, Colour(s->runtime),
          Escape(absl::StrFormat("%s, p%g: %s", s->runtime, 100 * shares[i],
                                 FormatNs(found->second))));
    }
    absl::StrAppendFormat(&svg, "<polyline points='%s' stroke='%s'/>%s", points, Colour(s->runtime),
                          dots);
  }
  return svg + "</svg>";
}

}  // namespace ringfence::bench
