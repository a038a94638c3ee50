// Text of /proc/cpuinfo from what CPUID says of this machine (the guest sees the same CPU).
#ifndef RINGFENCE_SENTRY_FS_PROC_CPUINFO_H_
#define RINGFENCE_SENTRY_FS_PROC_CPUINFO_H_

#include <cstdint>
#include <string>

namespace ringfence::sentry {

std::string DescribeCpus(uint32_t cpus);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_PROC_CPUINFO_H_
