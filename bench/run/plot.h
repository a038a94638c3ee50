// Plots as inline SVG: text in, text out, nothing else needed to show them.
#ifndef RINGFENCE_BENCH_RUN_PLOT_H_
#define RINGFENCE_BENCH_RUN_PLOT_H_

#include <string>
#include <vector>

#include "bench/run/measure.h"

namespace ringfence::bench {

// Of text in HTML.
std::string Escape(const std::string& text);

// The same for a runtime in every plot; "#rrggbb".
std::string Colour(const std::string& runtime);

// A line of coloured squares and names.
std::string Legend(const std::vector<std::string>& runtimes);

// Horizontal bars in groups, on a logarithmic axis.
struct Bar {
  std::string series;  // chooses the colour
  double value;        // > 0
  std::string label;   // at its end
};
struct BarGroup {
  std::string label;
  std::vector<Bar> bars;
};
struct BarPlot {
  std::vector<BarGroup> groups;
  double base = 1;         // bars begin there: to the right above it, to the left below
  std::string axis;        // what the numbers are
  std::string unit = "x";  // of the axis: "x", "ns" or "bytes"
};
std::string DrawBars(const BarPlot& plot);

// Latencies of one workload: percentiles to the right, logarithmic time upwards, a line per
// runtime.
std::string DrawPercentiles(const std::string& title, const std::vector<const Series*>& series);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_PLOT_H_
