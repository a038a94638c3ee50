// ringfence-bench: measures what system calls, programs and idle sandboxes cost on this host.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "bench/run/density.h"
#include "bench/run/host.h"
#include "bench/run/inprocess.h"
#include "bench/run/inputs.h"
#include "bench/run/report.h"

namespace ringfence::bench {
namespace {

// Set by SIGINT and SIGTERM: what was measured until then is reported.
volatile bool stop = false;
void OnStop(int) { stop = true; }

struct Flags {
  Options options;
  Sources sources;
  std::string work = "out/bench/work";
  std::string runtimes, suites, only;
  std::string json, html;
  std::vector<std::string> inprocess;
  bool quick = false, check = false;
};

std::vector<std::string> Split(const std::string& list) {
  return absl::StrSplit(list, ',', absl::SkipEmpty());
}

bool Contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// A line that is written over on a terminal, with the time that has passed.
class Progress {
 public:
  void Show(const std::string& step) {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start_).count();
    const std::string line =
        absl::StrFormat("[%d:%02d] %s%s", seconds / 60, seconds % 60, part_, step);
    std::cerr << (terminal_ ? "\r\033[K" : "") << line << (terminal_ ? "" : "\n") << std::flush;
  }
  void SetPart(size_t number, size_t of) { part_ = absl::StrCat(number, "/", of, " "); }
  void End() {
    if (terminal_) std::cerr << "\r\033[K";
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
  const Clock::time_point start_ = Clock::now();
  std::string part_;
};

bool WriteFile(const std::string& path, const std::string& text) {
  if (path.empty()) return true;
  std::ofstream file(path);
  file << text;
  file.close();
  if (file.good()) return true;
  std::cerr << "ringfence-bench: cannot write " << path << "\n";
  return false;
}

int Complain(const std::string& what) {
  std::cerr << "ringfence-bench: " << what << "\n";
  return 2;
}

std::string Now() {
  const std::time_t now = std::time(nullptr);
  char text[64];
  std::tm parts{};
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &parts));
  return absl::StrFormat("%s, load %.1f when it began", text, LoadAverage());
}

class Session {
 public:
  Session(Flags& flags, const Inputs& inputs) : flags_(flags) {
    flags_.options.runtime.inputs = inputs;
    flags_.options.stop = &stop;
    flags_.options.progress = [this](const std::string& step) { progress_.Show(step); };
    results_.host = DescribeHost();
    results_.when = Now();
  }

  // 0, or 1 if `--check` and a target was missed, or 2: there is nothing to be measured.
  int Run() {
    const std::vector<std::string> suites = flags_.suites.empty() ? Suites() : Split(flags_.suites);
    const std::vector<Workload> workloads = Wanted(suites);
    const bool density = Contains(suites, "density") && flags_.only.empty();
    const bool inprocess = Contains(suites, "inprocess") && flags_.only.empty();
    if (workloads.empty() && !density && !inprocess) {
      return Complain(absl::StrCat("--only=", flags_.only, " names no workload of ",
                                   absl::StrJoin(suites, ",")));
    }
    for (size_t i = 0; i < workloads.size() && !stop; i++) {
      progress_.SetPart(i + 1, workloads.size());
      std::vector<std::string> names = Names(workloads[i].suite);
      names.insert(names.end(), workloads[i].bare.begin(), workloads[i].bare.end());
      if (!Find(names)) return 2;
      MeasureWorkload(flags_.options, workloads[i], Chosen(names), &results_);
    }
    if (density) {
      if (!Find(Names("density"))) return 2;
      MeasureDensity(flags_.options, Chosen(Names("density")), &results_);
    }
    if (inprocess) MeasureInProcess(flags_.options, flags_.inprocess, &results_);
    progress_.End();
    return Report(suites);
  }

 private:
  std::vector<Workload> Wanted(const std::vector<std::string>& suites) const {
    const Inputs& inputs = flags_.options.runtime.inputs;
    const std::vector<std::string> only = Split(flags_.only);
    std::vector<Workload> wanted;
    for (const auto& list : {MicroWorkloads(), MacroWorkloads(inputs), StartupWorkloads(inputs)}) {
      for (const Workload& w : list) {
        if (!Contains(suites, w.suite) || (!only.empty() && !Contains(only, w.name))) continue;
        wanted.push_back(w);
      }
    }
    return wanted;
  }

  std::vector<std::string> Names(const std::string& suite) const {
    return flags_.runtimes.empty() ? DefaultRuntimes(suite) : Split(flags_.runtimes);
  }

