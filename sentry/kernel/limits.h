// Resource limits (getrlimit(2)) and usage (getrusage(2)).
#ifndef RINGFENCE_SENTRY_KERNEL_LIMITS_H_
#define RINGFENCE_SENTRY_KERNEL_LIMITS_H_

#include <array>
#include <cstdint>

namespace ringfence::sentry {

enum class Resource : uint32_t {
  kCpu = 0,
  kFsize = 1,
  kData = 2,
  kStack = 3,
  kCore = 4,
  kRss = 5,
  kNproc = 6,
  kNofile = 7,
  kMemlock = 8,
  kAs = 9,
  kLocks = 10,
  kSigpending = 11,
  kMsgqueue = 12,
  kNice = 13,
  kRtprio = 14,
  kRttime = 15,
};
inline constexpr uint32_t kNumResources = 16;
inline constexpr uint64_t kRlimInfinity = ~uint64_t{0};

// struct rlimit64 of the ABI.
struct RLimit {
  uint64_t cur = kRlimInfinity;
  uint64_t max = kRlimInfinity;
};

class ResourceLimits {
 public:
  // What Linux gives init, with NOFILE and SIGPENDING as distributions set them.
  ResourceLimits();
  const RLimit& Get(Resource r) const { return limits_[static_cast<uint32_t>(r)]; }
  void Set(Resource r, RLimit limit) { limits_[static_cast<uint32_t>(r)] = limit; }

 private:
  std::array<RLimit, kNumResources> limits_;
};

// What getrusage, wait4, times and /proc report. Times in ns.
struct Rusage {
  int64_t user_ns = 0, system_ns = 0;
  uint64_t max_rss_bytes = 0, minor_faults = 0, major_faults = 0;
  uint64_t voluntary_switches = 0, involuntary_switches = 0;
  uint64_t in_blocks = 0, out_blocks = 0;
  // By read(2), write(2) and their kin, for /proc/PID/io.
  uint64_t read_calls = 0, read_bytes = 0, write_calls = 0, written_bytes = 0;
  void Add(const Rusage& other);  // sums; max_rss is the maximum
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_LIMITS_H_
