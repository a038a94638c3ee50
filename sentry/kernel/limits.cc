#include "sentry/kernel/limits.h"

#include <algorithm>

namespace ringfence::sentry {

ResourceLimits::ResourceLimits() {
  Set(Resource::kStack, {uint64_t{8} << 20, kRlimInfinity});
  Set(Resource::kCore, {0, kRlimInfinity});
  Set(Resource::kNproc, {kRlimInfinity, kRlimInfinity});
  Set(Resource::kNofile, {1024, uint64_t{1} << 20});
  Set(Resource::kMemlock, {uint64_t{8} << 20, uint64_t{8} << 20});
  Set(Resource::kSigpending, {15360, 15360});
  Set(Resource::kMsgqueue, {819200, 819200});
  Set(Resource::kNice, {0, 0});
  Set(Resource::kRtprio, {0, 0});
}

void Rusage::Add(const Rusage& other) {
  user_ns += other.user_ns;
  system_ns += other.system_ns;
  max_rss_bytes = std::max(max_rss_bytes, other.max_rss_bytes);
  minor_faults += other.minor_faults;
  major_faults += other.major_faults;
  voluntary_switches += other.voluntary_switches;
  involuntary_switches += other.involuntary_switches;
  in_blocks += other.in_blocks;
  out_blocks += other.out_blocks;
  read_calls += other.read_calls;
  read_bytes += other.read_bytes;
  write_calls += other.write_calls;
  written_bytes += other.written_bytes;
}

}  // namespace ringfence::sentry
