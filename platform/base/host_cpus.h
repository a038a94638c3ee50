// How many CPUs the host runs. Looked up once, in /sys: the processes of a sandbox do so before
// they lose sight of it (runtime/confine).
#ifndef RINGFENCE_PLATFORM_BASE_HOST_CPUS_H_
#define RINGFENCE_PLATFORM_BASE_HOST_CPUS_H_

#include <unistd.h>

#include <algorithm>

namespace ringfence {

// At least 1.
inline int OnlineHostCpus() {
  static const int cpus = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  return cpus;
}

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_HOST_CPUS_H_
