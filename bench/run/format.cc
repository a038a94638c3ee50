#include "bench/run/format.h"

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ringfence::bench {
namespace {

std::string ThreeDigits(double value) {
  const double size = std::abs(value);
  const int decimals = size < 0.0995 ? 4 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f", decimals, value);
}

std::string Scaled(double value, const std::array<const char*, 4>& units) {
  size_t unit = 0;
  while (unit + 1 < units.size() && std::abs(value) >= 999.5) {
    value /= 1000;
    unit++;
  }
  return absl::StrCat(ThreeDigits(value), " ", units[unit]);
}

}  // namespace

std::string FormatNs(double ns) { return Scaled(ns, {"ns", "us", "ms", "s"}); }
std::string FormatBytes(double bytes) { return Scaled(bytes, {"B", "kB", "MB", "GB"}); }
std::string FormatRatio(double ratio) { return ThreeDigits(ratio) + "x"; }

std::string FormatValue(double value, const std::string& unit) {
  return unit == "bytes" ? FormatBytes(value) : FormatNs(value);
}

}  // namespace ringfence::bench
