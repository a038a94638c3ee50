// Statistics over rounds: medians, spread and ratios formed within a round.
#ifndef RINGFENCE_BENCH_RUN_SAMPLE_H_
#define RINGFENCE_BENCH_RUN_SAMPLE_H_

#include <cstddef>
#include <vector>

namespace ringfence::bench {

// The q-quantile (0 to 1) of the values by linear interpolation; 0 for none.
double Quantile(std::vector<double> values, double q);
inline double Median(const std::vector<double>& values) { return Quantile(values, 0.5); }

// Median of a[i] / b[i]: both were measured in round i, so drift of the machine cancels.
double MedianRatio(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_SAMPLE_H_
