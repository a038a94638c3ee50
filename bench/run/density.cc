#include "bench/run/density.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "bench/run/child.h"
#include "bench/run/host.h"

namespace ringfence::bench {
namespace {

constexpr int kMany = 50;
// Of one sandbox: what the kernel takes meanwhile for others is to fall out.
constexpr int kRounds = 3;
constexpr int kStartSeconds = 120;
// Until caches of a start are given back and helpers have ended.
constexpr int kSettleSeconds = 2;

// PSS of all processes that descend from us; an error if one cannot be read.
absl::StatusOr<double> PssOfDescendants() {
  double bytes = 0;
  for (const pid_t pid : Descendants()) {
    const std::string text = ReadTextFile(absl::StrCat("/proc/", pid, "/smaps_rollup"));
    if (text.empty() && access(absl::StrCat("/proc/", pid).c_str(), F_OK) == 0) {
      return absl::PermissionDeniedError(
          absl::StrCat("cannot read /proc/", pid, "/smaps_rollup: needs root"));
    }
    bytes += KbLine(text, "Pss");
  }
  return bytes;
}

struct Usage {
  double pss = 0, kernel = 0;
};

absl::StatusOr<Usage> IdleUsage(const Options& options, const Runtime& runtime, int copies) {
  const double kernel_before = KernelBytes(ReadTextFile("/proc/meminfo"));
  ChildSet set;
  for (int i = 0; i < copies; i++) {
    RunSpec spec{{options.runtime.inputs.guest, "idle"}, false, i, {}};
    const absl::StatusOr<Command> command = CommandOf(runtime, options.runtime, spec);
    if (!command.ok()) return command.status();
    if (const absl::Status s = set.Start(*command); !s.ok()) return s;
  }
  absl::Status running = set.WaitForFirstBytes(kStartSeconds);
  absl::StatusOr<double> pss = 0.0;
  double kernel = 0;
  if (running.ok()) {
    sleep(kSettleSeconds);
    pss = PssOfDescendants();
    kernel = KernelBytes(ReadTextFile("/proc/meminfo")) - kernel_before;
  }
  set.Kill();
  for (int i = 0; i < copies; i++) ForgetContainer(runtime, options.runtime, i);
  if (!running.ok()) return running;
  if (!pss.ok()) return pss.status();
  return Usage{*pss / copies, kernel / copies};
}

void Add(Results* results, const Runtime& runtime, const std::string& name, const char* operation,
         const std::vector<double>& bytes) {
  Series series{"density", name, runtime.name, operation, "bytes", {}};
  for (const double value : bytes) {
    series.samples.emplace_back();
    series.samples.back().value = value;
  }
  results->series.push_back(std::move(series));
}

void MeasureOne(const Options& options, const Runtime& runtime, int copies, Results* results) {
  std::vector<double> pss, kernel;
  const int rounds = copies == 1 ? std::min(kRounds, options.rounds) : 1;
  for (int round = 0; round < rounds; round++) {
    options.progress(absl::StrCat("density: ", copies, " of ", runtime.name));
    const absl::StatusOr<Usage> usage = IdleUsage(options, runtime, copies);
    if (!usage.ok()) {
      results->notes.push_back(absl::StrCat(copies == 1 ? "idle_pss" : "idle_pss_50", " on ",
                                            runtime.name, ": ", usage.status().message()));
      return;
    }
    pss.push_back(usage->pss);
    kernel.push_back(usage->kernel);
  }
  const std::string suffix = copies == 1 ? "" : absl::StrCat("_", copies);
  Add(results, runtime, "idle_pss" + suffix,
      copies == 1 ? "PSS of an idle sandbox" : "PSS of one of 50", pss);
  Add(results, runtime, "idle_kernel" + suffix,
      copies == 1 ? "kernel memory of an idle sandbox" : "kernel memory of one of 50", kernel);
}

}  // namespace

double KbLine(std::string_view text, std::string_view name) {
  const std::string wanted = absl::StrCat("\n", std::string(name), ":");
  const std::string whole = absl::StrCat("\n", std::string(text));
  const size_t at = whole.find(wanted);
  if (at == std::string::npos) return 0;
  return std::strtod(whole.c_str() + at + wanted.size(), nullptr) * 1024;
}

double KernelBytes(std::string_view meminfo) {
  double bytes = 0;
  for (const char* name :
       {"Slab", "PageTables", "SecPageTables", "KernelStack", "Percpu", "VmallocUsed"}) {
    bytes += KbLine(meminfo, name);
  }
  return bytes;
}

void MeasureDensity(const Options& options, const std::vector<Runtime>& runtimes,
                    Results* results) {
  for (const int copies : {1, kMany}) {
    for (const Runtime& runtime : runtimes) {
      if (runtime.kind == RuntimeKind::kBare || (options.stop != nullptr && *options.stop))
        continue;
      MeasureOne(options, runtime, copies, results);
    }
  }
}

}  // namespace ringfence::bench
