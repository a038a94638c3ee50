#include "bench/run/derive.h"

namespace ringfence::bench {

double CounterOf(const Counters& counters, const std::string& name) {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

double Exits(const Counters& counters) {
  double exits = 0;
  for (const char* cause :
       {"exits_syscall", "exits_fault", "exits_exception", "exits_interrupt", "exits_other"}) {
    exits += CounterOf(counters, cause);
  }
  return exits;
}

double ExitFreeShare(const Counters& counters) {
  const double calls = CounterOf(counters, "syscalls");
  return calls <= 0 ? 0 : 1 - Exits(counters) / calls;
}

double ExitlessShare(const Counters& counters) {
  const double calls = CounterOf(counters, "syscalls");
  return calls <= 0 ? 0 : CounterOf(counters, "exitless_calls") / calls;
}

std::vector<std::pair<std::string, double>> Per1000Calls(const Counters& counters) {
  std::vector<std::pair<std::string, double>> rows;
  const double calls = CounterOf(counters, "syscalls");
  if (calls <= 0) return rows;
  rows.emplace_back("exits", 1000 * Exits(counters) / calls);
  for (const auto& [name, counter] :
       std::vector<std::pair<const char*, const char*>>{{"by call", "exits_syscall"},
                                                        {"by fault", "exits_fault"},
                                                        {"by exception", "exits_exception"},
                                                        {"by kick", "exits_interrupt"},
                                                        {"other", "exits_other"},
                                                        {"kicks sent", "kicks"},
                                                        {"traps", "trapped_calls"},
                                                        {"gofer calls", "gofer_calls"}}) {
    rows.emplace_back(name, 1000 * CounterOf(counters, counter) / calls);
  }
  return rows;
}

double ExitTime(const Series& series, double ns_per_exit) {
  std::vector<double> operations;
  for (const Sample& s : series.samples) operations.push_back(s.operations);
  const Counters counters = series.MedianCounters();
  if (operations.empty() || counters.empty()) return 0;
  return ns_per_exit * Exits(counters) / operations.front();
}

}  // namespace ringfence::bench
