// What the host did while we measured.
#ifndef RINGFENCE_BENCH_RUN_HOST_H_
#define RINGFENCE_BENCH_RUN_HOST_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace ringfence::bench {

// CPU time of all cores since boot, in ticks of sysconf(_SC_CLK_TCK); first line of proc(5) stat.
struct CpuTimes {
  uint64_t total = 0;
  uint64_t steal = 0;
};
CpuTimes ParseCpuTimes(std::string_view proc_stat);
CpuTimes ReadCpuTimes();

// Share of the time between two readings that the hypervisor gave to others, 0 to 1.
double StealShare(const CpuTimes& before, const CpuTimes& after);

// Of the last minute (getloadavg(3)).
double LoadAverage();

// "" if it cannot be read.
std::string ReadTextFile(const std::string& path);

// One line: CPU model, cores, kernel.
std::string DescribeHost();

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_HOST_H_