  // Looks for runtimes that have not been looked for; false if there is no such name.
  bool Find(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (Contains(known_, name)) continue;
      known_.push_back(name);
      progress_.Show("is there " + name + "?");
      absl::StatusOr<Runtime> runtime = FindRuntime(name, flags_.options.runtime);
      if (runtime.ok()) {
        results_.runtimes.push_back(std::move(*runtime));
      } else if (absl::IsInvalidArgument(runtime.status())) {
        progress_.End();
        Complain(std::string(runtime.status().message()));
        return false;
      } else {
        results_.absent[name] = std::string(runtime.status().message());
      }
    }
    return true;
  }

  std::vector<Runtime> Chosen(const std::vector<std::string>& names) const {
    std::vector<Runtime> chosen;
    for (const std::string& name : names) {
      for (const Runtime& r : results_.runtimes) {
        if (r.name == name) chosen.push_back(r);
      }
    }
    return chosen;
  }

  int Report(const std::vector<std::string>& suites) {
    results_.interrupted = stop;
    // Of a choice of workloads or runtimes the targets say nothing.
    std::vector<Outcome> outcomes = Judge(results_, suites);
    if (!flags_.only.empty() || !flags_.runtimes.empty()) {
      outcomes.erase(std::remove_if(outcomes.begin(), outcomes.end(),
                                    [](const Outcome& o) { return o.why == "not run"; }),
                     outcomes.end());
    }
    std::cout << TextReport(results_) << "\n" << TargetReport(outcomes) << std::flush;
    if (!WriteFile(flags_.json, JsonReport(results_, outcomes))) return 1;
    if (!WriteFile(flags_.html, HtmlReport(results_, outcomes))) return 1;
    if (stop) return 130;
    const bool missed = std::any_of(outcomes.begin(), outcomes.end(),
                                    [](const Outcome& o) { return o.verdict == Verdict::kMissed; });
    return flags_.check && missed ? 1 : 0;
  }

  Flags& flags_;
  Progress progress_;
  Results results_;
  std::vector<std::string> known_;  // names looked for
};

// What belongs to this program lies beside it (out/ringfence-bench and out/ringfence,
// out/bench/lib).
void SetDefaults(Flags* flags) {
  std::error_code error;
  const std::filesystem::path here =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const auto if_there = [](const std::filesystem::path& path) {
    return access(path.c_str(), X_OK) == 0 ? path.string() : "";
  };
  flags->options.runtime.ringfence = here / "ringfence";
  const std::filesystem::path lib = here / "bench/lib";
  flags->sources.guest = lib / "guest";
  flags->sources.first = lib / "first";
  flags->options.runtime.bare = if_there(lib / "exit_bench");
  flags->sources.tree = if_there(lib / "tree");
  for (const auto& entry : std::filesystem::directory_iterator(lib / "inprocess", error)) {
    flags->inprocess.push_back(entry.path());
  }
  std::sort(flags->inprocess.begin(), flags->inprocess.end());
}

int Run(Flags& flags) {
  for (const std::string& suite : Split(flags.suites)) {
    if (!Contains(Suites(), suite)) {
      return Complain(absl::StrCat("no suite is called ", suite, "; there are ",
                                   absl::StrJoin(Suites(), ", ")));
    }
  }
  if (flags.quick) {
    flags.options.rounds = flags.options.peer_rounds = 1;
    flags.options.guest_time = 0.25;
    flags.options.max_dropped = 0;
  }
  flags.sources.data = flags.suites.empty() || Contains(Split(flags.suites), "macro");
  signal(SIGINT, OnStop);
  signal(SIGTERM, OnStop);
  const absl::StatusOr<Inputs> inputs = MakeInputs(flags.work, flags.sources);
  if (!inputs.ok()) return Complain(std::string(inputs.status().message()));
  const int status = Session(flags, *inputs).Run();
  RemoveInputs(*inputs);
  return status;
}

}  // namespace
}  // namespace ringfence::bench

int main(int argc, char** argv) {
  ringfence::bench::Flags flags;
  CLI::App app{"Measures what system calls, programs and idle sandboxes cost on this host"};
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run", "run the benchmarks");
  run->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  run->add_option("--runtimes", flags.runtimes,
                  "comma-separated: " + ringfence::bench::KnownRuntimes() +
                      "; default: all that are installed");
  run->add_option("--suite", flags.suites,
                  "comma-separated: micro, macro, startup, density, inprocess; default: all");
  run->add_option("--only", flags.only, "comma-separated workloads");
  run->add_option("--json", flags.json, "write JSON to this file");
  run->add_option("--html", flags.html, "write a page with plots to this file");
  run->add_option("--rounds", flags.options.rounds, "rounds to keep per workload")
      ->check(CLI::Range(1, 1000));
  run->add_flag("--quick", flags.quick, "one short round of everything: a smoke test");
  run->add_flag("--check", flags.check, "exit with 1 when a target is missed");
  run->add_option("--ringfence", flags.options.runtime.ringfence, "the CLI to measure");
  run->add_option("--guest", flags.sources.guest, "the static guest program");
  run->add_option("--first", flags.sources.first, "the program that writes a byte and ends");
  run->add_option("--bare", flags.options.runtime.bare, "exit_bench, for the bare loops");
  run->add_option("--tree", flags.sources.tree, "a tree of C files to be built; default: our own");
  run->add_option("--inprocess", flags.inprocess, "a Google Benchmark program; may be repeated")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run->add_option("--work", flags.work, "directory for files, where sandboxes see it");
  ringfence::bench::SetDefaults(&flags);
  CLI11_PARSE(app, argc, argv);
  return ringfence::bench::Run(flags);
}
