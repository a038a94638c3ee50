// What follows from the counters of a run: the figures that carry over to other hosts.
#ifndef RINGFENCE_BENCH_RUN_DERIVE_H_
#define RINGFENCE_BENCH_RUN_DERIVE_H_

#include <string>
#include <utility>
#include <vector>

#include "bench/run/measure.h"

namespace ringfence::bench {

// One counter, 0 if the run had none by that name.
double CounterOf(const Counters& counters, const std::string& name);

// All returns of KVM_RUN, faults and kicks included.
double Exits(const Counters& counters);

// 1 - Exits / calls that reached the sentry, which leaves out what the guest answered itself (vDSO,
// pages of answers). Below 0 where there were more exits than calls; 0 without calls.
double ExitFreeShare(const Counters& counters);

// Of the calls that reached the sentry, the share a service thread answered, 0 to 1.
double ExitlessShare(const Counters& counters);

// Name and number per 1000 calls that reached the sentry: exits by cause, faults the sentry served,
// calls to the gofer, kicks.
std::vector<std::pair<std::string, double>> Per1000Calls(const Counters& counters);

// Time in exits of an operation, in ns, on a host whose exit costs so much.
double ExitTime(const Series& series, double ns_per_exit);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_DERIVE_H_
