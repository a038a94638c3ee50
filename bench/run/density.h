// What an idle sandbox takes: memory of its processes, and of the kernel for it.
#ifndef RINGFENCE_BENCH_RUN_DENSITY_H_
#define RINGFENCE_BENCH_RUN_DENSITY_H_

#include <string_view>
#include <vector>

#include "bench/run/measure.h"

namespace ringfence::bench {

// Starts `many` sandboxes whose program sleeps, and one, and measures both: series in bytes per
// sandbox, suite "density":
//   idle_pss, idle_pss_50         PSS (proc(5), smaps_rollup) of all processes of the runtime
//   idle_kernel, idle_kernel_50   growth of the kernel's own memory: slab, page tables, stacks, per
//                                 CPU and vmalloc of /proc/meminfo; other programs disturb it
// Other users' processes cannot be read: needs root, or everything runs as the caller.
void MeasureDensity(const Options& options, const std::vector<Runtime>& runtimes, Results* results);

// For tests: bytes of a "Name:   123 kB" line; 0 = none. The sum of the kernel's own in meminfo.
double KbLine(std::string_view text, std::string_view name);
double KernelBytes(std::string_view meminfo);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_DENSITY_H_
