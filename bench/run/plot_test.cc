#include "bench/run/plot.h"

#include <catch2/catch.hpp>

namespace ringfence::bench {
namespace {

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) count++;
  return count;
}

TEST_CASE("a bar for each value, escaped names, no infinite coordinates") {
  BarPlot plot;
  plot.groups = {{"a<b", {{"native", 1, "1x"}, {"runsc", 1000, "1000x"}}},
                 {"c", {{"runc", 0.5, ""}}}};
  const std::string svg = DrawBars(plot);
  CHECK(CountOf(svg, "<rect") == 3);
  CHECK(svg.find("a&lt;b") != std::string::npos);
  CHECK(svg.find("1000x") != std::string::npos);
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
  CHECK(DrawBars({}).empty());
}

TEST_CASE("a line for each runtime") {
  Series native{"micro", "pipe", "native", "", "ns", {}};
  native.samples.push_back({});
  native.samples[0].quantiles = {{0.01, 90}, {0.5, 100}, {0.99, 2000}, {1, 0}};
  Series runsc = native;
  runsc.runtime = "runsc";
  const std::string svg = DrawPercentiles("pipe", {&native, &runsc});
  CHECK(CountOf(svg, "<polyline") == 2);
  CHECK(CountOf(svg, "<circle") == 8);
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(DrawPercentiles("nothing", {}).empty());
}

TEST_CASE("a runtime has its colour, its variants share it") {
  CHECK(Colour("runsc:kvm") == Colour("runsc"));
  CHECK(Colour("native") != Colour("ringfence"));
  CHECK(Colour("ringfence:exit") != Colour("ringfence"));
}

}  // namespace
}  // namespace ringfence::bench
