#include "bench/run/measure.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "bench/run/child.h"
#include "bench/run/host.h"

namespace ringfence::bench {
namespace {

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

// Asks the kernel to forget what it has cached of a file. What a running process maps stays.
void Evict(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  fdatasync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

class Runner {
 public:
  Runner(const Options& options, const Workload& workload)
      : options_(options),
        workload_(workload),
        stats_(absl::StrCat(options.runtime.inputs.directory, "/stats.json")) {}

  absl::StatusOr<Sample> RunOnce(const Runtime& runtime) {
    std::vector<Command> commands;
    for (int i = 0; i < workload_.copies; i++) {
      absl::StatusOr<Command> command = CommandOf(runtime, options_.runtime, Spec(runtime, i));
      if (!command.ok()) return command.status();
      commands.push_back(std::move(*command));
    }
    if (workload_.evict) {
      if (!runtime.prefix.empty()) Evict(runtime.prefix[0]);
      Evict(commands[0].back());
    }
    unlink(stats_.c_str());
    const double cpu_before = ChildCpuNs();
    absl::StatusOr<std::vector<ChildResult>> results = RunAll(commands);
    if (!results.ok()) {
      for (int i = 0; i < workload_.copies; i++) ForgetContainer(runtime, options_.runtime, i);
      return results.status();
    }
    absl::StatusOr<Sample> sample = SampleOf(runtime, *results);
    if (!sample.ok()) return sample;
    // A bare loop does not say how many operations it did.
    if (runtime.kind == RuntimeKind::kBare) return sample;
    const double start = workload_.timing == Timing::kGuest ? runtime.start_cpu_ns : 0;
    sample->cpu_ns = std::max(0.0, ChildCpuNs() - cpu_before - start) / sample->operations;
    if (runtime.kind == RuntimeKind::kRingfence) sample->counters = ReadCounters(stats_);
    return sample;
  }

 private:
  RunSpec Spec(const Runtime& runtime, int index) const {
    RunSpec spec{workload_.words, workload_.host_root, index, workload_.ringfence_flags};
    if (workload_.timing == Timing::kGuest) {
      const int ms = std::max(1, static_cast<int>(workload_.milliseconds * options_.guest_time));
      spec.program = {options_.runtime.inputs.guest, workload_.name, absl::StrCat(ms, "ms")};
      spec.program.insert(spec.program.end(), workload_.words.begin(), workload_.words.end());
    }
    // Of many at once nobody counts.
    if (runtime.kind == RuntimeKind::kRingfence && workload_.copies == 1) {
      spec.flags.push_back("--stats=" + stats_);
    }
    return spec;
  }

  absl::StatusOr<std::vector<ChildResult>> RunAll(const std::vector<Command>& commands) const {
    ChildSet set;
    begun_ = Clock::now();
    for (const Command& command : commands) {
      if (const absl::Status s = set.Start(command); !s.ok()) return s;
    }
    return set.WaitForEnd(options_.seconds_per_run);
  }

  absl::StatusOr<Sample> SampleOf(const Runtime& runtime, const std::vector<ChildResult>& results) {
    if (workload_.timing == Timing::kGuest || runtime.kind == RuntimeKind::kBare) {
      return ParseGuestOutput(results[0].output);
    }
    Sample sample;
    for (const ChildResult& r : results) {
      const double took = workload_.timing == Timing::kWhole ? r.wall_ns : r.first_byte_ns;
      if (took == 0) return absl::InternalError("it printed nothing");
      sample.value = std::max(
          sample.value, took + std::chrono::duration<double, std::nano>(r.began - begun_).count());
    }
    sample.operations = workload_.copies;
    return sample;
  }

  const Options& options_;
  const Workload& workload_;
  const std::string stats_;
  mutable Clock::time_point begun_;
};

class Rounds {
 public:
  Rounds(const Options& options, const Workload& workload, const std::vector<Runtime>& runtimes,
         Results* results)
      : options_(options), workload_(workload), runner_(options, workload), results_(results) {
    for (const Runtime& runtime : runtimes) {
      const auto names = [&](const std::vector<std::string>& list) {
        return std::count(list.begin(), list.end(), runtime.name) != 0;
      };
      if (runtime.kind == RuntimeKind::kBare ? !names(workload.bare)
                                             : !workload.only.empty() && !names(workload.only)) {
        continue;
      }
      runtimes_.push_back(&runtime);
      series_.push_back({workload.suite, workload.name, runtime.name, workload.unit, "ns", {}});
    }
  }

  // What each runtime reads from the disk is in the page cache afterwards. The guest program warms
  // itself up, but it has to be read as well.
  void WarmUp() {
    for (size_t i = 0; i < runtimes_.size() && !Stopped(); i++) {
      if (workload_.slow && runtimes_[i]->peer()) continue;
      Note(i, runner_.RunOnce(*runtimes_[i]).status());
    }
  }

  // True when the round was quiet enough (or may not be repeated) and has been kept.
  bool Run(int round, bool keep_anyway) {
    std::vector<std::pair<size_t, Sample>> found;
    const CpuTimes before = ReadCpuTimes();
    for (size_t i = 0; i < runtimes_.size() && !Stopped(); i++) {
      if (failed_.count(i) != 0 || round >= RoundsOf(*runtimes_[i])) continue;
      absl::StatusOr<Sample> sample = runner_.RunOnce(*runtimes_[i]);
      Note(i, sample.status());
      if (sample.ok()) found.emplace_back(i, std::move(*sample));
    }
    const bool quiet = StealShare(before, ReadCpuTimes()) <= options_.max_steal;
    if (!quiet && !keep_anyway) {
      results_->dropped_rounds++;
      return false;
    }
    if (!quiet) results_->noisy_rounds++;
    for (auto& [i, sample] : found) series_[i].samples.push_back(std::move(sample));
    return true;
  }

  void Finish() {
    for (size_t i = 0; i < series_.size(); i++) {
      if (failed_.count(i) == 0 && !series_[i].samples.empty()) {
        results_->series.push_back(std::move(series_[i]));
      }
    }
  }

  bool Stopped() const { return options_.stop != nullptr && *options_.stop; }
  bool Empty() const { return failed_.size() == runtimes_.size(); }
  int Count() const {
    return workload_.slow ? std::min(options_.slow_rounds, options_.rounds) : options_.rounds;
  }

 private:
  int RoundsOf(const Runtime& runtime) const {
    if (!runtime.peer()) return Count();
    return workload_.slow ? 1 : std::min(options_.peer_rounds, options_.rounds);
  }

  void Note(size_t i, const absl::Status& status) {
    // One that failed in the first place is not run again, and told of once.
    if (status.ok() || Stopped() || !failed_.insert(i).second) return;
    results_->notes.push_back(
        absl::StrCat(workload_.name, " on ", runtimes_[i]->name, ": ", status.message()));
  }

  const Options& options_;
  const Workload& workload_;
  Runner runner_;
  Results* results_;
  std::vector<const Runtime*> runtimes_;
  std::vector<Series> series_;
  std::set<size_t> failed_;
};

}  // namespace

void MeasureWorkload(const Options& options, const Workload& workload,
                     const std::vector<Runtime>& runtimes, Results* results) {
  Rounds rounds(options, workload, runtimes, results);
  // The guest program warms up itself.
  if (workload.timing != Timing::kGuest && !workload.evict) rounds.WarmUp();
  int dropped = 0;
  for (int kept = 0; kept < rounds.Count() && !rounds.Stopped() && !rounds.Empty();) {
    options.progress(
        absl::StrCat(workload.name, ": round ", kept + 1, " of ", rounds.Count(),
                     dropped > 0 ? absl::StrCat(" (", dropped, " noisy, repeated)") : ""));
    if (rounds.Run(kept, dropped >= options.max_dropped)) {
      kept++;
    } else {
      dropped++;
    }
  }
  if (!rounds.Stopped()) rounds.Finish();
}

}  // namespace ringfence::bench
