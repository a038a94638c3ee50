#include "bench/run/workload.h"

namespace ringfence::bench {

const std::vector<Workload>& MicroWorkloads() {
  static const std::vector<Workload> workloads = {
      {"getppid", "call", 500000, 20000},          {"cpu", "step", 300000000, 300000000},
      {"touch", "page of 64 MiB", 64, 64},         {"clock_gettime", "call", 3000000, 3000000},
      {"pipe", "round trip", 100000, 5000},        {"mmap", "map, touch, unmap", 50000, 2000},
      {"signal", "signal to itself", 50000, 2000}, {"thread", "thread", 5000, 500},
      {"fork", "fork, exit, wait", 1000, 100},     {"vfork_exec", "vfork, exec, wait", 500, 50},
  };
  return workloads;
}

const std::vector<Target>& Targets() {
  static const std::vector<Target> targets = {
      {"getppid", "ringfence:exit", "bare:exit", 1.25},
      {"getppid", "ringfence", "bare:exitless", 2.0},
      {"cpu", "ringfence", "native", 1.05},
      {"touch", "ringfence", "native", 1.2},
  };
  return targets;
}

}  // namespace ringfence::bench
