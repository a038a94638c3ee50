// Numbers as people read them.
#ifndef RINGFENCE_BENCH_RUN_FORMAT_H_
#define RINGFENCE_BENCH_RUN_FORMAT_H_

#include <string>

namespace ringfence::bench {

// Three significant digits and a unit: "0.31 us" is "310 ns"; "12.3 ms".
std::string FormatNs(double ns);
std::string FormatBytes(double bytes);  // powers of 1000: "12.3 MB"
std::string FormatRatio(double ratio);  // "1.24x", "230x"
// In the unit of a series, "ns" or "bytes".
std::string FormatValue(double value, const std::string& unit);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_FORMAT_H_
