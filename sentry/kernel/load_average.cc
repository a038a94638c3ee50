#include "sentry/kernel/load_average.h"

#include <algorithm>
#include <cmath>

namespace ringfence::sentry {

std::array<double, 3> LoadAverage::Update(int64_t now_ns, int64_t cpu_ns) {
  constexpr int64_t kShortest = 1'000'000'000;
  constexpr double kMinutes[] = {1, 5, 15};
  absl::MutexLock lock(&mutex_);
  const int64_t passed = now_ns - last_ns_;
  if (passed < kShortest) return loads_;
  const auto ns = static_cast<double>(passed);
  const double running = static_cast<double>(std::max<int64_t>(cpu_ns - last_cpu_ns_, 0)) / ns;
  for (size_t i = 0; i < loads_.size(); ++i) {
    const double kept = std::exp(-ns / (kMinutes[i] * 60e9));
    loads_[i] = loads_[i] * kept + running * (1 - kept);
  }
  last_ns_ = now_ns;
  last_cpu_ns_ = cpu_ns;
  return loads_;
}

}  // namespace ringfence::sentry
