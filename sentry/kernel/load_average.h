// LoadAverage: the three numbers of /proc/loadavg and getloadavg(3).
//
// Linux counts, every 5 s, who runs or wants to. Nobody here is woken for that: when the numbers
// are asked for, the mean number of tasks on a CPU since the last time is known exactly, from the
// CPU time they used, and enters with the weight that Linux's samples of that time would have had.
// Who waited for a CPU all the time is not counted.
//
// Threads: any.
#ifndef RINGFENCE_SENTRY_KERNEL_LOAD_AVERAGE_H_
#define RINGFENCE_SENTRY_KERNEL_LOAD_AVERAGE_H_

#include <array>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace ringfence::sentry {

class LoadAverage {
 public:
  explicit LoadAverage(int64_t start_ns) : last_ns_(start_ns) {}

  // `cpu_ns`: CPU time of all tasks since the start. Less than a second after the last time nothing
  // changes.
  std::array<double, 3> Update(int64_t now_ns, int64_t cpu_ns);

 private:
  absl::Mutex mutex_;
  int64_t last_ns_ ABSL_GUARDED_BY(mutex_);
  int64_t last_cpu_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<double, 3> loads_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_LOAD_AVERAGE_H_
