#include "bench/run/workload.h"

namespace ringfence::bench {
namespace {

Workload Micro(const char* name, const char* unit, long native_count, long sandbox_count) {
  Workload workload;
  workload.name = name;
  workload.unit = unit;
  workload.native_count = native_count;
  workload.sandbox_count = sandbox_count;
  return workload;
}

Workload InSandbox(Workload workload, std::vector<std::string> arguments) {
  workload.arguments = std::move(arguments);
  return workload;
}

Workload Whole(const char* name, std::vector<std::string> command) {
  Workload workload = Micro(name, "whole run", 1, 1);
  workload.command = std::move(command);
  return workload;
}

}  // namespace

std::vector<Workload> MicroWorkloads() {
  std::vector<Workload> workloads = {
      Micro("getppid", "call", 500000, 20000),
      Micro("cpu", "step", 300000000, 300000000),
      Micro("touch", "page of 64 MiB", 64, 64),
      Micro("clock_gettime", "call", 3000000, 3000000),
      Micro("pipe", "round trip", 100000, 5000),
      Micro("mmap", "map, touch, unmap", 50000, 2000),
      Micro("signal", "signal to itself", 50000, 2000),
      Micro("thread", "thread", 5000, 500),
      Micro("fork", "fork, exit, wait", 1000, 100),
      Micro("vfork_exec", "vfork, exec, wait", 500, 50),
      Micro("getpid", "call", 500000, 20000),
      Micro("eventfd", "write and read", 100000, 5000),
      Micro("epoll", "event, wait, read", 50000, 3000),
      Micro("unix_pair", "round trip", 50000, 5000),
      Micro("unix_loopback", "round trip to a thread", 10000, 1000),
      Micro("futex_two_cpus", "round trip", 5000, 2000),
      Micro("futex_one_cpu", "round trip", 50000, 1000),
      Micro("open_read_close", "open, read, close", 50000, 2000),
      Micro("stat", "call", 100000, 5000),
      Micro("pread", "4 KiB", 200000, 10000),
      Micro("pwrite", "4 KiB", 200000, 10000),
      Micro("fork_1m", "fork, exit, wait, rewrite", 500, 50),
      Micro("fork_256m_huge", "fork, exit, wait, rewrite", 10, 5),
      Micro("mprotect_64m", "mprotect, munmap", 5, 5),
      Micro("mprotect_sibling", "mprotect", 2000, 500),
  };
  for (Workload& w : workloads) {
    w.runtimes = {"native", "ringfence", "ringfence:exit"};
    if (w.name == "getppid") w.runtimes.insert(w.runtimes.end(), {"bare:exit", "bare:exitless"});
  }
  return workloads;
}

std::vector<Workload> MacroWorkloads(const Inputs& inputs) {
  const std::vector<std::string> python = {"/usr/bin/python3", "-c", "pass"};
  std::vector<Workload> workloads = {
      Whole("true", {"/bin/true"}),
      Whole("gcc", {"gcc", "-O2", "-c", "-o", inputs.object, inputs.source}),
      Whole("python", python),
      InSandbox(Micro("start_python", "vfork, exec, wait", 40, 10), python),
      InSandbox(Micro("read_128k", "file of 256 MiB", 5, 3), {inputs.data, "131072"}),
      InSandbox(Micro("read_1m", "file of 256 MiB", 5, 3), {inputs.data, "1048576"}),
  };
  for (Workload& w : workloads)
    w.runtimes = {"native", "ringfence:auto", "ringfence:exit", "runsc"};
  return workloads;
}

const std::vector<Target>& Targets() {
  static const std::vector<Target> targets = {
      {"getppid", "ringfence:exit", "bare:exit", 1.25},
      {"getppid", "ringfence", "bare:exitless", 2.0},
      {"cpu", "ringfence", "native", 1.05},
      {"touch", "ringfence", "native", 1.2},
      {"true", "ringfence:auto", "runsc", 0.7},
      {"gcc", "ringfence:auto", "native", 3},
      {"start_python", "ringfence:auto", "native", 3},
      {"read_1m", "ringfence:auto", "native", 1.2},
  };
  return targets;
}

}  // namespace ringfence::bench
