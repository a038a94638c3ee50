#include "bench/run/targets.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run/derive.h"
#include "bench/run/format.h"

namespace ringfence::bench {
namespace {

Target Ratio(const char* what, const char* workload, const char* runtime, double limit,
             const char* against = "native") {
  return {what, workload, runtime, Figure::kRatio, Bound::kAtMost, limit, against};
}

Target Absolute(const char* what, const char* workload, const char* runtime, Figure figure,
                Bound bound, double limit) {
  return {what, workload, runtime, figure, bound, limit, ""};
}

Target Reported(Target target) {
  target.bound = Bound::kReported;
  return target;
}

std::vector<Target> AllTargets() {
  constexpr double kUs = 1e3;
  constexpr char kAuto[] = "ringfence:auto";
  std::vector<Target> targets = {
      Ratio("getpgid, exitless, to the bare exitless loop", "getpgid", "ringfence", 1.4,
            "bare:exitless"),
      Ratio("getpgid, exit mode, to exitless", "getpgid", "ringfence:exit", 12, "ringfence"),
      Ratio("getpgid, exit mode, to the bare exit loop", "getpgid", "ringfence:exit", 1.25,
            "bare:exit"),
      Ratio("getpid answered in the guest, to a bare SYSCALL trap", "getpid", "ringfence", 1.2,
            "bare:trap"),
      Ratio("computing", "cpu", "ringfence", 1.05),
      Ratio("clock_gettime", "clock_gettime", "ringfence", 1.5),
      Absolute("pipe, a byte there and back in one task", "pipe", "ringfence", Figure::kNs,
               Bound::kAtMost, 6 * kUs),
      Absolute("eventfd, there and back", "eventfd", "ringfence", Figure::kNs, Bound::kAtMost,
               6 * kUs),
      Absolute("unix socket pair, there and back", "unix_pair", "ringfence", Figure::kNs,
               Bound::kAtMost, 6 * kUs),
      Ratio("futex ping-pong, two CPUs", "futex_two_cpus", "ringfence", 5),
      Ratio("futex ping-pong, one CPU", "futex_one_cpu", "ringfence", 15),
      Ratio("first touch of 64 MiB", "touch", "ringfence", 0.9),
      Ratio("one byte per 2 MiB over 4 GiB, in 128 MiB of memory", "touch_sparse", "ringfence",
            0.9),
      Ratio("fork, exit, wait with 1 MiB, 10% rewritten", "fork_1m", "ringfence", 3),
      Ratio("fork, exit, wait with 256 MiB in 2 MiB pages, 10% rewritten", "fork_256m_huge",
            "ringfence", 3),
      Reported(Ratio("fork, exit, wait with 256 MiB in 4 KiB pages, 10% rewritten",
                     "fork_256m_small", "ringfence", 3)),
      Ratio("vfork, exec, wait of a static program", "vfork_exec", "ringfence", 1.5),
      Ratio("mprotect, then munmap, of 64 MiB in 2 MiB pages", "mprotect_64m", "ringfence", 3),
      Absolute("mprotect of a page while a sibling runs", "mprotect_sibling", "ringfence",
               Figure::kNs, Bound::kAtMost, 80 * kUs),
      Ratio("gcc, whole process", "gcc", kAuto, 1.4),
      Reported(Ratio("make -j1, whole run", "make_j1", kAuto, 1.4)),
      Ratio("start of python in a running sandbox", "start_python", kAuto, 3),
      Ratio("read of 1 MiB at a time", "read_1m", kAuto, 1.2),
      Ratio("do /bin/true, to its end, to runsc", "true", kAuto, 0.35, "runsc"),
      Ratio("do of a static program, to its first byte, to runsc", "start_first", kAuto, 0.35,
            "runsc"),
      Ratio("do of a static program, to its end, to runsc", "start_exit", kAuto, 0.35, "runsc"),
      Absolute("idle sandbox: PSS of its processes", "idle_pss", kAuto, Figure::kBytes,
               Bound::kAtMost, 16e6),
      Absolute("idle sandbox: kernel memory", "idle_kernel", kAuto, Figure::kBytes,
               Bound::kReported, 0),
  };
  targets[1].bound = Bound::kAtLeast;
  for (const char* workload : {"make_j1", "python", "git", "sqlite"}) {
    targets.push_back(
        Absolute("exit-free share", workload, kAuto, Figure::kExitFree, Bound::kAtLeast, 0.9));
  }
  targets.push_back(
      Absolute("exit-free share", "make_j2", kAuto, Figure::kExitFree, Bound::kReported, 0.9));
  return targets;
}

// The suite of a target, by its workload; "" = of none that is known.
std::string SuiteOf(const Target& target) {
  for (const Workload& w : MicroWorkloads()) {
    if (w.name == target.workload) return w.suite;
  }
  for (const Workload& w : MacroWorkloads({})) {
    if (w.name == target.workload) return w.suite;
  }
  return absl::StartsWith(target.workload, "start_") ? "startup" : "density";
}

double ValueOf(const Target& target, const Results& results) {
  const Series* const series = results.Find(target.workload, target.runtime);
  if (series == nullptr) return 0;
  switch (target.figure) {
    case Figure::kRatio:
      return results.Ratio(target.workload, target.runtime, target.against);
    case Figure::kNs:
    case Figure::kBytes:
      return series->MedianValue();
    case Figure::kExitFree:
      return ExitFreeShare(series->MedianCounters());
  }
  return 0;
}

std::string Shown(const Target& target, double value) {
  switch (target.figure) {
    case Figure::kRatio:
      return FormatRatio(value);
    case Figure::kNs:
      return FormatNs(value);
    case Figure::kBytes:
      return FormatBytes(value);
    case Figure::kExitFree:
      return absl::StrFormat("%.1f%%", 100 * value);
  }
  return "";
}

std::string Limit(const Target& target) {
  if (target.bound == Bound::kReported) return "reported";
  return absl::StrCat(target.bound == Bound::kAtMost ? "at most " : "at least ",
                      Shown(target, target.limit),
                      target.figure == Figure::kRatio ? " " + target.against : "");
}

// What went wrong with a workload on a runtime; "" = nothing.
std::string FailureOf(const std::string& workload, const std::string& runtime,
                      const Results& results) {
  const std::string prefix = absl::StrCat(workload, " on ", runtime, ": ");
  for (const std::string& note : results.notes) {
    if (absl::StartsWith(note, prefix)) return note;
  }
  return "";
}

// Why one of the two was not measured.
std::string Reason(const Target& target, const Results& results) {
  for (const std::string& runtime : {target.runtime, target.against}) {
    const auto absent = results.absent.find(runtime);
    if (absent != results.absent.end()) return absl::StrCat(runtime, ": ", absent->second);
  }
  for (const std::string& runtime : {target.runtime, target.against}) {
    std::string failure = FailureOf(target.workload, runtime, results);
    if (!failure.empty()) return failure;
  }
  return "not run";
}

}  // namespace

const std::vector<Target>& Targets() {
  static const std::vector<Target> targets = AllTargets();
  return targets;
}

std::vector<Outcome> Judge(const Results& results, const std::vector<std::string>& suites) {
  std::vector<Outcome> outcomes;
  for (const Target& target : Targets()) {
    if (std::count(suites.begin(), suites.end(), SuiteOf(target)) == 0) continue;
    Outcome outcome{&target, Verdict::kNotMeasured, ValueOf(target, results),
                    "",      Limit(target),         ""};
    if (outcome.value == 0) {
      // Who cannot do it at all has missed.
      const bool failed = !FailureOf(target.workload, target.runtime, results).empty();
      if (failed && target.bound != Bound::kReported) outcome.verdict = Verdict::kMissed;
      outcome.figure = failed ? "failed" : "not measured";
      outcome.why = Reason(target, results);
      outcomes.push_back(std::move(outcome));
      continue;
    }
    outcome.figure = Shown(target, outcome.value);
    const bool met = target.bound == Bound::kAtMost ? outcome.value <= target.limit
                                                    : outcome.value >= target.limit;
    outcome.verdict = target.bound == Bound::kReported ? Verdict::kReported
                      : met                            ? Verdict::kMet
                                                       : Verdict::kMissed;
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

std::string VerdictText(Verdict verdict) {
  switch (verdict) {
    case Verdict::kMet:
      return "met";
    case Verdict::kMissed:
      return "missed";
    case Verdict::kReported:
      return "reported";
    case Verdict::kNotMeasured:
      return "not measured";
  }
  return "";
}

}  // namespace ringfence::bench
