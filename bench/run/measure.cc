#include "bench/run/measure.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "bench/run/child.h"
#include "bench/run/host.h"
#include "bench/run/sample.h"

namespace ringfence::bench {
namespace {

// A file of ours for one run's statistics.
std::string StatsPath() { return absl::StrCat("/tmp/ringfence-bench-", getpid(), ".json"); }

Counters ReadCounters(const std::string& path) {
  Counters counters;
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object()) return counters;
  for (const auto& [name, value] : json.items()) {
    if (value.is_number()) counters[name] = value.get<double>();
  }
  return counters;
}

absl::StatusOr<double> ParseNumber(const std::string& output) {
  double value = 0;
  const std::string first = output.substr(0, output.find('\n'));
  if (!absl::SimpleAtod(first, &value) || value <= 0) {
    return absl::InternalError(absl::StrCat("not a number: ", output));
  }
  return value;
}

// One run of one runtime; bare loops are run by exit_bench, which knows how to make a vCPU.
absl::StatusOr<double> RunOnce(const Options& options, const Workload& workload,
                               const Runtime& runtime, Counters* counters) {
  std::vector<std::string> command = runtime.prefix;
  if (runtime.ringfence) {
    unlink(StatsPath().c_str());
    command.insert(command.end(), {absl::StrCat("--stats=", StatsPath()), "--"});
  }
  const bool timed_here = !workload.command.empty();
  if (timed_here) {
    command.insert(command.end(), workload.command.begin(), workload.command.end());
  } else if (runtime.name.rfind("bare:", 0) != 0) {
    const long count = runtime.sandbox ? workload.sandbox_count : workload.native_count;
    command.insert(command.end(), {options.guest, workload.name, absl::StrCat(count)});
    command.insert(command.end(), workload.arguments.begin(), workload.arguments.end());
  }
  const auto start = std::chrono::steady_clock::now();
  const absl::StatusOr<std::string> output = RunChild(command, options.seconds_per_run);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  if (!output.ok()) return output.status();
  if (runtime.ringfence) *counters = ReadCounters(StatsPath());
  if (timed_here) return took.count();
  return ParseNumber(*output);
}

class Round {
 public:
  Round(const Options& options, const Workload& workload, Results* results)
      : options_(options), workload_(workload), results_(results) {
    for (const Runtime& runtime : options.runtimes) {
      if (std::count(workload.runtimes.begin(), workload.runtimes.end(), runtime.name) == 0) {
        continue;
      }
      runtimes_.push_back(&runtime);
      series_.push_back({workload.name, runtime.name, {}, {}});
    }
  }

  // What each runtime reads from the disk is in the page cache afterwards. Whoever fails here fails
  // in a round, too, and is told of there.
  void WarmUp() {
    for (size_t i = 0; i < runtimes_.size(); i++) {
      static_cast<void>(RunOnce(options_, workload_, *runtimes_[i], &series_[i].counters));
    }
  }

  // True when the round was quiet enough (or may not be repeated) and has been kept.
  bool Run(bool keep_anyway) {
    std::vector<double> values(runtimes_.size(), 0);
    const CpuTimes before = ReadCpuTimes();
    for (size_t i = 0; i < runtimes_.size(); i++) {
      if (failed_.count(i) != 0) continue;
      const absl::StatusOr<double> ns =
          RunOnce(options_, workload_, *runtimes_[i], &series_[i].counters);
      if (ns.ok()) {
        values[i] = *ns;
        continue;
      }
      failed_.insert(i);
      results_->notes.push_back(
          absl::StrCat(workload_.name, " on ", runtimes_[i]->name, ": ", ns.status().message()));
    }
    const bool quiet = StealShare(before, ReadCpuTimes()) <= options_.max_steal;
    if (!quiet && !keep_anyway) {
      results_->dropped_rounds++;
      return false;
    }
    if (!quiet) results_->noisy_rounds++;
    for (size_t i = 0; i < values.size(); i++) {
      if (failed_.count(i) == 0) series_[i].ns.push_back(values[i]);
    }
    return true;
  }

  void Finish() {
    for (size_t i = 0; i < series_.size(); i++) {
      if (failed_.count(i) == 0) results_->series.push_back(std::move(series_[i]));
    }
  }

 private:
  const Options& options_;
  const Workload& workload_;
  Results* results_;
  std::vector<const Runtime*> runtimes_;
  std::vector<Series> series_;
  std::set<size_t> failed_;
};

}  // namespace

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
  return x == nullptr || y == nullptr ? 0 : MedianRatio(x->ns, y->ns);
}

Results Measure(const Options& options, const std::function<void(const std::string&)>& progress) {
  Results results;
  results.host = DescribeHost();
  for (const Workload& workload : options.workloads) {
    Round round(options, workload, &results);
    // The guest program does that itself.
    if (!workload.command.empty()) round.WarmUp();
    int dropped = 0;
    for (int kept = 0; kept < options.rounds;) {
      progress(absl::StrCat(workload.name, ": round ", kept + 1, " of ", options.rounds,
                            dropped > 0 ? absl::StrCat(" (", dropped, " noisy, repeated)") : ""));
      if (round.Run(dropped >= options.max_dropped)) {
        kept++;
      } else {
        dropped++;
      }
    }
    round.Finish();
  }
  unlink(StatsPath().c_str());
  return results;
}

}  // namespace ringfence::bench
