#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/run/measure.h"
#include "bench/run/sample.h"

namespace ringfence::bench {
namespace {

// The median over samples of what `of` finds in each.
template <typename Of>
double MedianOf(const std::vector<Sample>& samples, const Of& of) {
  std::vector<double> values;
  for (const Sample& s : samples) values.push_back(of(s));
  return Median(values);
}

// Each key's median over the maps.
template <typename Map, typename Of>
Map MedianByKey(const std::vector<Sample>& samples, const Of& of) {
  std::map<typename Map::key_type, std::vector<double>> values;
  for (const Sample& s : samples) {
    for (const auto& [key, value] : of(s)) values[key].push_back(value);
  }
  Map medians;
  for (const auto& [key, list] : values) medians[key] = Median(list);
  return medians;
}

}  // namespace

std::vector<double> Series::Values() const {
  std::vector<double> values;
  for (const Sample& s : samples) values.push_back(s.value);
  return values;
}

double Series::MedianValue() const { return Median(Values()); }

double Series::MedianCpu() const {
  return MedianOf(samples, [](const Sample& s) { return s.cpu_ns; });
}

double Series::MedianMean() const {
  return MedianOf(samples, [](const Sample& s) { return s.mean; });
}

std::map<double, double> Series::Quantiles() const {
  return MedianByKey<std::map<double, double>>(samples,
                                               [](const Sample& s) { return s.quantiles; });
}

Counters Series::MedianCounters() const {
  return MedianByKey<Counters>(samples, [](const Sample& s) { return s.counters; });
}

const Series* Results::Find(const std::string& workload, const std::string& runtime) const {
  for (const Series& s : series) {
    if (s.workload == workload && s.runtime == runtime) return &s;
  }
  return nullptr;
}

double Results::Ratio(const std::string& workload, const std::string& a,
                      const std::string& b) const {
  const Series* x = Find(workload, a);
  const Series* y = Find(workload, b);
  return x == nullptr || y == nullptr ? 0 : MedianRatio(x->Values(), y->Values());
}

absl::StatusOr<Sample> ParseGuestOutput(const std::string& output) {
  const std::vector<std::string> lines = absl::StrSplit(output, '\n');
  Sample sample;
  if (!absl::SimpleAtod(lines[0], &sample.value) || sample.value <= 0) {
    return absl::InternalError(absl::StrCat("not a number: ", lines[0]));
  }
  const std::vector<std::string> words =
      absl::StrSplit(lines.size() > 1 ? lines[1] : "", ' ', absl::SkipEmpty());
  for (size_t i = 0; i < words.size(); i++) {
    double share = 0, ns = 0;
    const std::vector<std::string> pair = absl::StrSplit(words[i], ':');
    if (pair.size() == 2 && absl::SimpleAtod(pair[0], &share) && absl::SimpleAtod(pair[1], &ns)) {
      sample.quantiles[share] = ns;
    } else if (i + 1 < words.size() && words[i] == "mean") {
      static_cast<void>(absl::SimpleAtod(words[i + 1], &sample.mean));
    } else if (i + 1 < words.size() && words[i] == "ran") {
      static_cast<void>(absl::SimpleAtod(words[i + 1], &sample.operations));
    }
  }
  return sample;
}

}  // namespace ringfence::bench
