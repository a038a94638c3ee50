// ringfence-bench: measures what a system call costs natively and in the sandbox.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "absl/strings/str_split.h"
#include "bench/run/inputs.h"
#include "bench/run/measure.h"
#include "bench/run/report.h"

namespace ringfence::bench {
namespace {

struct Flags {
  Options options;
  std::string ringfence = "out/ringfence";
  std::string runsc;
  std::string work = "out/bench/work";
  std::string json, html;
  std::string only;
  bool check = false;
};

std::vector<Runtime> Runtimes(const Flags& flags) {
  std::vector<Runtime> runtimes = {
      {"native", {}, false, false},
      {"ringfence", {flags.ringfence, "do", "--exitless=on"}, true, true},
      {"ringfence:auto", {flags.ringfence, "do"}, true, true},
      {"ringfence:exit", {flags.ringfence, "do", "--exitless=off"}, true, true},
  };
  if (!flags.runsc.empty()) {
    const std::vector<std::string> prefix = {flags.runsc, "--platform=ptrace", "--network=none",
                                             "--ignore-cgroups", "do"};
    runtimes.push_back({"runsc", prefix, true, false});
  }
  if (!flags.options.bare.empty()) {
    runtimes.push_back({"bare:exit", {flags.options.bare, "bare-exit"}, false, false});
    runtimes.push_back({"bare:exitless", {flags.options.bare, "bare-exitless"}, false, false});
  }
  return runtimes;
}

bool WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (file.good()) return true;
  std::cerr << "ringfence-bench: cannot write " << path << "\n";
  return false;
}

int Run(Flags& flags, const Inputs& inputs) {
  flags.options.runtimes = Runtimes(flags);
  std::vector<Workload> workloads = MicroWorkloads();
  for (Workload& w : MacroWorkloads(inputs)) workloads.push_back(std::move(w));
  const std::vector<std::string> wanted = absl::StrSplit(flags.only, ',', absl::SkipEmpty());
  for (const Workload& w : workloads) {
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), w.name) != wanted.end()) {
      flags.options.workloads.push_back(w);
    }
  }
  if (flags.options.workloads.empty()) {
    std::cerr << "ringfence-bench: --only=" << flags.only << " names no workload\n";
    return 2;
  }
  const bool terminal = isatty(STDERR_FILENO) != 0;
  Results results = Measure(flags.options, [terminal](const std::string& step) {
    std::cerr << (terminal ? "\r\033[K" : "") << step << (terminal ? "" : "\n") << std::flush;
  });
  if (terminal) std::cerr << "\r\033[K";
  if (flags.runsc.empty()) {
    results.absent.emplace_back("runsc");
    results.notes.emplace_back("runsc: not installed");
  }
  bool all_met = false;
  std::cout << TextReport(results) << "\n" << TargetReport(results, &all_met);
  if (!flags.json.empty() && !WriteFile(flags.json, JsonReport(results))) return 1;
  if (!flags.html.empty() && !WriteFile(flags.html, HtmlReport(results))) return 1;
  return flags.check && !all_met ? 1 : 0;
}

}  // namespace
}  // namespace ringfence::bench

int main(int argc, char** argv) {
  ringfence::bench::Flags flags;
  CLI::App app{"Measures what a system call costs natively and in the sandbox"};
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run", "run the benchmarks");
  run->add_option("--guest", flags.options.guest, "the static guest program")->required();
  run->add_option("--ringfence", flags.ringfence, "the CLI to measure");
  run->add_option("--bare", flags.options.bare, "exit_bench, for the bare loops");
  run->add_option("--runsc", flags.runsc, "gVisor's runsc, to compare with");
  run->add_option("--work", flags.work, "directory for files, where sandboxes see it");
  run->add_option("--rounds", flags.options.rounds, "rounds to keep per workload");
  run->add_option("--only", flags.only, "comma-separated workloads");
  run->add_option("--json", flags.json, "write JSON to this file");
  run->add_option("--html", flags.html, "write a page with plots to this file");
  run->add_flag("--check", flags.check, "fail when a target is missed");
  CLI11_PARSE(app, argc, argv);
  const auto inputs = ringfence::bench::MakeInputs(flags.work);
  if (!inputs.ok()) {
    std::cerr << "ringfence-bench: " << inputs.status().message() << "\n";
    return 1;
  }
  const int status = ringfence::bench::Run(flags, *inputs);
  ringfence::bench::RemoveInputs(*inputs);
  return status;
}
